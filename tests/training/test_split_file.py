import numpy as np
import pytest

from brainage_bids.records import BadConfiguration
from brainage_bids.training.split_file import read_split, split_rows


def test_a_split_file_there_and_back(tmp_path):
    people, parts = (
        ["sub-1", "sub-2", "sub-3", "sub-3", "2:sub-4", "sub-5"],
        np.array(["train", "test", "train", "train", "validation", ""]),
    )
    lines = ["\t".join(row.values()) for row in split_rows(people, parts)]
    (tmp_path / "s.tsv").write_text("\n".join(["participant_id\tsplit", *lines, "9\ttrain"]) + "\n")
    found, strangers = read_split(tmp_path / "s.tsv", people)
    np.testing.assert_array_equal(found, parts)
    assert strangers == ("sub-9",)


def test_people_of_several_datasets_need_their_number(tmp_path):
    (tmp_path / "s.tsv").write_text("participant_id\tsplit\nsub-1\ttrain\nsub-2\tvalidation\nsub-3\ttest\n")
    with pytest.raises(BadConfiguration, match=r"the number of theirs stands before a person, as in 2:sub-01"):
        read_split(tmp_path / "s.tsv", ["1:sub-1", "1:sub-2", "2:sub-3"])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("participant_id\tpart\nsub-1\ttrain\n", "needs the columns"),
        ("participant_id\tsplit\nsub-1\tlearn\n", "has the part 'learn'"),
        ("participant_id\tsplit\nsub-1\ttrain\n1\ttest\n", "in two parts, train and test"),
        ("participant_id\tsplit\nsub-1\ttrain\n", "nobody of this cohort is in validation and test"),
    ],
)
def test_split_files_that_cannot_be_used(text, sentence, tmp_path):
    (tmp_path / "s.tsv").write_text(text)
    with pytest.raises(BadConfiguration, match=sentence):
        read_split(tmp_path / "s.tsv", ["sub-1", "sub-2"])
