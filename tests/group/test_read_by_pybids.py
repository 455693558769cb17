"""pybids indexes outputs of participants and of the group with their metadata, and finds each file by its entities."""

import pytest
from bids import BIDSLayout
from bids.layout import Query

from brainage_bids.bids.names import derivative_path
from brainage_bids.bids.sidecars import table_columns
from brainage_bids.bids.sink import sink_table
from brainage_bids.bids.structures import structure_rows
from brainage_bids.cli.brainage import main

WAYS = {"plain": {}, "derivative": {"is_derivative": True}, "configs": {"config": ["bids", "derivatives"]}, "of_the_raw": None}
NAMED_LIKE_ENTITIES = ("session", "sessions", "subject", "subjects", "suffix", "extension", "datatype", "run", "label")


@pytest.fixture(scope="module")
def outputs(tmp_path_factory, study_at, make_study):
    """A study after the group run, whose participants.tsv has columns that are called like entities."""
    study = make_study(study_at(tmp_path_factory.mktemp("study")), n=12, sessions=("ses-1", "ses-2"))
    names = table_columns("structures")
    row = structure_rows([dict.fromkeys(names) | {"structure": "cortex", "label": "cortex", "contribution_years": 1.0}])
    for person in study.people:
        person |= {name: len(person) for name in NAMED_LIKE_ENTITIES}
        for session in ("ses-1", "ses-2"):
            sink_table(
                row, derivative_path(study.out, "model_table", person["participant_id"], session, model="t1", desc="structures"), names
            )
    study.finish()
    assert main([str(study.raw), str(study.out), "group", "--slow-steps", "skip"]) == 0
    return study


@pytest.fixture(scope="module", params=WAYS)
def layout(outputs, request):
    options = WAYS[request.param]
    if options is not None:
        return BIDSLayout(outputs.out, validate=False, **options)
    whole = BIDSLayout(outputs.raw, derivatives=outputs.out, validate=False)
    (derivatives,) = whole.derivatives.values()
    return derivatives


def test_each_file_is_found_by_its_entities(layout):
    files = [file for file in layout.get() if file.entities.get("subject")]
    assert len(files) >= 12 * 2 * 8
    known = {entity for file in files for entity in file.get_entities()}
    for file in files:
        absent = dict.fromkeys(known - set(file.get_metadata()), Query.NONE)  # for pybids a described column is there too
        assert layout.get(**absent | file.get_entities()) == [file]


def test_entities_are_those_of_names_alone(layout):
    assert layout.get_models() == ["t1"]
    assert sorted(layout.get_subjects()) == [f"{number:03d}" for number in range(12)] and layout.get_sessions() == ["1", "2"]


def test_tables_are_described_by_their_own_sidecars(layout):
    (ages,) = layout.get(subject="001", session="1", suffix="brainage", extension=".tsv")
    assert ages.get_metadata()["model"]["Description"].startswith("Name of the model")
    assert ages.get_metadata()["Description"].startswith("Brain age of the session")
    (table,) = layout.get(subject="001", session="1", suffix="stats", extension=".tsv")
    assert set(table.get_metadata()) == set(table_columns("structures"))


def test_columns_called_like_entities_are_kept_under_another_name(outputs):
    header = (outputs.out / "group_brainage.tsv").read_text().splitlines()[0].split("\t")
    assert {"phenotype_session", "phenotype_suffix"} <= set(header) and not {"session", "suffix"} & set(header)
    problems = (outputs.out / "group" / "problems.tsv").read_text()
    assert "'session' is phenotype_session" in problems
