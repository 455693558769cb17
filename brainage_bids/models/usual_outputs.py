"""What models of our kinds give; cards of 0.1 do not say it."""

from __future__ import annotations

from collections.abc import Mapping

from brainage_bids.bids.sidecars import table_columns
from brainage_bids.models.needs import Age, Output, Table

STRUCTURES = Table("structures", table_columns("structures"), "What each structure of the brain says to the model.", by_age=True)
USUAL_OUTPUTS: Mapping[str, tuple[Output, ...]] = {"volumes": (Age(), STRUCTURES), "segment": ()}
"""By kind; all others give an age alone."""


def usual_outputs(kind: str) -> tuple[Output, ...]:
    """Outputs of a model whose card does not list them.

    >>> [type(output).__name__ for output in usual_outputs("volumes")], usual_outputs("segment"), len(usual_outputs("gpr"))
    (['Age', 'Table'], (), 1)
    """
    return USUAL_OUTPUTS.get(kind, (Age(),))
