from brainage_bids.bids.inventory import ROW_COLUMNS
from brainage_bids.bids.query import collect


def test_rows_tell_what_would_be_done(make_dataset):
    prep = make_dataset({f"sub-1/anat/sub-1_{name}.nii.gz": None for name in ("desc-preproc_T1w", "desc-brain_mask")}, folder="prep")
    root = make_dataset(
        {
            "sub-1/ses-x/anat/sub-1_ses-x_run-1_T1w.nii.gz": None,
            "sub-1/ses-x/anat/sub-1_ses-x_run-2_T1w.nii.gz": None,
            "sub-2/func/x": None,
        }
    )
    rows = collect(root, derivatives={"prep": prep}).rows()
    assert [tuple(row[column] for column in ROW_COLUMNS[:5]) for row in rows] == [
        ("sub-1", "ses-x", "T1w", "sub-1/ses-x/anat/sub-1_ses-x_run-2_T1w.nii.gz", "process"),
        ("sub-1", "ses-x", "T1w", str(prep / "sub-1/anat/sub-1_desc-brain_mask.nii.gz"), "reuse"),
        ("sub-1", "ses-x", "T1w", str(prep / "sub-1/anat/sub-1_desc-preproc_T1w.nii.gz"), "reuse"),
        ("sub-1", "ses-x", "T1w", "sub-1/ses-x/anat/sub-1_ses-x_run-1_T1w.nii.gz", "leave"),
        ("sub-2", "n/a", "T1w", "n/a", "skip"),
    ]
    assert rows[0]["reason"].startswith("last run of 2 T1w") and rows[2]["reason"] == "preproc of prep"
    assert collect(root, participant_labels=["2"]).rows()[0]["action"] == "fail"
    assert collect(make_dataset({}, folder="empty")).rows() == []
