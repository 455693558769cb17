"""The card of a model: what it needs, on whom it was trained, how far it errs. Written as ``model.toml`` (see ``cardfile``)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from brainage_bids.models.image_contract import InputContract
from brainage_bids.models.needs import SHA256, Age, ImageNeed, ModelNeed, Need, Output, TableNeed
from brainage_bids.records import BadConfiguration

NAME = re.compile("[a-z0-9]+")
"""Model names become the ``model-`` entity of file names."""


@dataclass(frozen=True)
class Ages:
    """Ages of the training people in years; the histogram has ``len(edges) == len(counts) + 1``, mean and s.d. may not be known."""

    low: float
    high: float
    mean: float | None = None
    sd: float | None = None
    edges: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.low <= self.high:
            raise BadConfiguration(f"The training ages of a model run from {self.low} to {self.high}, which is the wrong way round.")
        if len(self.edges) != len(self.counts) + bool(self.counts):
            raise BadConfiguration("The histogram of a model's training ages needs one edge more than counts.")


@dataclass(frozen=True)
class Training:
    """On whom and how a model was trained.

    Attributes
    ----------
    datasets, sites : tuple of str
        Where the people come from; ``sites`` is empty if nothing is known of them.
    n, sessions : int
        How many people, and how many sessions of theirs.
    ages : Ages
    split : str
        How people were divided for choices and errors, in words.
    seeds : tuple of int
    device : str
        ``"cpu"``, ``"cuda"``.
    software : str
        What made the maps and the model, with its version.
    sexes, groups : mapping of str to int
        How many people of each; empty if not known.
    minutes : float or None
        How long the training took; None if not known.
    """

    datasets: tuple[str, ...]
    n: int
    sessions: int
    ages: Ages
    split: str
    seeds: tuple[int, ...]
    device: str
    software: str
    sites: tuple[str, ...] = ()
    sexes: Mapping[str, int] = field(default_factory=dict)
    groups: Mapping[str, int] = field(default_factory=dict)
    minutes: float | None = None


@dataclass(frozen=True)
class Measure:
    """A number with its confidence interval (None where it is not defined)."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class GroupError:
    """How far predictions of a part of the held-out people were off.

    Attributes
    ----------
    by, name : str
        What divides the people (``"decade"``, ``"site"``), and which part it is.
    n : int
        How many people.
    mae, bias : float
        Means of |prediction − age| and of prediction − age, years.
    """

    by: str
    name: str
    n: int
    mae: float
    bias: float


@dataclass(frozen=True)
class Errors:
    """How far predictions of held-out people were off.

    Attributes
    ----------
    by : str
        How they were held out, in words.
    n : int
        How many people.
    level : float
        Of the confidence intervals.
    mae, rmse, r, r2, bias_slope : Measure or None
        See ``stats.metrics.Metrics``; None if not defined.
    mae_guess : Measure or None
        Mean absolute error of giving everybody the mean age of the training people, also held out.
    p_guess : float or None
        Two-sided p of the paired permutation test of the model's errors against those of the guess.
    permutations : int
        Of that test.
    coverage : float or None
        Share of held-out people whose age lay in the interval of level ``coverage_level``.
    coverage_level : float
    groups : tuple of GroupError
        The same errors by parts of the people.
    """

    by: str
    n: int
    level: float = 0.95
    mae: Measure | None = None
    rmse: Measure | None = None
    r: Measure | None = None
    r2: Measure | None = None
    bias_slope: Measure | None = None
    mae_guess: Measure | None = None
    p_guess: float | None = None
    permutations: int = 0
    coverage: float | None = None
    coverage_level: float = 0.95
    groups: tuple[GroupError, ...] = ()


@dataclass(frozen=True)
class ModelCard:
    """All that is known of a model.

    Attributes
    ----------
    name, kind, version, created : str
        The last as YYYY-MM-DD.
    needs : tuple of Need
        What it is given: images, tables, what other models say.
    training : Training
    errors : Errors
        Told first; `further_errors` holds what other ways of holding people out found.
    files : mapping of str to str
        Names in its folder to their SHA-256.
    licence, citation : str
    limits : tuple of str
        Sentences.
    outputs : tuple of Output
        What it gives.
    """

    name: str
    kind: str
    version: str
    created: str
    needs: tuple[Need, ...]
    training: Training
    errors: Errors
    files: Mapping[str, str]
    licence: str
    citation: str
    limits: tuple[str, ...] = ()
    outputs: tuple[Output, ...] = (Age(),)
    further_errors: tuple[Errors, ...] = ()

    def __post_init__(self) -> None:
        check_name(self.name)
        if not self.needs:
            raise BadConfiguration(f"The card of the model {self.name} names no input.")
        for what, items in (("input", self.needs), ("output", [item for item in self.outputs if not isinstance(item, Age)])):
            keys = [item.key for item in items]
            if len(set(keys)) < len(keys):
                raise BadConfiguration(f"The card of the model {self.name} names an {what} twice: {', '.join(keys)}.")
        for file, digest in self.files.items():
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", file) or not SHA256.fullmatch(digest):
                bad = f"the file {file!r}: a name and a SHA-256 are needed"
                raise BadConfiguration(f"The card of the model {self.name} has a bad entry for {bad}.")

    @property
    def contracts(self) -> tuple[InputContract, ...]:
        """Contracts of the images that it is given."""
        return tuple(need.contract for need in self.needs if isinstance(need, ImageNeed))

    @property
    def tables(self) -> tuple[TableNeed, ...]:
        """Tables that it is given."""
        return tuple(need for need in self.needs if isinstance(need, TableNeed))

    @property
    def members(self) -> tuple[ModelNeed, ...]:
        """Models whose outputs it is given."""
        return tuple(need for need in self.needs if isinstance(need, ModelNeed))

    @property
    def gives_age(self) -> bool:
        """Whether an age is among its outputs."""
        return any(isinstance(output, Age) for output in self.outputs)

    @property
    def modality(self) -> str:
        """The modalities of its own images and tables joined by ``+``, each once: ``T1w``, ``T1w+FLAIR``."""
        scanned = [need.modality for need in self.needs if not isinstance(need, ModelNeed)]
        return "+".join(dict.fromkeys(filter(None, scanned)))


def check_name(name: str) -> str:
    """Return the name if it may be a model's.

    Raises
    ------
    BadConfiguration
        Unless it consists of lower-case letters and digits.

    >>> check_name("gpr36")
    'gpr36'
    """
    if not NAME.fullmatch(name):
        raise BadConfiguration(f"A model cannot be called {name!r}: lower-case letters and digits only, such as {suggest_name(name)!r}.")
    return name


def suggest_name(text: str) -> str:
    """The nearest name that a model may have.

    >>> suggest_name("My-Model 2")
    'mymodel2'
    """
    return re.sub("[^a-z0-9]", "", text.lower()) or "model"


def describe_errors(card: ModelCard) -> str:
    """Say in words how far the model errs, and whether it was shown to do better than a guess.

    >>> training = Training(("a",), 36, 36, Ages(19, 52, 33, 8), "", (1,), "cpu", "")
    >>> need = TableNeed("volumes", ("GM",))
    >>> errors = Errors("cross-validation", 36, mae=Measure(6.5, 5.1, 8.0), mae_guess=Measure(7.2), p_guess=0.21, permutations=999)
    >>> describe_errors(ModelCard("m", "gpr", "1", "2026-01-01", (need,), training, errors, {}, "CC0", "")).partition(". ")[2]
    'Giving everybody the mean age errs by 7.2 years (paired permutation test, p = 0.21): the model is not shown to be better than that.'
    """
    errors = card.errors
    if not card.gives_age:
        return f"The model {card.name} gives no age: {errors.by}."
    if errors.mae is None:
        return f"The errors of the model {card.name} on people it had not seen are not known."
    size = _with_interval(errors.mae, 1)
    words = [f"On {errors.n} people it had not seen ({errors.by}) the model's mean absolute error was {size} years"]
    if errors.r is not None:
        words.append(f", and its correlation with age {_with_interval(errors.r, 2)}")
    if errors.mae_guess is None:
        return "".join(words) + "."
    words.append(f". Giving everybody the mean age errs by {_with_interval(errors.mae_guess, 1)} years")
    if errors.p_guess is None:
        return "".join(words) + "."
    if errors.p_guess >= 0.05:
        verdict = "the model is not shown to be better than that"
    elif errors.mae.value < errors.mae_guess.value:
        verdict = "the model is better than that"
    else:
        verdict = "the model is worse than that"
    return "".join([*words, f" (paired permutation test, p = {errors.p_guess:.2g}): {verdict}."])


def _with_interval(measure: Measure, digits: int) -> str:
    text = f"{measure.value:.{digits}f}"
    if measure.low is not None and measure.high is not None:
        text += f" (95 % CI {measure.low:.{digits}f} to {measure.high:.{digits}f})"
    return text
