"""One participant: every session on its own, with the help of a second process if the plan allows one."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterable, Sequence

from brainage_bids.records import Failure, Participant
from brainage_bids.workflows.driver import Driver
from brainage_bids.workflows.helper_process import HelperProcess
from brainage_bids.workflows.plan import Plan
from brainage_bids.workflows.stage import Stage, in_order, needed_stages
from brainage_bids.workflows.table import stages_of


def process_participant(participant: Participant, plan: Plan, stages: Iterable[Stage] | None = None) -> list[Failure]:
    """Do what is missing of all sessions of a person.

    Parameters
    ----------
    participant : Participant
    plan : Plan
    stages : iterable of Stage, optional
        By default those of `table.stages_of`.

    Returns
    -------
    list of Failure
        Empty if every stage that a session has something for is finished. Those of an image beside the T1w name it.

    Raises
    ------
    BadConfiguration
        If a model or setting is wrong: that is not this person's failure.
    """
    ordered = in_order(stages_of(plan) if stages is None else stages)
    drivers = [Driver(session, plan, ordered) for session in participant.sessions]
    with contextlib.ExitStack() as stack:
        helper = _helper(drivers, plan, stack)
        for driver in drivers:
            driver.go(helper)
        asked = [(driver, name) for driver in drivers for name in driver.asked]
        if helper is not None and asked:
            importlib.import_module("brainage_bids.reports.assembly")  # the page is next; time to import it is while one waits
            for (driver, name), answer in zip(asked, helper.answers(), strict=True):
                driver.hear(name, answer)
    for driver in drivers:
        driver.go()
    return [failure for driver in drivers for failure in driver.failures]


def _helper(drivers: Sequence[Driver], plan: Plan, stack: contextlib.ExitStack) -> HelperProcess | None:
    """The second process, if the plan allows one and a stage for it waits for another, so that it has time to get ready."""
    if not plan.helped or not any(map(_has_work_for_two, drivers)):
        return None
    plan.work_dir.mkdir(parents=True, exist_ok=True)
    return stack.enter_context(HelperProcess(max(1, plan.threads // 2), plan.work_dir, get_ready))


def _has_work_for_two(driver: Driver) -> bool:
    to_make = driver.to_make()
    names = {stage.name for stage in to_make}
    return any(stage.modality and names & set(needed_stages(stage)) for stage in to_make)


def get_ready() -> None:
    """Import what takes long to import."""
    import h5py  # noqa: F401
    import picsl_greedy  # noqa: F401
    import scipy.optimize  # noqa: F401
    import SimpleITK  # noqa: F401
    import torch  # noqa: F401

    from brainage_bids.imaging import bias_field, normalise, packing, quality_other, rigid, transforms  # noqa: F401
    from brainage_bids.interfaces import other, structure  # noqa: F401
    from brainage_bids.workflows.coregister import init_coregister_wf  # noqa: F401
