"""Networks by their kind."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from brainage_bids.models.nets.names import NETS
from brainage_bids.records import BadConfiguration

if TYPE_CHECKING:
    from brainage_bids.models.nets.base import AgeNet

__all__ = ["NETS", "build_net"]


def build_net(kind: str, architecture: Mapping[str, Any]) -> AgeNet:
    """Make a network.

    Parameters
    ----------
    kind : str
        Of `NETS`.
    architecture : mapping
        Arguments of its class; ``bins`` as a mapping or None.

    Raises
    ------
    BadConfiguration
        If the kind is not known or the arguments do not fit it.
    """
    from brainage_bids.models.age_heads import Bins, read_bins

    if kind not in NETS:
        raise BadConfiguration(f"There is no network {kind!r}; known are {', '.join(NETS)}.")
    module, name = NETS[kind]
    made = getattr(import_module(f"brainage_bids.models.nets.{module}"), name)
    bins = architecture.get("bins")
    try:
        return made(**{**architecture, "bins": bins if isinstance(bins, Bins) else read_bins(bins)})
    except (TypeError, ValueError, LookupError, ArithmeticError, AttributeError, RuntimeError) as error:
        raise BadConfiguration(f"A network {kind} cannot be made of {dict(architecture)} ({error}).") from error
