"""What a run is asked to do: a frozen record, written as TOML beside the outputs and read back from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

from brainage_bids.files import SETTINGS, parse_toml, read_utf8
from brainage_bids.records import BadConfiguration

SKULL_STRIP = ("auto", "skip", "force")
DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("float32", "bfloat16")
BIAS_CORRECTIONS = ("none", "linear", "linear-predicted", "spline")
SLOW_STEPS = ("auto", "run", "skip")
HARMONISE = ("none", "gap", "regions", "both")
PERMUTATIONS = ("paired", "unpaired")
ALTERNATIVES = ("two-sided", "greater", "less")
MEDIATION_OUTCOMES = ("age", "pad", "brain_age")


_TYPES: Mapping[str, tuple[tuple[type, ...], str, str]] = {
    "str": ((str,), "a text", "texts"),
    "bool": ((bool,), "true or false", "true or false"),
    "int": ((int,), "a whole number", "whole numbers"),
    "float": ((float, int), "a number", "numbers"),
}
"""What a field may hold by its annotation, and what messages call one and several of it."""


class _Written:
    """What all settings share: types are checked, TOML is written and read."""

    def _check_types(self) -> None:
        for field in fields(self):
            self._check_type(field.name, str(field.type))

    def _check_choice(self, name: str, known: tuple[str, ...]) -> None:
        if getattr(self, name) not in known:
            raise BadConfiguration(f"The setting {name} is {getattr(self, name)!r}; choose one of {', '.join(known)}.")

    def _check_least(self, **least: int) -> None:
        for name, bound in least.items():
            value = getattr(self, name)
            if value < bound:
                raise BadConfiguration(f"The setting {name} is {value!r}; give a whole number of at least {bound}.")

    def _check_type(self, name: str, kind: str) -> None:
        value = getattr(self, name)
        if kind.endswith(" | None") and value is None:
            return
        kind = kind.removesuffix(" | None")
        inner = kind.removeprefix("tuple[").removesuffix(", ...]")
        expected, one, many = _TYPES[inner]
        if inner != kind:
            fits, wanted = isinstance(value, tuple) and all(type(item) in expected for item in value), f"a list of {many}"
        else:
            fits, wanted = type(value) in expected, one
        texts = value if isinstance(value, tuple) else (value,)
        if fits and any(isinstance(text, str) and not _is_utf8(text) for text in texts):
            raise BadConfiguration(f"The setting {name} is {value!r}, which is not UTF-8; give the file or folder another name.")
        if fits and any(isinstance(text, str) and "\0" in text for text in texts):
            raise BadConfiguration(f"The setting {name} is {value!r}, which holds a NUL; no file or folder has such a name.")
        if not fits:
            raise BadConfiguration(f"The setting {name} is {value!r}; give {wanted}.")

    def to_toml(self) -> str:
        """The settings as TOML.

        >>> print(Settings("/in", "/out", "/work").to_toml().splitlines()[0])
        bids_dir = "/in"
        """
        import tomli_w

        values = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}
        return tomli_w.dumps({name: value for name, value in values.items() if value is not None})

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], where: str) -> Self:
        """Settings from the content of a TOML file or a task.

        Raises
        ------
        BadConfiguration
            For a name that is not a setting, one that is missing, or a value of the wrong type.
        """
        known = {field.name: field for field in fields(cls)}
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise BadConfiguration(f"{where} has the unknown setting {unknown[0]!r}; known are {', '.join(known)}.")
        try:
            return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})
        except TypeError as error:
            needed = ", ".join(name for name, field in known.items() if field.default is MISSING)
            raise BadConfiguration(f"{where} lacks settings ({error}); give {needed}.") from error


@dataclass(frozen=True)
class Settings(_Written):
    """Settings of a participant run.

    Attributes
    ----------
    bids_dir, out_dir, work_dir : str
        Absolute paths.
    participant_labels, session_labels : tuple of str
        Who is asked for; empty takes all.
    bids_filter_file, bids_database_dir : str
        Paths, empty if not given.
    derivatives : tuple of str
        ``[NAME=]PATH`` of datasets whose preprocessing is taken over.
    phenotype : tuple of str
        Further tables with ages.
    models, model_dirs : tuple of str
        Names or folders of models, and folders in which names are looked up; no model named takes the default.
    skull_strip : {"auto", "skip", "force"}
    device : {"auto", "cpu", "cuda"}
    precision : {"float32", "bfloat16"}
        Where networks run, and in what arithmetic.
    nprocs : int
        Participants at once.
    omp_nthreads : int
        Threads a participant; 0 shares the cores.
    mem_mb : int
        Address space a participant may take in MB; 0 is no limit.
    random_seed : int
        Recorded; the steps of this version draw nothing but greedy's sample points, whose seed it is.
    sloppy, stop_on_first_crash, clean_workdir : bool
    """

    bids_dir: str
    out_dir: str
    work_dir: str
    participant_labels: tuple[str, ...] = ()
    session_labels: tuple[str, ...] = ()
    bids_filter_file: str = ""
    bids_database_dir: str = ""
    derivatives: tuple[str, ...] = ()
    phenotype: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    model_dirs: tuple[str, ...] = ()
    skull_strip: str = "auto"
    device: str = "auto"
    precision: str = "float32"
    nprocs: int = 1
    omp_nthreads: int = 0
    mem_mb: int = 0
    random_seed: int = 1
    sloppy: bool = False
    stop_on_first_crash: bool = False
    clean_workdir: bool = False

    def __post_init__(self) -> None:
        """Check values that a TOML file or a caller may have wrong.

        Raises
        ------
        BadConfiguration
            With the name of the setting.
        """
        self._check_types()
        self._check_choice("skull_strip", SKULL_STRIP)
        self._check_choice("device", DEVICES)
        self._check_choice("precision", PRECISIONS)
        self._check_least(nprocs=1, omp_nthreads=0, mem_mb=0, random_seed=1)


@dataclass(frozen=True)
class GroupSettings(_Written):
    """Settings of a group run.

    Attributes
    ----------
    bids_dir, out_dir : str
        Absolute paths.
    participant_labels, session_labels : tuple of str
        Who takes part; empty takes all.
    phenotype : tuple of str
        Further tables.
    model_dirs : tuple of str
        Folders of models, from which is told what the cohort's networks are made of.
    models : tuple of str
        Models whose estimates are looked at, the most important first; empty takes all that there are.
    where : str
        Query; rows for which it does not hold are left out of all statistics.
    reference : str
        Query for the people on whom bias, intervals and offsets of sites are fitted; empty takes all, with a warning.
    bias_correction : {"none", "linear", "linear-predicted", "spline"}
    formula : tuple of str
        Models of the gap, ``pad ~ …``; empty takes the default one.
    group_column : str
        Column whose groups are compared; empty looks for one.
    groups : tuple of str
        Groups made here instead, ``NAME=QUERY`` each, or ``cdr``.
    fitted : str
        Folder with the fitted objects of an earlier run, which are applied instead of fitting; empty fits.
    harmonise : {"none", "gap", "regions", "both"}
        What ComBat harmonises between sites.
    age_bins : tuple of str
        Growing edges of half-open bins of age, in years; empty takes decades.
    mediation_outcome : {"age", "pad", "brain_age"}
    permutation : {"paired", "unpaired"}
        How models are compared: signs of people's differences flipped, or absolute errors of both shuffled.
    alternative : {"two-sided", "greater", "less"}
        Of the Mann-Whitney tests of the gap; greater: the first of two groups lies above.
    ensembles : tuple of str
        Ensembles of base models, ``NAME=PATTERN,PATTERN`` each.
    lesion_column : str
        Column with the volume of white-matter lesions; empty looks for one.
    comparison : tuple of str
        Folders of ``brainage-train compare`` whose predictions are compared between groups.
    slow_steps : {"auto", "run", "skip"}
        Mediation, regressors and the like: auto runs them where the cohort is small enough.
    random_seed : int
        Of bootstrap, permutations and folds.
    """

    bids_dir: str
    out_dir: str
    participant_labels: tuple[str, ...] = ()
    session_labels: tuple[str, ...] = ()
    phenotype: tuple[str, ...] = ()
    model_dirs: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    where: str = ""
    reference: str = ""
    bias_correction: str = "linear"
    formula: tuple[str, ...] = ()
    group_column: str = ""
    groups: tuple[str, ...] = ()
    fitted: str = ""
    harmonise: str = "none"
    age_bins: tuple[str, ...] = ()
    mediation_outcome: str = "age"
    permutation: str = "paired"
    alternative: str = "two-sided"
    ensembles: tuple[str, ...] = ()
    lesion_column: str = ""
    comparison: tuple[str, ...] = ()
    slow_steps: str = "auto"
    random_seed: int = 1

    def __post_init__(self) -> None:
        """Check values that a TOML file or a caller may have wrong.

        Raises
        ------
        BadConfiguration
            With the name of the setting.
        """
        self._check_types()
        self._check_choice("bias_correction", BIAS_CORRECTIONS)
        self._check_choice("slow_steps", SLOW_STEPS)
        self._check_choice("harmonise", HARMONISE)
        self._check_choice("mediation_outcome", MEDIATION_OUTCOMES)
        self._check_choice("permutation", PERMUTATIONS)
        self._check_choice("alternative", ALTERNATIVES)
        self._check_least(random_seed=1)
        self.age_edges()
        if self.groups and self.group_column:
            raise BadConfiguration("Both --groups and --group-column are given; groups come from one of them.")

    def age_edges(self) -> list[float]:
        """Edges of the bins of age in years; none if they were not given.

        >>> GroupSettings("/in", "/out", age_bins=("20", "40", "60")).age_edges()
        [20.0, 40.0, 60.0]
        """
        try:
            edges = [float(text) for text in self.age_bins]
        except ValueError as error:
            raise BadConfiguration(f"The setting age_bins is {list(self.age_bins)}; give ages in years.") from error
        if len(edges) == 1 or any(not low < high for low, high in zip(edges, edges[1:])):
            raise BadConfiguration(f"The setting age_bins is {list(self.age_bins)}; give two growing ages at least.")
        return edges


@dataclass(frozen=True)
class TrainSettings(_Written):
    """Settings of ``brainage-train``, by the names of its options; what is None or empty was not given.

    Places that are written to (``--out``, ``--cv-out``, ``--work``) are none, as another training must not take them.

    Attributes
    ----------
    derivatives, phenotype, split_file, mapping, paired : str or tuple of str
        Absolute paths.
    init : str
        Name or absolute folder of a model.
    """

    derivatives: tuple[str, ...]
    phenotype: tuple[str, ...] = ()
    model: str | None = None
    task: str | None = None
    name: str | None = None
    folds: int | None = None
    repeats: int | None = None
    seed: int | None = None
    group_column: str | None = None
    exclude_flag: tuple[str, ...] = ()
    dataset_name: tuple[str, ...] = ()
    model_version: str | None = None
    licence: str | None = None
    citation: str | None = None
    limits: tuple[str, ...] = ()
    input: tuple[str, ...] = ()
    target: str | None = None
    where: str | None = None
    split_parts: bool = False
    split_file: str | None = None
    runs: int | None = None
    init: str | None = None
    freeze: str | None = None
    widths: tuple[int, ...] = ()
    block: str | None = None
    bins: tuple[float, ...] = ()
    loss: str | None = None
    optimiser: str | None = None
    rate: float | None = None
    epochs: int | None = None
    patience: int | None = None
    batch: int | None = None
    accumulate: int | None = None
    precision: str | None = None
    balance: bool = False
    augmentation: str | None = None
    device: str | None = None
    cache_type: str | None = None
    allow_missing: bool = False
    export_features: bool = False
    labels: str | None = None
    patch: int | None = None
    paintings: int | None = None
    mapping: str | None = None
    paired: str | None = None
    leave_out: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check types; BadConfiguration with the name of the setting. What values mean is checked where options are."""
        self._check_types()


def _is_utf8(text: str) -> bool:
    return not any(0xDC80 <= ord(letter) <= 0xDCFF for letter in text)  # how Python shows bytes of a path that are not UTF-8


def read_toml(path: Path) -> dict[str, Any]:
    """Content of a TOML file of settings.

    Raises
    ------
    BadConfiguration
        If it cannot be read or is not TOML.
    """
    try:
        return parse_toml(read_utf8(path, SETTINGS))
    except (OSError, ValueError) as error:
        raise BadConfiguration(f"The settings file {path} cannot be read ({error}).") from error
