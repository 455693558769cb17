import json

import pytest

from brainage_bids.bids.layout import FolderGate, check_filters, find_images, read_filters
from brainage_bids.records import BadConfiguration, BadDataset

NAMES = [
    "sub-1/ses-1/anat/sub-1_ses-1_acq-hi_run-1_T1w.nii.gz",
    "sub-1/ses-1/anat/sub-1_ses-1_acq-hi_run-02_T1w.nii.gz",
    "sub-1/ses-1/anat/sub-1_ses-1_ce-gd_T1w.nii",
    "sub-1/ses-2/anat/sub-1_ses-2_T1w.nii",
    "sub-1/ses-2/anat/sub-1_ses-2_part-phase_T1w.nii",
    "sub-1/ses-2/anat/sub-1_ses-2_T2w.nii",
    "sub-2/anat/sub-2_T1w.nii.gz",
    "sub-2/func/sub-2_T1w.nii.gz",
    "derivatives/app/sub-2/anat/sub-2_T1w.nii.gz",
    "sourcedata/sub-2/anat/sub-2_T1w.nii.gz",
]


@pytest.fixture
def root(make_dataset):
    return make_dataset(dict.fromkeys(NAMES))


def found(root, filters=None, people=("sub-1", "sub-2"), **more):
    return [path.name.removesuffix(".gz").removesuffix("_T1w.nii") for path in find_images(root, people, ["T1w"], filters, **more)["T1w"]]


def test_t1w_of_the_people_asked_for(root):
    one = ["sub-1_ses-1_acq-hi_run-02", "sub-1_ses-1_acq-hi_run-1", "sub-1_ses-1_ce-gd", "sub-1_ses-2", "sub-1_ses-2_part-phase"]
    assert found(root) == [*one, "sub-2"]
    assert found(root, people=["sub-1"]) == one


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"run": 2}, ["sub-1_ses-1_acq-hi_run-02"]),
        ({"run": "2"}, ["sub-1_ses-1_acq-hi_run-02"]),
        ({"acq": "hi", "run": [1]}, ["sub-1_ses-1_acq-hi_run-1"]),
        ({"acquisition": ["hi", "lo"], "ses": "ses-1", "run": [1, 2]}, ["sub-1_ses-1_acq-hi_run-02", "sub-1_ses-1_acq-hi_run-1"]),
        ({"ceagent": "Query.ANY"}, ["sub-1_ses-1_ce-gd"]),
        ({"ceagent": "*"}, ["sub-1_ses-1_ce-gd"]),
        ({"session": None}, ["sub-2"]),
        ({"session": "Query.NONE"}, ["sub-2"]),
        ({"acquisition": [None, "lo"], "session": ["1"]}, ["sub-1_ses-1_ce-gd"]),
        ({"part": "phase"}, ["sub-1_ses-2_part-phase"]),
        ({"part": "<Query.OPTIONAL: 3>", "session": 2}, ["sub-1_ses-2_part-phase", "sub-1_ses-2"]),
        ({"extension": ".nii", "session": "2", "part": None}, ["sub-1_ses-2"]),
        ({"acquisition": "h.*", "regex_search": True, "run": 1}, ["sub-1_ses-1_acq-hi_run-1"]),
        ({"run": 7}, []),
    ],
)
def test_filters(root, filters, expected):
    assert sorted(found(root, check_filters({"t1w": filters}))) == sorted(expected)


def test_a_filter_file_made_for_other_apps_works(tmp_path):
    path = tmp_path / "filter.json"
    path.write_text("\ufeff" + json.dumps({"t1w": {"acquisition": None}, "bold": {"task": "rest"}, "FLAIR": {}}), encoding="utf-8")
    assert read_filters(path) == {"T1w": {"acquisition": None}, "FLAIR": {}}


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ("{", "JSON"),
        ("[]", "object"),
        ('{"t1w": 3}', "object"),
        ('{"t3w": {}}', "t3w"),
        ('{"t1w": {"colour": "red"}}', "colour"),
        ('{"t1w": {"run": {"a": 1}}}', "run"),
        ('{"t1w": {"run": []}}', "run"),
        ('{"t1w": {"run": true}}', "run"),
        ('{"t1w": {"regex_search": "yes"}}', "regex_search"),
    ],
)
def test_wrong_filter_files(tmp_path, content, word):
    path = tmp_path / "filter.json"
    path.write_text(content)
    with pytest.raises(BadConfiguration, match=word):
        read_filters(path)
    with pytest.raises(BadConfiguration, match="nothing.json"):
        read_filters(tmp_path / "nothing.json")


def test_a_broken_regular_expression_is_a_wrong_setting(root):
    with pytest.raises(BadConfiguration, match="T1w"):
        found(root, check_filters({"t1w": {"acquisition": "(", "regex_search": True}}))


@pytest.mark.parametrize("folder", ["sub-9/ses-8_run-3/anat", "with space # and ä %20", "a+b(c)[d]"])
def test_the_place_of_the_dataset_does_not_matter(make_dataset, folder):
    root = make_dataset({"sub-1/anat/sub-1_T1w.nii.gz": None}, folder=folder)
    assert found(root, check_filters({"t1w": {"session": None, "run": None, "subject": "sub-1"}}), ["sub-1"]) == ["sub-1"]


def test_folders_of_others_are_not_opened(root, monkeypatch):
    import fsspec.implementations.local

    opened = []
    listing = fsspec.implementations.local.LocalFileSystem.ls

    def ls(self, path, *args, **kwargs):
        opened.append(str(path).removeprefix(str(root)))
        return listing(self, path, *args, **kwargs)

    monkeypatch.setattr(fsspec.implementations.local.LocalFileSystem, "ls", ls)
    found(root, people=["sub-2"])
    assert sorted(opened) == ["", "/sub-2", "/sub-2/anat"]


def test_the_gate_lets_files_of_a_person_through():
    gate = FolderGate({"sub-01"}, {"anat"})
    passed = ["/sub-01", "/sub-01/anat", "/sub-01/anat/x.nii", "/sub-01/ses-1", "/sub-01/ses-1/anat", "/sub-01/ses-1/anat/x.nii"]
    kept_out = [
        "/sub-011",
        "/sub-02",
        "/T1w.json",
        "/sub-01/meg",
        "/sub-01/ses-1/meg/x.ds/y",
        "/sub-01/anat/x.zarr/0",
        "/sub-01/sub-01_sessions.tsv",
    ]
    assert [path for path in passed + kept_out if not gate.search(path)] == passed


def test_an_index_is_kept_for_the_whole_dataset(root, make_dataset, tmp_path):
    database = tmp_path / "index"
    assert found(root, people=["sub-2"], database_dir=database) == ["sub-2"]
    (root / NAMES[3]).unlink()
    (root / "sub-1/ses-2/anat/sub-1_ses-2_run-9_T1w.nii").touch()
    link = tmp_path / "link"
    link.symlink_to(root)
    for place in (root, link):  # the new file is not in the index, the deleted one is
        assert found(place, people=["sub-1"], database_dir=database) == [
            "sub-1_ses-1_acq-hi_run-02",
            "sub-1_ses-1_acq-hi_run-1",
            "sub-1_ses-1_ce-gd",
            "sub-1_ses-2_part-phase",
        ]
    other = make_dataset({"sub-1/anat/sub-1_T1w.nii": None}, folder="other")
    with pytest.raises(BadConfiguration, match="belongs to"):
        found(other, people=["sub-1"], database_dir=database)
    (database / "layout_index.sqlite").write_text("no database")
    with pytest.raises(BadConfiguration, match="delete it"):
        found(root, database_dir=database)


@pytest.mark.parametrize(
    "description",
    [{"DatasetType": "derivative", "GeneratedBy": {"Name": "x"}}, ["a list"], {"DatasetType": "derivative", "GeneratedBy": 3}],
)
def test_descriptions_that_pybids_cannot_take_are_bad_datasets(make_dataset, description):
    root = make_dataset({"sub-1/anat/sub-1_T1w.nii": None}, description=description)
    with pytest.raises(BadDataset, match="dataset_description"):
        found(root, people=["sub-1"])


def test_a_derivative_that_does_not_say_of_what_is_searched_all_the_same(make_dataset):
    root = make_dataset({"sub-1/anat/sub-1_T1w.nii": None}, description={"DatasetType": "derivative"})
    assert found(root, people=["sub-1"]) == ["sub-1"]
