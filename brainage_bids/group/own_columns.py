"""Columns that this program puts into the table of a group run, and the one rule for columns of the user that are called like them."""

from __future__ import annotations

from collections.abc import Iterable

from brainage_bids.bids.estimates import COLUMNS

ESTIMATE = (
    "participant_id", "session_id", "model", "modality", "brain_age", "brain_age_sd", "sd_within", "sd_between", "brain_age_low",
    "brain_age_high", "interval_level", "interval_method", "age", "sex", "site", "pad", "flags", "model_sha256", "program_version",
    "excluded", "reference", "outlier", "age_in_outputs",
)  # fmt: skip
"""Of every row."""
CORRECTION = (
    "brain_age_corrected", "pad_corrected", "bias_method", "across_ages_low", "across_ages_high", "conformal_low", "conformal_high",
    "pad_site_adjusted", "correction_flags",
)  # fmt: skip
HARMONISED = "pad_harmonised"
MADE_GROUP = "made_group"
"""Groups of ``--groups``."""
MEASURES = ("vol_", "qc_", "contrib_")
"""How names of volumes, quality figures and contributions begin."""
PHENOTYPE_FLAGS = "phenotype_flags"
"""Of the tables, joined to ``flags``."""
OF_FILE_NAMES = ("subject", "subjects", "session", "sessions", "datatype", "suffix", "extension")
"""What pybids takes from the name of every file, and does not let a table say."""
_OWN = frozenset({*OF_FILE_NAMES, *ESTIMATE, *CORRECTION, HARMONISED, MADE_GROUP, PHENOTYPE_FLAGS, *COLUMNS})
_TOLD = 10


def names_apart(names: Iterable[str]) -> dict[str, str]:
    """How columns of the user are called in the table.

    A name of ours, or no name at all, gets ``phenotype_`` before it (and a number behind, where that name is taken too); every other
    name stays. The answer does not depend on the order of the columns but for such numbers.

    Examples
    --------
    >>> names_apart(["bmi", "model", "vol_x"])
    {'bmi': 'bmi', 'model': 'phenotype_model', 'vol_x': 'phenotype_vol_x'}
    >>> names_apart(["model", "phenotype_model", ""])
    {'model': 'phenotype_model_2', 'phenotype_model': 'phenotype_model', '': 'phenotype_unnamed'}
    """
    names = list(names)
    taken = {name for name in names if not is_own(name)} | _OWN
    called = {}
    for name in names:
        called[name] = name
        if is_own(name):
            stem = told = f"phenotype_{name or 'unnamed'}"
            number = 1
            while told in taken:
                number += 1
                told = f"{stem}_{number}"
            taken.add(told)
            called[name] = told
    return called


def is_own(name: str) -> bool:
    """Whether a name is one that this program gives, or none.

    >>> is_own("pad"), is_own("qc_snr"), is_own("Pad"), is_own("")
    (True, True, False, True)
    """
    return not name or name in _OWN or name.startswith(MEASURES)


def told_apart(called: dict[str, str]) -> list[str]:
    """The sentence about columns that are called otherwise; none if there are none.

    >>> told_apart({"bmi": "bmi", "model": "phenotype_model"})[0].split("; ")[1]
    "'model' is phenotype_model."
    """
    moved = [f"'{name}' is {told}" for name, told in called.items() if name != told]
    if not moved:
        return []
    more = f" and {len(moved) - _TOLD} more" if len(moved) > _TOLD else ""
    owners = "that this program gives to a column of its own, or BIDS to a part of file names"
    about = f"{len(moved)} column(s) of the tables have a name {owners}"
    return [f"{about}, so they are called otherwise, in options too; {', '.join(moved[:_TOLD])}{more}."]
