import json

import nibabel as nib
import numpy as np
import pytest

from brainage_bids.bids.names import derivative_path
from brainage_bids.models.features import block_means
from brainage_bids.records import BadConfiguration, BadDataset
from brainage_bids.training.collect import collect


def test_everything_is_joined_by_identifier(written):
    root, table = written
    data = collect([root], [table], group_column="group")
    assert data.n_people == 14
    assert data.participants == tuple(sorted(data.participants))
    for row, person in enumerate(data.participants):
        number = int(person[4:])
        assert data.ages[row] == pytest.approx(np.round(np.linspace(20, 60, 14), 1)[number])
        assert (data.sexes[row], data.sites[row]) == ("MF"[number % 2], f"site{number % 3}")
        assert data.groups[row] == ("patient" if number % 4 else "control")
        image = nib.load(derivative_path(root, "modulated_smooth", person, label="WM")).get_fdata(dtype=np.float32)
        np.testing.assert_array_equal(data.cells["modulated_smooth_WM"][row], block_means(image, (1.5,) * 3))
    assert [ratio.name for ratio in data.ratios] == ["grey_matter", "thalamus"]
    assert data.ratio_values().shape == (14, 2)
    assert data.datasets == ("doi:10.0/toy",)
    assert data.people_by(data.groups) == {"control": 4, "patient": 10}
    assert data.contracts[0].shape == (16, 18, 16)
    assert data.left_out == ()


def edit(table, person, cell):
    lines = table.read_text().splitlines()
    table.write_text("\n".join("\t".join([person, cell, *line.split("\t")[2:]]) if line.startswith(person) else line for line in lines))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda root, table: edit(table, "sub-03", "n/a"), "no age"),
        (lambda root, table: edit(table, "sub-03", "89+"), "bound"),
        (lambda root, table: derivative_path(root, "modulated_smooth", "sub-03", label="GM").unlink(), "a map is missing"),
        (lambda root, table: derivative_path(root, "modulated_smooth", "sub-03", label="GM").write_bytes(b"x"), "cannot be read"),
        (lambda root, table: derivative_path(root, "volumes", "sub-03").unlink(), "cannot be read"),
        (lambda root, table: derivative_path(root, "qc", "sub-03").write_text("metric\tflag\nx\tpoor_registration\n"), "poor_registration"),
    ],
)
def test_one_bad_person_is_left_out_and_said(written, damage, reason):
    root, table = written
    damage(root, table)
    data = collect([root], [table], exclude_flags=("poor_registration",))
    assert data.n_people == 13
    assert [who for who, _ in data.left_out] == ["sub-03"]
    assert reason in data.left_out[0][1]
    assert len(data.ages) == len(data.cells["modulated_smooth_GM"]) == len(data.volumes) == 13


def test_another_grid_is_left_out(written, make_files):
    root, table = written
    make_files[1](root, "sub-05", None, 0.0, np.random.default_rng(0), shape=(15, 18, 16))
    data = collect([root], [table])
    assert [who for who, _ in data.left_out] == ["sub-05"]
    assert "shape 16×18×16 is needed" in data.left_out[0][1]


def test_the_same_label_in_two_datasets_is_two_people(tmp_path, make_files):
    roots, tables = zip(*[make_files[0](tmp_path / name, n=4, seed=seed) for seed, name in enumerate("ab")], strict=True)
    data = collect(roots, tables, dataset_names=("A", "B"))
    assert (data.n_people, data.datasets) == (8, ("A", "B"))
    assert data.participants[0] == "1:sub-00"
    assert collect(roots, tables[:1]).n_people == 8
    with pytest.raises(BadConfiguration, match="2 datasets need one phenotype table or 2"):
        collect(roots, [*tables, tables[0]])


def test_later_session_without_its_own_age_is_left_out(written, make_files):
    root, table = written
    generator = np.random.default_rng(0)
    for session in ("ses-1", "ses-2"):
        make_files[1](root, "sub-50", session, 0.0, generator)
    table.write_text(table.read_text() + "sub-50\t33\tM\tsite0\tcontrol\n")
    data = collect([root], [table])
    assert ("sub-50", "ses-1") in zip(data.participants, data.sessions, strict=True)
    assert data.left_out == (("sub-50_ses-2", "no age for this session"),)


def test_groups_are_read_as_they_are_written(written):
    root, table = written
    lines = [line.split("\t") for line in table.read_text().splitlines()]
    groups = ["none", "Control", "control", "007"]
    rows = [[cells[0].replace("sub-0", "sub-"), *cells[1:4], groups[place % 4]] for place, cells in enumerate(lines[1:])]
    table.write_text("\n".join("\t".join(cells) for cells in [lines[0], *rows]) + "\n")
    data = collect([root], [table], group_column="group")
    assert data.n_people == 14 and set(data.groups) == set(groups)
    said = " ".join(data.problems)
    assert "names 10 participant(s) otherwise" in said and "'none'" in said and "('Control', 'control')" in said


def test_name_of_the_raw_folder_without_a_doi(written):
    root, table = written
    (root / "dataset_description.json").write_text(json.dumps({"DatasetLinks": {"raw": "file:///some/where/ds%20000"}}))
    assert collect([root], [table]).datasets == ("ds 000",)


def test_nothing_to_train_on(written, tmp_path):
    root, table = written
    with pytest.raises(BadDataset, match="no smoothed modulated maps"):
        collect([tmp_path / "empty"], [table])
    table.write_text("participant_id\tage\nsub-99\t30\n")
    with pytest.raises(BadDataset, match="14 × no age"):
        collect([root], [table])


def test_unknown_group_column(written):
    with pytest.raises(BadConfiguration, match="no column 'diagnosis'"):
        collect([written[0]], [written[1]], group_column="diagnosis")


def test_progress_is_told(written):
    seen = []
    collect([written[0]], [written[1]], progress=lambda done, total: seen.append((done, total)))
    assert seen == [(done, 14) for done in range(1, 15)]
