import pytest

from brainage_bids.bids.reuse import find_preprocessed, parse_derivatives
from brainage_bids.records import BadConfiguration

FMRIPREP = ["desc-preproc_T1w.nii.gz", "desc-brain_mask.nii.gz", "dseg.nii.gz", "label-GM_probseg.nii.gz", "label-WM_probseg.nii.gz",
            "label-CSF_probseg.nii.gz"]  # fmt: skip
KEYS = ["preproc", "mask", "dseg", "probseg_GM", "probseg_WM", "probseg_CSF"]
STANDARD = [f"space-MNI152NLin6Asym_res-2_{name}" for name in FMRIPREP]


def outputs(stem: str, names=(*FMRIPREP, *STANDARD, "from-T1w_to-MNI152NLin6Asym_mode-image_xfm.h5")) -> dict:
    sub, *ses = stem.split("_")
    folder = "/".join([sub, *[part for part in ses if part.startswith("ses-")], "anat"])
    return {f"{folder}/{stem}_{name}": None for name in names}


def test_native_files_of_fmriprep_are_found(make_dataset):
    root = make_dataset(outputs("sub-1"))
    found = find_preprocessed({"fmriprep": root}, "sub-1", None)
    assert (found.dataset, found.root, list(found.files)) == ("fmriprep", root, KEYS)
    assert [path.name for path in found.files.values()] == [f"sub-1_{name}" for name in FMRIPREP]
    assert find_preprocessed({"fmriprep": root}, "sub-2", None) is None
    assert find_preprocessed({}, "sub-1", None) is None


def test_entities_of_the_raw_file_may_stay_in_the_names(make_dataset):
    root = make_dataset({**outputs("sub-1_ses-2_acq-mp2_run-1"), "sub-1/ses-2/anat/sub-1_ses-2_desc-preproc_T1w.nii.gz": None})
    found = find_preprocessed({"x": root}, "sub-1", "ses-2")
    assert {path.name.split("_run-1_")[0] for path in found.files.values()} == {"sub-1_ses-2_acq-mp2"}


def test_an_average_over_sessions_is_not_the_image_of_one(make_dataset):
    root = make_dataset(outputs("sub-1"))
    assert find_preprocessed({"x": root}, "sub-1", "ses-1") is None
    assert find_preprocessed({"x": root}, "sub-1", "ses-1", only_session=True) is not None
    other = make_dataset(outputs("sub-1_ses-1"), folder="other")
    assert find_preprocessed({"x": other}, "sub-1", None) is None
    assert find_preprocessed({"x": other}, "sub-1", "ses-2", only_session=True) is None


def test_the_first_dataset_with_image_and_mask_is_taken(make_dataset):
    half = make_dataset(outputs("sub-1", FMRIPREP[:1]), folder="half")
    least = make_dataset(outputs("sub-1", ["desc-preproc_T1w.nii", "desc-brain_mask.nii.gz"]), folder="least")
    full = make_dataset(outputs("sub-1"), folder="full")
    found = find_preprocessed({"half": half, "least": least, "full": full}, "sub-1", None)
    assert (found.dataset, list(found.files)) == ("least", ["preproc", "mask"])


def test_of_several_sets_the_one_of_the_scan_is_taken(make_dataset):
    root = make_dataset({**outputs("sub-1_acq-a_run-1"), **outputs("sub-1_acq-b_run-1"), **outputs("sub-1_rec-norm", FMRIPREP[:2])})
    for scan, extra in (("sub-1_acq-b_run-1_T1w.nii", "acq-b_run-1"), ("sub-1_rec-norm_T1w.nii.gz", "rec-norm"), ("", "acq-a_run-1")):
        found = find_preprocessed({"x": root}, "sub-1", None, scan=scan)
        assert found.files["preproc"].name == f"sub-1_{extra}_desc-preproc_T1w.nii.gz"


@pytest.mark.parametrize("missing", [3, 4, 5])
def test_two_of_three_tissue_maps_are_no_tissues(make_dataset, missing):
    root = make_dataset(outputs("sub-1", [name for index, name in enumerate(FMRIPREP) if index != missing]))
    assert list(find_preprocessed({"x": root}, "sub-1", None).files) == ["preproc", "mask"]


def test_tissue_maps_do_without_labels(make_dataset):
    root = make_dataset(outputs("sub-1", [name for name in FMRIPREP if name != "dseg.nii.gz"]))
    assert list(find_preprocessed({"x": root}, "sub-1", None).files) == [key for key in KEYS if key != "dseg"]


def test_names_of_derivatives(make_dataset, tmp_path):
    folder = make_dataset({}, folder="my prep=1")
    assert parse_derivatives([f"fmriprep={folder}"]) == {"fmriprep": folder}
    assert parse_derivatives([str(folder)]) == {"myprep1": folder}
    for values, word in (([str(tmp_path / "none")], "none"), ([f"a={folder}", f"a={folder}"], "NAME=PATH"), ([f"raw={folder}"], "raw")):
        with pytest.raises(BadConfiguration, match=word):
            parse_derivatives(values)
