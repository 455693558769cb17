"""FLAIR and SWI are found in every shape they occur in, and what is neither is never taken."""

import pytest

from brainage_bids.bids.other_images import source_rank, why_never
from brainage_bids.bids.query import collect
from brainage_bids.modalities import MODALITIES
from brainage_bids.records import BadConfiguration

WARNING = "a plain gradient echo stands in for SWI"
T1W = "sub-1/anat/sub-1_T1w.nii.gz"


def scans(make_dataset, names, *, t1w=T1W, **more):
    inventory = collect(make_dataset({t1w: None, **(names if isinstance(names, dict) else dict.fromkeys(names))}), **more)
    return inventory.participants[0].sessions[0].scans, inventory


@pytest.mark.parametrize(
    "name",
    [
        "swi/sub-1_swi.nii.gz",
        "swi/sub-1_part-mag_swi.nii",
        "swi2/sub-1_run-1_swi.nii.gz",
        "anat/sub-1_swi.nii.gz",
        "anat/sub-1_SWI.nii.gz",
        "anat/sub-1_acq-swi_T2starw.nii.gz",
        "anat/sub-1_acq-hiresSWI_run-2_T2starw.nii",
        "anat/sub-1_part-mag_T2starw.nii.gz",
        "anat/sub-1_T2starw.nii.gz",
        "anat/sub-1_part-mag_GRE.nii.gz",
        "anat/sub-1_echo-1_part-mag_MEGRE.nii.gz",
    ],
)
def test_every_shape_of_swi_is_found(make_dataset, name):
    found, inventory = scans(make_dataset, [f"sub-1/{name}"])
    assert found["swi"].path.relative_to(inventory.bids_dir).as_posix() == f"sub-1/{name}"
    assert found["swi"].reason.startswith("only swi (") and (WARNING in found["swi"].reason) == name.endswith(("GRE.nii.gz", "GRE.nii"))
    (row,) = [row for row in inventory.rows() if row["modality"] == "swi"]
    assert row["action"] == "process" and row["file"] == f"sub-1/{name}" and row["reason"] == found["swi"].reason


@pytest.mark.parametrize(
    "name",
    [
        "anat/sub-1_acq-minIP_swi.nii.gz",
        "anat/sub-1_rec-mIP_swi.nii.gz",
        "anat/sub-1_acq-swimIP_T2starw.nii.gz",
        "swi/sub-1_minIP.nii.gz",
        "swi/sub-1_part-phase_swi.nii.gz",
        "swi/sub-1_part-real_GRE.nii.gz",
        "swi/sub-1_part-imag_GRE.nii.gz",
        "swi/sub-1_phase.nii.gz",
        "swi/sub-1_rec-phase_swi.nii.gz",
        "anat/sub-1_part-phase_T2starw.nii.gz",
        "anat/sub-1_part-phase_MEGRE.nii.gz",
        "anat/sub-1_Chimap.nii.gz",
        "anat/sub-1_acq-QSM_swi.nii.gz",
        "anat/sub-1_desc-x_swi.nii.gz",
        "anat/sub-1_minIP_swi.nii.gz",
        "func/sub-1_swi.nii.gz",
        "anat/sub-1_part-phase_FLAIR.nii.gz",
    ],
)
def test_projections_phase_and_maps_are_never_taken(make_dataset, name):
    found, inventory = scans(make_dataset, [f"sub-1/{name}"])
    assert set(found) == {"T1w"}
    told = [row for row in inventory.rows() if row["action"] == "leave"]
    assert all(name in row["file"] and row["reason"] for row in told)
    assert inventory.failures == ()


def test_the_sidecar_tells_a_phase_image_and_a_projection(make_dataset):
    content = {
        "sub-1/anat/sub-1_run-1_swi.nii.gz": 1.0,
        "sub-1/anat/sub-1_run-2_swi.nii.gz": 1.0,
        "sub-1/anat/sub-1_run-2_swi.json": {"ImageType": ["ORIGINAL", "PRIMARY", "P", "ND"]},
        "sub-1/anat/sub-1_run-3_swi.nii.gz": 1.0,
        "sub-1/anat/sub-1_run-3_swi.json": {"ImageType": ["DERIVED", "PRIMARY", "MNIP"]},
    }
    found, inventory = scans(make_dataset, content)
    assert found["swi"].path.name == "sub-1_run-1_swi.nii.gz" and found["swi"].reason == "only swi (swi)"
    assert sorted(item.reason for item in inventory.skipped) == [
        "it is no magnitude image (ImageType MNIP)",
        "it is no magnitude image (ImageType P)",
    ]


def test_labels_that_only_look_like_projections_are_taken():
    for name in ("sub-1_acq-compip_swi.nii", "sub-1_acq-realistic_swi.nii", "sub-1_acq-phased_swi.nii", "sub-1_rec-chimera_swi.nii"):
        from pathlib import Path

        assert why_never(Path(name), {}) == "", name


ORDER = (
    "anat/sub-1_swi.nii.gz", "swi/sub-1_part-mag_swi.nii.gz", "anat/sub-1_SWI.nii.gz", "swi/sub-1_SWI.nii.gz",
    "anat/sub-1_acq-swi_T2starw.nii.gz", "anat/sub-1_T2starw.nii.gz", "anat/sub-1_echo-1_MEGRE.nii.gz", "anat/sub-1_echo-2_MEGRE.nii.gz",
)  # fmt: skip


@pytest.mark.parametrize("first", range(len(ORDER)))
def test_the_order_of_what_can_stand_for_swi(make_dataset, first):
    content = dict.fromkeys((f"sub-1/{name}" for name in ORDER[first:]), 1.0)
    found, inventory = scans(make_dataset, content)
    assert found["swi"].path.relative_to(inventory.bids_dir).as_posix() == f"sub-1/{ORDER[first]}"
    left = [row for row in inventory.rows() if row["action"] == "leave"]
    assert len(left) == len(ORDER) - first - 1 and all(found["swi"].path.name in row["reason"] for row in left)


def test_the_reason_of_a_choice_is_told(make_dataset):
    names = ["sub-1/anat/sub-1_swi.nii.gz", "sub-1/anat/sub-1_T2starw.nii.gz", "sub-1/swi/sub-1_swi.nii.gz"]
    found, _ = scans(make_dataset, dict.fromkeys(names, 1.0))
    assert found["swi"].reason == "in anat of 3 swi (swi)"
    assert source_rank(found["swi"].path, MODALITIES["swi"]) == (0, 0, 1)


@pytest.mark.parametrize(
    "name", ["FLAIR", "acq-3D_FLAIR", "ce-gd_FLAIR", "rec-norm_run-1_FLAIR", "run-1_acq-tra_FLAIR", "part-mag_FLAIR", "inv-1_FLAIR"]
)
def test_every_shape_of_flair_is_found(make_dataset, name):
    found, _ = scans(make_dataset, [f"sub-1/anat/sub-1_{name}.nii.gz"])
    assert found["FLAIR"].path.name == f"sub-1_{name}.nii.gz" and found["FLAIR"].reason.startswith("only FLAIR")


def test_flair_follows_the_rule_of_t1w(make_dataset):
    content = {
        "sub-1/anat/sub-1_ce-gd_FLAIR.nii.gz": 0.5,
        "sub-1/anat/sub-1_acq-3D_FLAIR.nii.gz": 1.0,
        "sub-1/anat/sub-1_acq-2D_FLAIR.nii.gz": 3.0,
    }
    found, _ = scans(make_dataset, content)
    assert (found["FLAIR"].path.name, found["FLAIR"].reason) == ("sub-1_acq-3D_FLAIR.nii.gz", "highest resolution of 3 FLAIR")


def test_filters_for_flair_and_swi(make_dataset):
    names = ["anat/sub-1_acq-a_FLAIR.nii.gz", "anat/sub-1_acq-b_FLAIR.nii.gz", "anat/sub-1_swi.nii.gz", "anat/sub-1_T2starw.nii.gz"]
    filters = {"flair": {"acquisition": "b"}, "swi": {"suffix": "T2starw"}}
    found, _ = scans(make_dataset, dict.fromkeys((f"sub-1/{name}" for name in names), 1.0), bids_filters=filters)
    assert {key: scan.path.name for key, scan in found.items()} == {
        "T1w": "sub-1_T1w.nii.gz", "FLAIR": "sub-1_acq-b_FLAIR.nii.gz", "swi": "sub-1_T2starw.nii.gz",
    }  # fmt: skip
    found, _ = scans(make_dataset, {}, bids_filters={"flair": {"acquisition": "none"}, "swi": {"acquisition": "none"}})
    assert set(found) == {"T1w"}
    with pytest.raises(BadConfiguration, match="FLAIR"):
        scans(make_dataset, {}, bids_filters={"flair": {"colour": "b"}})


def test_an_image_without_a_t1w_in_its_session_is_told(make_dataset):
    names = ["sub-1/ses-2/anat/sub-1_ses-2_FLAIR.nii.gz", "sub-1/ses-1/anat/sub-1_ses-1_swi.nii.gz"]
    found, inventory = scans(make_dataset, names, t1w="sub-1/ses-1/anat/sub-1_ses-1_T1w.nii.gz")
    assert set(found) == {"T1w", "swi"}
    assert [(item.session_id, item.reason) for item in inventory.skipped if item.modality == "FLAIR"] == [
        ("ses-2", "its session has no T1w to go with")
    ]
    assert inventory.failures == ()


def test_an_empty_flair_is_chosen_and_its_state_told(make_dataset):
    found, _ = scans(make_dataset, ["sub-1/anat/sub-1_FLAIR.nii.gz"])
    assert found["FLAIR"].reason == "only FLAIR; the file is empty"
