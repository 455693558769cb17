import json

import pytest

from brainage_bids.bids.tables import Inheritance, is_missing, is_no_value, read_json_object, read_tsv

ROWS = ({"participant_id": "sub-1", "site": "Zürich"}, {"participant_id": "sub-2", "site": "n/a"})


@pytest.mark.parametrize(
    ("encoding", "mark", "problems"),
    [("utf-8", b"", 0), ("utf-8", b"\xef\xbb\xbf", 0)]
    + [(name, b"", 1) for name in ("latin-1", "cp1252", "utf-16", "utf-16-le", "utf-16-be", "utf-32")],
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


def test_quotes_hold_tabs_line_breaks_and_quotes(tmp_path):
    path = tmp_path / "t.tsv"
    path.write_text('a\tb\n"one\ttwo"\t"three\r\nfour"\n"say ""x"""\t5" tall\n"open\t6\n7\t"also open\n\u200bx\ufeff\t y \n', newline="")
    assert [tuple(row[name] for name in "ab") for row in read_tsv(path).rows] == [
        ("one\ttwo", "three\r\nfour"), ('say "x"', '5" tall'), ('"open', "6"), ("7", '"also open'), ("x", "y"),
    ]  # fmt: skip


@pytest.mark.parametrize(("text", "separator"), [("participant_id;age\n1;30,5\n2;31\n", ";"), ('participant_id,age\n1,"30"\n2,31\n', ",")])
def test_other_separators_are_read_and_told(tmp_path, text, separator):
    path = tmp_path / "t.tsv"
    path.write_text(text)
    table = read_tsv(path)
    assert table.columns == ("participant_id", "age") and table.rows[1]["age"] == "31" and repr(separator) in table.problems[0]
    path.write_text("remark\na, b\nc\n")
    assert read_tsv(path).rows == ({"remark": "a, b"}, {"remark": "c"}) and not read_tsv(path).problems


def test_lines_that_end_with_a_tab_have_no_further_column(tmp_path):
    path = tmp_path / "t.tsv"
    path.write_text("a\tb\t\n1\t2\t\n3\t4\n")
    table = read_tsv(path)
    assert table.columns == ("a", "b") and table.rows[1] == {"a": "3", "b": "4"} and table.problems == ()


def test_only_na_is_missing_where_words_are_values():
    assert [is_missing(text) for text in ("n/a", " N/A ", "", None)] == [True] * 4
    assert [is_missing(text) or not is_no_value(text) for text in ("NA", "none", "nan", "null", "-", "?")] == [False] * 6


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
