"""Kinds of models: what loads each, and what the app must know of it before it is loaded.

A package that brings a kind of its own names it in the entry points ``brainage_bids.kinds``, and the app finds it there; nothing that
lies in a model folder is ever run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from brainage_bids.models.nets.names import NETS
from brainage_bids.records import BadConfiguration

if TYPE_CHECKING:
    from brainage_bids.models.protocols import Model
    from brainage_bids.models.registry import ModelFolder

ENTRY_POINTS = "brainage_bids.kinds"


@dataclass(frozen=True)
class Kind:
    """One kind of model.

    Attributes
    ----------
    loader : str
        ``module:function`` of what makes a model of a folder; imported when a model is loaded.
    needs_torch : bool
        Whether it computes with torch, so that a device can be asked for.
    shareable : bool
        Whether loading takes so long that participants' processes share one loaded model.
    reads_volumes : bool
        Whether models of this kind read volumes that old cards do not name.
    describer : str
        ``module:function`` that says in sentences what a model of this kind is made of, without loading it; may be empty.
    """

    loader: str
    needs_torch: bool = False
    shareable: bool = False
    reads_volumes: bool = False
    describer: str = ""

    def load(self, folder: ModelFolder) -> Model:
        """Load a model; BadConfiguration if a part of it cannot be used."""
        return _function(self.loader)(folder)

    def describe(self, folder: ModelFolder) -> list[str]:
        """What a model is made of, in sentences; errors as in `load`."""
        return _function(self.describer)(folder) if self.describer else []


def _function(place: str) -> Callable[[ModelFolder], Any]:
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)


_ROOM = "brainage_bids.models"
_NETWORK = Kind(f"{_ROOM}.network:load_network", needs_torch=True, shareable=True, describer=f"{_ROOM}.heads:describe_network")
_OURS: Mapping[str, Kind] = {
    "gpr": Kind(f"{_ROOM}.gpr:load_gpr", reads_volumes=True),
    "volumes": Kind(f"{_ROOM}.volumes_folder:load_volumes"),
    **dict.fromkeys(NETS, _NETWORK),
    "segment": Kind(f"{_ROOM}.segmenter:load_segmenter", needs_torch=True),
}


@dataclass(frozen=True)
class _Kinds(Mapping[str, Kind]):
    """Our kinds, and those of other packages once somebody asks for a name that is none of ours."""

    ours: Mapping[str, Kind] = field(default_factory=lambda: _OURS)

    @cached_property
    def _theirs(self) -> dict[str, object]:
        found = {}
        for point in entry_points(group=ENTRY_POINTS):
            found.setdefault(point.name, point)
        return found

    def __getitem__(self, name: str) -> Kind:
        if name in self.ours:
            return self.ours[name]
        point = self._theirs[name]
        try:
            kind = point.load()
        except (ImportError, AttributeError) as error:
            raise BadConfiguration(f"The kind {name} of the package entry {point.value!r} cannot be loaded ({error}).") from error
        if not isinstance(kind, Kind):
            raise BadConfiguration(f"The package entry {point.value!r} for the kind {name} is no brainage_bids.models.kinds.Kind.")
        return kind

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*self.ours, *self._theirs]))

    def __len__(self) -> int:
        return len(list(iter(self)))


KINDS: Mapping[str, Kind] = _Kinds()
"""Every kind of model by its name."""


def kind_of(folder: ModelFolder) -> Kind:
    """The kind of a model; BadConfiguration if this version knows none of that name."""
    card = folder.card
    if card.kind not in KINDS:
        raise BadConfiguration(f"The model {card.name} is of kind {card.kind!r}; this version knows {', '.join(KINDS)}.")
    return KINDS[card.kind]
