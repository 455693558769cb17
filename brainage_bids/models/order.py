"""Models in the order in which they can be asked: those that others need come first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from brainage_bids.models.kinds import kind_of
from brainage_bids.models.needs import AGE, Age, ModelNeed
from brainage_bids.models.registry import ModelFolder, find_model, open_model
from brainage_bids.records import BadConfiguration

MEMBERS = "members"
"""Folder of a model that holds the models it needs."""


@dataclass(frozen=True)
class Asked:
    """A model of a run.

    Attributes
    ----------
    folder : ModelFolder
    members : tuple of Asked
        What it needs, in the order of its card.
    """

    folder: ModelFolder
    members: tuple[Asked, ...] = ()

    @property
    def key(self) -> tuple[str, str]:
        """Name and SHA-256, as in ``Case.predictions``."""
        return self.folder.card.name, self.folder.sha256

    @property
    def modality(self) -> str:
        """Modalities that it and its members look at, joined by ``+``, each once: ``T1w+FLAIR``."""
        parts = [self.folder.card.modality, *(member.modality for member in self.members)]
        return "+".join(dict.fromkeys(modality for part in parts for modality in part.split("+") if modality))

    @property
    def modalities(self) -> frozenset[str]:
        """The same as a set."""
        return frozenset(self.modality.split("+"))

    def everyone(self) -> tuple[Asked, ...]:
        """It and all that it needs, each after what it needs and once."""
        found: dict[tuple[str, str], Asked] = {}
        for member in self.members:
            found.update({one.key: one for one in member.everyone()})
        return tuple({**found, self.key: self}.values())


def ask(folder: ModelFolder, model_dirs: Sequence[Path | str] = (), _above: tuple[Path, ...] = ()) -> Asked:
    """A model with all that it needs.

    Parameters
    ----------
    folder : ModelFolder
    model_dirs : sequence of Path
        Where members are looked for that do not lie in the model's own folder.

    Raises
    ------
    BadConfiguration
        If a member is not there, has other weights or no such output, or models need each other in a circle.
    """
    kind_of(folder)
    above = (*_above, folder.path.resolve())
    members = []
    for need in folder.card.members:
        member = _member(need, folder, model_dirs)
        if member.path.resolve() in above:
            raise BadConfiguration(f"The model {folder.card.name} needs {need.model}, which needs it in turn; one of the cards is wrong.")
        members.append(ask(member, model_dirs, above))
    return Asked(folder, tuple(members))


def _member(need: ModelNeed, folder: ModelFolder, model_dirs: Sequence[Path | str]) -> ModelFolder:
    own = folder.path / MEMBERS / need.model
    member = open_model(own) if own.is_dir() else find_model(need.model, model_dirs)
    if member.card.name != need.model or member.sha256 != need.sha256:
        found = f"{member.card.name} with the weights {member.sha256[:8]}… at {member.path}"
        raise BadConfiguration(f"The model {folder.card.name} needs {need.model} with the weights {need.sha256[:8]}…, and found {found}.")
    outputs = [AGE if isinstance(output, Age) else output.key for output in member.card.outputs]
    if need.output not in outputs:
        given = ", ".join(outputs) or "nothing"
        raise BadConfiguration(f"The model {folder.card.name} needs {need.output} of {need.model}, which gives {given}.")
    return member
