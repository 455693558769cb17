"""Finding model folders: those that ship with the package, those of ``--model-dir``, or a path."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from brainage_bids.models.card import ModelCard
from brainage_bids.models.cardfile import CARD, read_card
from brainage_bids.models.weights import read_checked
from brainage_bids.records import BadConfiguration

MODEL_DIR_VARIABLE = "BRAINAGE_MODEL_DIR"
"""Further folders of models, separated like those of ``PATH``."""
DEFAULT_MODEL = "volumes"
"""The embedded model that is used if nobody chooses."""
WEIGHTS = "weights.safetensors"
HEADS = "heads.json"


@dataclass(frozen=True)
class ModelFolder:
    """A model on disk whose card was read; its other files are checked when they are loaded."""

    path: Path
    card: ModelCard

    @property
    def sha256(self) -> str:
        """SHA-256 of the weights, by which a model is told from another of its name."""
        return self.digest(WEIGHTS)

    def digest(self, file: str) -> str:
        """SHA-256 that the card gives for a file; BadConfiguration if it does not name it."""
        if file not in self.card.files:
            raise BadConfiguration(f"The card of the model {self.card.name} ({self.path / CARD}) names no file {file}.")
        return self.card.files[file]

    def read(self, file: str) -> bytes:
        """Content of a file whose SHA-256 is that of the card; BadConfiguration otherwise."""
        return read_checked(self.path / file, self.digest(file))


def embedded_dir() -> Path:
    """Folder of the models that ship with the package."""
    return Path(str(resources.files("brainage_bids").joinpath("data", "models")))


def open_model(path: Path | str) -> ModelFolder:
    """Open a model folder.

    Parameters
    ----------
    path : Path
        A folder with a ``model.toml``.

    Raises
    ------
    BadConfiguration
        If there is none or it cannot be used.
    """
    path = Path(path)
    if not os.path.lexists(path / CARD):
        raise BadConfiguration(f"{path} is no model folder: it has no {CARD}.")
    return ModelFolder(path, read_card(path / CARD))


def search_dirs(model_dirs: Sequence[Path | str] = ()) -> tuple[Path, ...]:
    """Folders in which models are looked for, the most trusted first: those given, the environment's, the embedded one.

    Raises
    ------
    BadConfiguration
        If a folder given by the user does not exist.
    """
    named = [Path(folder) for folder in model_dirs]
    named += [Path(folder) for folder in os.environ.get(MODEL_DIR_VARIABLE, "").split(os.pathsep) if folder]
    for folder in named:
        if not folder.is_dir():
            raise BadConfiguration(f"The model folder {folder} does not exist; check --model-dir and the variable {MODEL_DIR_VARIABLE}.")
    return tuple(dict.fromkeys([*named, embedded_dir()]))


def list_models(model_dirs: Sequence[Path | str] = ()) -> tuple[list[ModelFolder], list[str]]:
    """Find every model.

    Returns
    -------
    list of ModelFolder, list of str
        Models by name (of two with one name the first in the order of `search_dirs`), and a sentence for each card that
        cannot be used.
    """
    found: dict[str, ModelFolder] = {}
    problems = []
    for folder in search_dirs(model_dirs):
        for path in _model_paths(folder):
            try:
                model = open_model(path)
            except BadConfiguration as error:
                problems.append(str(error))
            else:
                found.setdefault(model.card.name, model)
    return [found[name] for name in sorted(found)], problems


def find_model(name: Path | str, model_dirs: Sequence[Path | str] = ()) -> ModelFolder:
    """Find one model.

    Parameters
    ----------
    name : str or Path
        The name of a model, or the path of its folder.
    model_dirs : sequence of Path
        Folders of models; a folder that is a model itself counts too.

    Raises
    ------
    BadConfiguration
        If there is no such model (the sentence names those there are), or its card cannot be used.
    """
    text = os.fspath(name)
    if os.sep in text or os.path.lexists(Path(text) / CARD):
        return open_model(text)
    models, problems = list_models(model_dirs)
    for model in models:
        if model.card.name == text:
            return model
    known = ", ".join(model.card.name for model in models) or "none"
    unusable = f" {' '.join(problems)}" if problems else ""
    raise BadConfiguration(f"There is no model {text!r}; known are: {known}. Give one of these or the path of a model folder.{unusable}")


def _model_paths(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    if os.path.lexists(folder / CARD):
        return [folder]
    return sorted(path for path in folder.iterdir() if not path.name.startswith(".") and os.path.lexists(path / CARD))
