"""All stages of a session. A capability is a file with its stages, and a line here."""

from __future__ import annotations

from brainage_bids.workflows import secondary, t1w
from brainage_bids.workflows.plan import Plan
from brainage_bids.workflows.predict import model_stages
from brainage_bids.workflows.stage import Stage


def stages_of(plan: Plan) -> tuple[Stage, ...]:
    """The stages of every session of a run; where two may come next, the one that is named first does.

    Images beside the T1w stand right behind the structure of the T1w, so that the helper process has them as early as can be.

    Raises
    ------
    BadConfiguration
        If a model cannot be used.
    """
    structure, *others = t1w.STAGES
    return (structure, *secondary.STAGES, *others, *model_stages(plan))
