"""What a model needs and what it gives, as records; the card lists them by type (``[[input]]`` and ``[[output]]``)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from brainage_bids.models.image_contract import InputContract
from brainage_bids.records import BadConfiguration

KEY = re.compile("[a-z][A-Za-z0-9]*")
"""Keys of maps and tables become the ``desc-`` entity of file names."""
SHA256 = re.compile("[0-9a-f]{64}")
PHENOTYPE = "phenotype"
VOLUMES = "volumes"
SOURCES: Mapping[str, str] = {VOLUMES: "T1w", PHENOTYPE: ""}
"""Tables that a model may read, with the modality that each was measured on: mm³ by the name of a tissue or structure, and the columns
of the dataset's phenotype tables."""
MISSING = ("refuse", "impute", "flag")
AGE = "age"
"""The output of a model that is its age, in a `ModelNeed`."""


@dataclass(frozen=True)
class ImageNeed:
    """An image that fulfils a contract."""

    contract: InputContract

    @property
    def key(self) -> str:
        """What tells it from other needs of one model."""
        return self.contract.key

    @property
    def modality(self) -> str:
        """What was scanned."""
        return self.contract.modality


@dataclass(frozen=True)
class TableNeed:
    """Values of a table of the session.

    Attributes
    ----------
    source : {"volumes", "phenotype"}
        See `SOURCES`.
    columns : tuple of str
        Names of the values; never the age, which no model may look at.
    missing : {"refuse", "impute", "flag"}
        What becomes of a session that lacks one: it fails, the model is given None and makes up for it, or the model gives no age and
        a flag says why.
    """

    source: str
    columns: tuple[str, ...]
    missing: str = "refuse"

    def __post_init__(self) -> None:
        if self.source not in SOURCES:
            raise BadConfiguration(f"The table {self.source!r} of a model's input is none of {', '.join(SOURCES)}.")
        if self.missing not in MISSING:
            raise BadConfiguration(f"A model's input is missing={self.missing!r}, which is none of {', '.join(MISSING)}.")
        if not self.columns:
            raise BadConfiguration(f"A model's input from the table {self.source} names no column.")
        if self.source == PHENOTYPE and any(name.casefold() == "age" for name in self.columns):
            raise BadConfiguration("A model's input is the age itself, which a brain age must not look at; train it without that column.")

    @property
    def key(self) -> str:
        """What tells it from other needs of one model."""
        return self.source

    @property
    def modality(self) -> str:
        """What was scanned; empty for the phenotype."""
        return SOURCES[self.source]


@dataclass(frozen=True)
class ModelNeed:
    """What another model gives.

    Attributes
    ----------
    model : str
        Its name; it is looked for in ``members/`` of the model's folder, then where models of a run are looked for.
    sha256 : str
        Of its weights; a model of that name with other weights is refused.
    output : str
        ``age``, or the key of a map or table.
    """

    model: str
    sha256: str
    output: str = AGE

    def __post_init__(self) -> None:
        if not re.fullmatch("[a-z0-9]+", self.model) or not SHA256.fullmatch(self.sha256) or not KEY.fullmatch(self.output):
            given = f"{self.model!r}, {self.sha256!r}, {self.output!r}"
            raise BadConfiguration(f"A model that is needed by another has a name, a SHA-256 and an output, not {given}.")

    @property
    def key(self) -> str:
        """What tells it from other needs of one model."""
        return f"{self.model}_{self.output}"


Need = ImageNeed | TableNeed | ModelNeed


@dataclass(frozen=True)
class Age:
    """A brain age in years, with its spread."""


@dataclass(frozen=True)
class Map:
    """An image of the person; written as ``B_space-S[_res-R]_model-M_desc-KEY_SUFFIX.nii.gz``.

    Attributes
    ----------
    key : str
        Its name among the outputs of the model, and the ``desc-`` entity.
    space, resolution : str
        Template and grid (``1``, ``1p5``, ``2``), or ``T1w`` and none.
    units : str
        Of the values.
    suffix : str
        Of the file; never ``brainage``, whose sidecar would hold for it by inheritance.
    description : str
        One sentence for the sidecar and the page.
    signed : bool
        Whether values below zero mean the opposite, so that a picture of it needs two colours.
    """

    key: str
    space: str
    resolution: str
    units: str
    suffix: str
    description: str
    signed: bool

    def __post_init__(self) -> None:
        words = self.key, self.space, self.suffix
        if not KEY.fullmatch(self.key) or not all(re.fullmatch("[A-Za-z0-9]+", word) for word in words) or self.suffix == "brainage":
            raise BadConfiguration(f"A map of a model cannot have the key, space and suffix {', '.join(map(repr, words))}.")
        if (self.space == "T1w") == bool(self.resolution) or not re.fullmatch("[0-9p]*", self.resolution):
            raise BadConfiguration(f"A map of a model in the space {self.space} cannot have the resolution {self.resolution!r}.")


@dataclass(frozen=True)
class Table:
    """Rows about the person; written as ``B_model-M_desc-KEY_stats.tsv``.

    Attributes
    ----------
    key : str
        Its name among the outputs of the model, and the ``desc-`` entity.
    columns : mapping of str to mapping
        Name to what its JSON says: ``Description``, and ``Units`` of numbers. The first column names the rows.
    description : str
        One sentence for the sidecar and the page.
    by_age : bool
        Whether rows depend on the person's age (norms), so that a corrected age makes them anew.
    """

    key: str
    columns: Mapping[str, Mapping[str, Any]] = field(hash=False)
    description: str = ""
    by_age: bool = False

    def __post_init__(self) -> None:
        if not KEY.fullmatch(self.key):
            raise BadConfiguration(f"A table of a model cannot have the key {self.key!r}: a letter, then letters and digits.")
        bare = [name for name, words in self.columns.items() if not isinstance(words.get("Description"), str)]
        if not self.columns or bare:
            raise BadConfiguration(f"The table {self.key} of a model needs a Description of {', '.join(bare) or 'its columns'}.")


@dataclass(frozen=True)
class Image:
    """An image of a modality that was not scanned but made; written as ``B_space-S_res-R_desc-synthesised_MODALITY.nii.gz``."""

    modality: str
    space: str
    resolution: str

    @property
    def key(self) -> str:
        """Its name among the outputs of the model."""
        return self.modality


Output = Age | Map | Table | Image
