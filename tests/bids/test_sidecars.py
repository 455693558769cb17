from pathlib import Path

import pytest

from brainage_bids.bids import names, sidecars
from brainage_bids.records import FLAGS

ROOTS = {"raw": Path("/data/ä b"), "": Path("/out"), "inner": Path("/out/x")}


@pytest.mark.parametrize(
    ("path", "uri"),
    [
        ("/data/ä b/sub-1/anat/a+b.nii", "bids:raw:sub-1/anat/a+b.nii"),
        ("/data/ä b/sub 1.nii", "bids:raw:sub%201.nii"),
        ("/out/sub-1/é.nii", "bids::sub-1/%C3%A9.nii"),
        ("/out/x/y", "bids:inner:y"),
    ],
)
def test_uris(path, uri):
    assert sidecars.bids_uri(path, ROOTS) == uri


def test_files_of_no_dataset_have_no_uri():
    with pytest.raises(ValueError, match="/elsewhere/x"):
        sidecars.bids_uri("/elsewhere/x", ROOTS)


def test_sidecars_say_what_bids_asks_for():
    mask = sidecars.image_sidecar("mask", "sub-1", "ses-2", sources=["bids:raw:x"])
    assert mask["Type"] == "Brain" and mask["Sources"] == ["bids:raw:x"]
    assert mask["SpatialReference"] == "bids::sub-1/ses-2/anat/sub-1_ses-2_desc-preproc_T1w.nii.gz"
    brain = sidecars.image_sidecar("t1w_mni", "sub-1", sources=[], skull_stripped=False, res="2", extra={"Software": "x"})
    assert brain["SkullStripped"] is False and "91x109x91" in brain["Resolution"] and brain["Software"] == "x"
    assert brain["SpatialReference"].startswith("https://") and "RawSources" not in brain
    map_ = sidecars.image_sidecar("modulated", "sub-1", sources=[], label="WM")
    assert "white matter" in map_["Description"] and "121x145x121" in map_["Resolution"]
    assert "index" in sidecars.image_sidecar("dseg", "sub-1", sources=[])


def test_every_image_and_table_has_its_words():
    free = {"label": "GM", "res": "1", "modality": "swi", "image": "FLAIR"}
    for key, output in names.io_spec()["outputs"].items():
        entities = {entity: value for entity, value in free.items() if f"{{{entity}}}" in output["name"]}
        if output["name"].endswith((".nii.gz", ".h5")):
            content = sidecars.image_sidecar(key, "sub-1", sources=[], skull_stripped=True, **entities)
            assert content["Description"] and "{" not in content["Description"]
            assert ("SkullStripped" in content) == output["name"].endswith(("_T1w.nii.gz", "y}.nii.gz", "e}.nii.gz"))
        elif output["name"].endswith(".tsv"):
            table = {"dseg_lookup": "lookup", "aseg_lookup": "lookup", "model_table": "structures"}.get(key, key.removeprefix("other_"))
            columns = sidecars.table_columns(table)
            assert all(column["Description"] for column in columns.values())


def test_columns_of_the_estimate_are_the_documented_ones():
    documented = (
        "participant_id session_id model modality brain_age brain_age_sd sd_within sd_between brain_age_low brain_age_high interval_level "
        "interval_method age pad brain_age_corrected pad_corrected bias_method flags model_sha256"
    )
    assert list(sidecars.table_columns("brainage")) == documented.split()
    assert sidecars.table_columns("brainage")["flags"]["Levels"] == dict(FLAGS)


def test_what_is_missing_is_refused():
    with pytest.raises(ValueError, match="skull"):
        sidecars.image_sidecar("preproc", "sub-1", sources=[])
    with pytest.raises(ValueError, match="figures"):
        sidecars.image_sidecar("figures", "sub-1", sources=[])
    with pytest.raises(ValueError, match="nonsense"):
        sidecars.table_columns("nonsense")
