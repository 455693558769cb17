"""Objects that a run fits on its reference people, written to ``OUT/group`` with an index, and taken from there by another run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from brainage_bids import __version__
from brainage_bids.bids.sink import sink_json
from brainage_bids.cohort.age_bias import AgeBias
from brainage_bids.cohort.age_intervals import AgeIntervals
from brainage_bids.cohort.fusion import LinearHead, MeanHead, RidgeHead
from brainage_bids.cohort.harmonise import Harmonisation
from brainage_bids.cohort.intervals import ConformalIntervals
from brainage_bids.cohort.saving import load, save
from brainage_bids.cohort.sites import SiteOffsets
from brainage_bids.files import read_json, real
from brainage_bids.group.cohort import Cohort
from brainage_bids.records import BadConfiguration, UnusableInput

INDEX = "fitted"
"""Name of the file that says which models of which weights the objects were fitted for."""
LAYOUT = 1
KINDS: Mapping[str, type] = {
    "age_bias": AgeBias, "across_ages": AgeIntervals, "intervals": ConformalIntervals, "sites": SiteOffsets, "combat_gap": Harmonisation,
    "combat_regions": Harmonisation, "fusion_mean": MeanHead, "fusion_linear": LinearHead, "fusion_ridge": RidgeHead,
}  # fmt: skip


@dataclass(frozen=True)
class Store:
    """A folder of fitted objects.

    Attributes
    ----------
    folder : Path
    models : mapping
        Model to the SHA-256 of its weights (None for a fusion).
    families : mapping
        Sub-ensemble to its models, of the heads.
    """

    folder: Path
    models: Mapping[str, str | None] = field(default_factory=dict)
    families: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def get(self, part: str, model: str = "") -> Any:
        """One object.

        Raises
        ------
        UnusableInput
            If the folder has none.
        BadConfiguration
            If the file holds something else.
        """
        path = _path(self.folder, part, model)
        if not path.is_file():
            raise UnusableInput(f"The folder {self.folder} of --fitted has no {path.name}, so this is not applied.")
        return load(KINDS[part], path)


def keep(out_dir: Path, part: str, fitted: Any, model: str = "") -> Path:
    """Write an object to ``OUT/group``."""
    return save(fitted, _path(out_dir / "group", part, model))


def write_index(out_dir: Path, cohort: Cohort, families: Mapping[str, tuple[str, ...]]) -> Path:
    """Write ``OUT/group/fitted.json``: for which weights, and on whom, the objects beside it were fitted."""
    reference = cohort.table[cohort.table["reference"].astype(bool)]
    content = {
        "Description": "What was fitted in this folder; give the folder to --fitted to apply it to other people.",
        "format": LAYOUT,
        "version": __version__,
        "reference": cohort.settings.reference or "everyone",
        "participants": int(reference["participant_id"].nunique()),
        "models": weights_of(cohort),
        "families": {name: list(models) for name, models in families.items()},
    }
    return sink_json(content, out_dir / "group" / f"{INDEX}.json")


def open_store(cohort: Cohort) -> Store | None:
    """The folder that ``--fitted`` names; None without one.

    Raises
    ------
    BadConfiguration
        If it is no such folder, or was fitted for other weights of a model.
    """
    if not cohort.settings.fitted:
        return None
    folder = Path(cohort.settings.fitted)
    if not (folder / f"{INDEX}.json").is_file() and (folder / "group" / f"{INDEX}.json").is_file():
        folder /= "group"
    try:
        content = read_json(folder / f"{INDEX}.json")
        layout, models = content["format"], dict(content["models"])
        families = {name: tuple(names) for name, names in content["families"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadConfiguration(
            f"The folder {folder} of --fitted has no {INDEX}.json that can be read; give OUT/group of an earlier run."
        ) from error
    if layout != LAYOUT:
        raise BadConfiguration(f"{folder / INDEX}.json has the layout {layout!r}; this version reads {LAYOUT}.")
    for model, weights in weights_of(cohort).items():
        if model in models and models[model] != weights:
            raise BadConfiguration(
                f"What {folder} holds was fitted for other weights of the model {model} ({str(models[model])[:8]}…, here "
                f"{str(weights)[:8]}…), so nothing of it is applied; fit it anew."
            )
    return Store(folder, models, families)


def refuse_own_folder(cohort: Cohort, out_dir: Path) -> None:
    """Refuse to apply what lies where this run is going to write.

    Raises
    ------
    BadConfiguration
        Before anything is removed.
    """
    folder = cohort.settings.fitted
    if folder and real(folder) in (real(out_dir), real(out_dir / "group")):
        raise BadConfiguration(f"--fitted names the output folder of this run ({folder}); copy what was fitted elsewhere, or leave it out.")


def weights_of(cohort: Cohort) -> dict[str, str | None]:
    """Model to the weights of its rows; None where they are not told."""
    found = {}
    for model in cohort.models:
        known = Counter(value for value in cohort.visits(model)["model_sha256"] if value is not None)
        found[model] = known.most_common(1)[0][0] if known else None
    return found


def _path(folder: Path, part: str, model: str) -> Path:
    return folder / (f"{part}_{model}.json" if model else f"{part}.json")
