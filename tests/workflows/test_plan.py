"""What a plan says of the settings."""

from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import pytest

from brainage_bids.bids.reuse import Reused
from brainage_bids.records import Session
from brainage_bids.settings import Settings
from brainage_bids.workflows.plan import Plan

PLAN = Plan(Settings("/in", "/out", "/work", omp_nthreads=2), Path("/work/sub-1"))


def test_it_holds_the_settings_and_changes_nothing():
    assert (PLAN.bids_dir, PLAN.out_dir, PLAN.threads) == (Path("/in"), Path("/out"), 2)
    with pytest.raises(FrozenInstanceError):
        PLAN.settings = Settings("/in", "/elsewhere", "/work")


@pytest.mark.parametrize(("settings", "threads", "helped"), [({"omp_nthreads": 0}, 1, False), ({}, 2, True), ({"mem_mb": 4000}, 2, False)])
def test_a_second_process_needs_a_core_and_memory(settings, threads, helped):
    plan = replace(PLAN, settings=replace(PLAN.settings, **settings))
    assert (plan.threads, plan.helped) == (threads, helped)


def test_precomputed_files_are_those_of_the_session():
    plan = replace(PLAN, precomputed={"sub-1_ses-2": Reused("theirs", Path("/theirs"), {"mask": Path("/theirs/mask.nii.gz")})})
    assert plan.precomputed_files(Session("sub-1", "ses-2", {})) == {"mask": Path("/theirs/mask.nii.gz")}
    assert plan.precomputed_files(Session("sub-1", "ses-1", {})) == {}
