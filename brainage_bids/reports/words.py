"""What numbers mean, in plain sentences: the estimate, the gap, the model behind it, the quality figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from brainage_bids.models.card import ModelCard, describe_errors
from brainage_bids.reports.ages import TrainingAges
from brainage_bids.reports.content import Row, number

QUALITY_NAMES: Mapping[str, str] = {
    "snr": "Signal-to-noise ratio",
    "cnr": "Contrast-to-noise ratio",
    "cjv": "Coefficient of joint variation",
    "efc": "Entropy focus criterion",
    "fber": "Foreground-to-background energy",
    "bias_range": "Range of the bias field",
    "mask_volume_ml": "Volume of the brain mask",
    "scalp_distance_mm": "From the brain mask to the air",
    "registration_overlap": "Overlap with the template",
    "jacobian_nonpositive_share": "Folded share of the warp",
    "coverage": "Brain inside the image",
    "voxel_max_mm": "Longest voxel edge",
    "gm_ratio": "Grey matter of grey and white",
    "structures_missing": "Structures not found",
    "structures_outside_norms": "Structures of unusual size",
    "asymmetry": "Left–right difference",
    "detached_share": "Detached pieces",
    "wrong_side_share": "Labels on the wrong side",
    "intensity_fit": "Fit of the structures to the scan",
    "ventricle_leak": "Ventricles as bright as white matter",
    "edge_agreement": "Agreement of edges with the T1w",
    "brain_seen": "Brain inside the image",
    "fluid_ratio": "Fluid over white matter",
    "anisotropy": "Longest over shortest voxel edge",
    "clipped_share": "Clipped share of the brain",
}
CHANCE = 0.05
"""Below this p a model counts as better than the guess."""


def years(value: float | None, signed: bool = False) -> str:
    """A number of years with one digit; ``n/a`` if it is not known.

    Examples
    --------
    >>> years(41.26), years(-2.04, signed=True), years(None)
    ('41.3', '−2.0', 'n/a')
    """
    if value is None:
        return "n/a"
    return f"{value:{'+' if signed else ''}.1f}".replace("-", "−")


def interval_words(row: Row) -> str:
    """The interval of an estimate, or that there is none.

    Examples
    --------
    >>> interval_words({"brain_age_low": "28.04", "brain_age_high": "54.5", "interval_level": "0.95"})
    '95 % interval 28.0 to 54.5'
    """
    low, high, level = (number(row.get(key)) for key in ("brain_age_low", "brain_age_high", "interval_level"))
    if low is None or high is None:
        return "no interval"
    return f"{(0.95 if level is None else level) * 100:.3g} % interval {years(low)} to {years(high)}"


def gap_words(row: Row) -> list[str]:
    """What the brain-age gap of one estimate says, and what it does not.

    Examples
    --------
    >>> gap_words({"brain_age": "41.3", "age": None})
    ['The age at the scan is not known, so no gap between brain age and age is given.']
    """
    brain_age, age, gap = (number(row.get(key)) for key in ("brain_age", "age", "pad"))
    if brain_age is None:
        return ["No brain age was estimated."]
    if age is None:
        return ["The age at the scan is not known, so no gap between brain age and age is given."]
    gap = brain_age - age if gap is None else gap
    if round(abs(gap), 1) == 0:
        words = [f"To the model this brain looks as old as the person is ({years(age)} years)."]
    else:
        side = "older" if gap > 0 else "younger"
        words = [f"To the model this brain looks {years(abs(gap))} years {side} than the person is ({years(age)} years)."]
    low, high = number(row.get("brain_age_low")), number(row.get("brain_age_high"))
    if low is not None and high is not None:
        inside = low <= age <= high
        words.append(
            "The age lies inside the interval: a gap of this size is within what the model cannot know."
            if inside
            else "The age lies outside the interval; before reading this as a sign of the brain, look at the flags and the pictures."
        )
    if number(row.get("pad_corrected")) is None:
        words.append(
            "The gap is not corrected for age: models of this kind call the young too old and the old too young. "
            "Compare it only with people of the same age."
        )
    return words


def model_words(card: ModelCard, age: float | None = None) -> list[str]:
    """What a model was trained on and how far it can be trusted, by its card.

    Parameters
    ----------
    card : ModelCard
    age : float, optional
        Age at the scan, years; adds the errors of people of that age where the card has them.

    Returns
    -------
    list of str
    """
    further = [describe_errors(replace(card, errors=errors)) for errors in card.further_errors]
    told = [_trained(card), describe_errors(card), decade_words(card, age), _advice(card), _coverage(card), *further, *card.limits]
    return [sentence for sentence in told if sentence]


def decade_words(card: ModelCard, age: float | None) -> str:
    """How far the model erred for held-out people of an age; the empty text if the card does not tell.

    Parameters
    ----------
    card : ModelCard
        With groups by ``decade``, whose names are two ages in years (``50–59``).
    age : float or None
    """
    for group in card.errors.groups if age is not None else ():
        ends = [number(part) for part in group.name.split("–")]
        if group.by == "decade" and len(ends) == 2 and None not in ends and ends[0] <= age < ends[1] + 1:
            side = "high" if group.bias > 0 else "low"
            return (
                f"For the {group.n} of them aged {group.name} years its mean absolute error was {years(group.mae)} years, and its brain "
                f"ages were {years(abs(group.bias))} years too {side} on average."
            )
    return ""


def no_card_words(other: bool) -> str:
    """Why nothing is said of the model of an estimate.

    Parameters
    ----------
    other : bool
        Whether a model of its name was found, with other weights.

    Examples
    --------
    >>> no_card_words(False)
    'The card of this model was not found, so nothing can be said here.'
    """
    if other:
        return (
            "The model of this name that was found has other weights than the one that made this estimate, so nothing is said of it here; "
            "run the app again with the models at hand to make the estimate anew."
        )
    return "The card of this model was not found, so nothing can be said here."


def training_ages(card: ModelCard) -> TrainingAges:
    """The ages of a card in the form the picture takes."""
    ages = card.training.ages
    return TrainingAges(ages.low, ages.high, tuple(ages.edges), tuple(ages.counts), card.training.n)


def _trained(card: ModelCard) -> str:
    training = card.training
    counts = [f"{name} {count}" for group in (training.sexes, training.groups) for name, count in group.items()]
    people = f"{training.n} people of {training.ages.low:.0f} to {training.ages.high:.0f} years" + (
        f" ({', '.join(counts)})" if counts else ""
    )
    source = f", from {', '.join(training.datasets)}" if training.datasets else ""
    return f"The model {card.name} was trained on {people}{source}."


def _advice(card: ModelCard) -> str:
    errors = card.errors
    if errors.mae is None:
        return "Nothing can be said of how near to the truth this brain age is."
    if errors.p_guess is None or errors.mae_guess is None:
        return "Whether that is better than giving everybody the mean age was not tested."
    if errors.p_guess < CHANCE and errors.mae.value < errors.mae_guess.value:
        return "For a single person an error of that size is usual."
    return "Read this brain age as a trial of the method, not as a measurement of the person."


def _coverage(card: ModelCard) -> str:
    errors = card.errors
    if errors.coverage is None:
        return ""
    return f"The {errors.coverage_level * 100:.3g} % interval held the age of {errors.coverage * 100:.0f} % of the people it had not seen."


def quality_value(row: Row) -> str:
    """A quality figure with its unit, in three significant digits.

    Examples
    --------
    >>> quality_value({"value": "1432.6", "unit": "mL"}), quality_value({"value": "0.00012", "unit": "1"})
    ('1433 mL', '0.00012')
    >>> quality_value({"value": None, "unit": "1"})
    'n/a'
    """
    value = number(row.get("value"))
    if value is None:
        return "n/a"
    unit = row.get("unit")
    return significant(value) + (f" {unit}" if unit and unit != "1" else "")


def quality_limits(row: Row) -> str:
    """Between which values a figure is unremarkable.

    Examples
    --------
    >>> quality_limits({"low": "0.45", "high": "0.68"}), quality_limits({"low": None, "high": "2"}), quality_limits({})
    ('0.45 to 0.68', 'up to 2', 'no limit')
    """
    low, high = number(row.get("low")), number(row.get("high"))
    if low is not None and high is not None:
        return f"{significant(low)} to {significant(high)}"
    if low is not None:
        return f"from {significant(low)}"
    return f"up to {significant(high)}" if high is not None else "no limit"


def significant(value: float) -> str:
    """Three significant digits without an exponent for ordinary sizes.

    Examples
    --------
    >>> significant(0.6231), significant(12345.6), significant(0.0), significant(2e-7)
    ('0.623', '12346', '0', '2e-07')
    """
    if value != 0 and (abs(value) < 1e-4 or abs(value) >= 1e7):
        return f"{value:.2g}".replace("-", "−") if value < 0 else f"{value:.2g}"
    text = f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return text.replace("-", "−")
