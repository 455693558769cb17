import json

import pytest

from brainage_bids.bids.tables import Inheritance, read_json_object, read_tsv

ROWS = ({"participant_id": "sub-1", "site": "Zürich"}, {"participant_id": "sub-2", "site": "n/a"})


@pytest.mark.parametrize(
    ("encoding", "mark", "problems"),
    [("utf-8", b"", 0), ("utf-8", b"\xef\xbb\xbf", 0), ("latin-1", b"", 1), ("utf-16", b"", 1)],
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_any_encoding_and_line_end(tmp_path, encoding, mark, problems, end):
    path = tmp_path / "t.tsv"
    path.write_bytes(mark + end.join(["participant_id\tsite", "sub-1\tZürich", "", "sub-2\tn/a", ""]).encode(encoding))
    table = read_tsv(path)
    assert table.columns == ("participant_id", "site") and table.rows == ROWS and len(table.problems) == problems


def test_cells_stay_text(tmp_path):
    path = tmp_path / "t.tsv"
    path.write_text('a\tb\tc\n<script>alert("1")</script>\t=cmd()\t"quoted"\n\u2028x\x0b\t007\n1\t2\t3\t4\n')
    table = read_tsv(path)
    assert table.rows[0] == {"a": '<script>alert("1")</script>', "b": "=cmd()", "c": "quoted"}
    assert table.rows[1] == {"a": "x", "b": "007", "c": "n/a"} and len(table.rows) == 3
    assert "2 row(s)" in table.problems[0]


def test_columns_are_found_whatever_their_case(tmp_path):
    path = tmp_path / "t.tsv"
    path.write_text("Participant_ID\tAge\tage\n")
    table = read_tsv(path)
    assert (table.column("participant_id"), table.column("age"), table.column("sex", "gender")) == ("Participant_ID", "age", None)


def test_empty_tables_have_no_rows(tmp_path):
    path = tmp_path / "t.tsv"
    path.write_text("\n")
    assert read_tsv(path).rows == () and "empty" in read_tsv(path).problems[0]


@pytest.mark.parametrize("content", [b"{", b"[1]", b"\xff\xfe{", b"", b"[" * 100_000])
def test_broken_json_is_a_problem(tmp_path, content):
    path = tmp_path / "x.json"
    path.write_bytes(content)
    found, problems = read_json_object(path)
    assert found == {} and len(problems) == 1 and "x.json" in problems[0]
    assert read_json_object(tmp_path / "nothing.json") == ({}, [])


def test_inheritance_agrees_with_pybids(make_dataset):
    from bids.layout import BIDSLayout

    root = make_dataset(
        {
            "T1w.json": {"A": "root", "B": "root", "C": "root", "D": "root"},
            "acq-hi_T1w.json": {"D": "acq"},
            "acq-lo_T1w.json": {"A": "wrong"},
            "bold.json": {"A": "wrong"},
            "sub-01/sub-01_T1w.json": {"B": "person", "C": "person"},
            "sub-01/ses-1/anat/sub-01_ses-1_acq-hi_T1w.json": {"C": "file"},
            "sub-01/ses-1/anat/sub-01_ses-1_run-2_T1w.json": {"A": "wrong"},
            "sub-01/ses-1/anat/sub-01_ses-1_acq-hi_T1w.nii.gz": 1.0,
            "sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz": 1.0,
        }
    )
    layout = BIDSLayout(root, validate=False)
    for name, letters in (("acq-hi_", "root person file acq"), ("", "root person person root")):
        path = root / "sub-01" / "ses-1" / "anat" / f"sub-01_ses-1_{name}T1w.nii.gz"
        found = Inheritance(root).metadata(path)
        assert found == dict(zip("ABCD", letters.split(), strict=True)) == dict(layout.get_metadata(str(path)))


def test_a_broken_sidecar_does_not_hide_the_others(make_dataset):
    root = make_dataset({"T1w.json": {"A": 1}, "sub-01/anat/sub-01_T1w.json": "{", "sub-01/anat/sub-01_T1w.nii": 1.0})
    inheritance = Inheritance(root)
    assert inheritance.metadata(root / "sub-01/anat/sub-01_T1w.nii") == {"A": 1}
    assert len(inheritance.problems) == 1 and json.dumps("sub-01_T1w.json").strip('"') in inheritance.problems[0]
