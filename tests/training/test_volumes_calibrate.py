import numpy as np
import pytest

from brainage_bids.bids.names import derivative_path
from brainage_bids.bids.sidecars import table_columns
from brainage_bids.bids.sink import sink_table
from brainage_bids.models.registry import open_model
from brainage_bids.models.selftest import run_self_test
from brainage_bids.models.volumes_folder import load_volumes
from brainage_bids.records import BadConfiguration, BadDataset
from brainage_bids.training.volumes_calibrate import People, brain_ages, calibrate, read_people, write_calibrated


@pytest.fixture(scope="module")
def controls(volume_person):
    """Forty controls whose thalamus is measured 10 % too small, and whose lateral ventricles 30 % too large."""
    ages = np.linspace(25, 75, 40)
    factors = {"Thalamus": 0.9, "Lateral-Ventricle": 1.3, "Inf-Lat-Vent": 1.3}
    volumes = [
        {name: value * factors.get(name.partition("-")[2], 1.0) for name, value in volume_person(age, seed).items()}
        for seed, age in enumerate(ages, 100)
    ]
    return People(tuple(f"sub-{row:02d}" for row in range(40)), ages, tuple(volumes))


def test_offset_brings_the_mean_error_to_zero(volume_model, controls):
    model = load_volumes(volume_model)
    made, calibration = calibrate(model, controls)
    assert (brain_ages(made, controls) - controls.ages).mean() == pytest.approx(0, abs=1e-9)
    np.testing.assert_allclose(brain_ages(made, controls) - brain_ages(model, controls), calibration.offset)
    assert (calibration.controls, calibration.age_low, calibration.age_high, calibration.scales) == (40, 25.0, 75.0, {})
    assert calibration.offset_se > 0


def test_scales_find_the_scanner(volume_model, controls):
    model = load_volumes(volume_model)
    made, calibration = calibrate(model, controls, scales=True, offset=False)
    assert calibration.scales["thalamus"] / calibration.scales["caudate"] == pytest.approx(1 / 0.9, rel=0.08)
    assert calibration.scales["lateral_ventricles"] == pytest.approx(1 / 1.3, rel=0.2)
    assert made.offset == 0.0
    for row in range(len(made.used)):
        name = made.used[row].name
        readings = [made.structures(volumes, age)[row] for volumes, age in zip(controls.volumes, controls.ages, strict=True)]
        distances = [np.log(reading["share_percent"] / reading["norm_p50"]) for reading in readings]
        assert np.median(distances) == pytest.approx(0, abs=2e-3), name


def test_too_few(volume_model, controls):
    with pytest.raises(BadDataset, match="9 controls are too few"):
        calibrate(load_volumes(volume_model), controls.rows(range(9)))


def test_a_new_folder_that_says_so(volume_model, controls, tmp_path, estimate):
    made, calibration = write_calibrated(tmp_path / "mine", volume_model, controls, name="mine", scales=True)
    again = open_model(made.path)
    assert again.card.name == "mine"
    assert again.sha256 != volume_model.sha256
    assert run_self_test(again).passed
    assert again.card.errors == volume_model.card.errors
    assert "Calibrated from the model toyvolumes on 40 controls of 25 to 75 years" in again.card.limits[-1]
    assert f"{calibration.offset:+.1f} years" in again.card.limits[-1]
    found = [estimate(again, {}, volumes, age=None).brain_age for volumes in controls.volumes]
    assert np.mean(found) == pytest.approx(controls.ages.mean(), abs=1e-6)
    with pytest.raises(BadConfiguration, match="--overwrite"):
        write_calibrated(tmp_path / "mine", volume_model, controls, name="mine")


def test_twice_adds_up(volume_model, controls, tmp_path):
    first, one = write_calibrated(tmp_path / "one", volume_model, controls, name="one")
    second, two = write_calibrated(tmp_path / "two", first, controls.rows(range(20)), name="two")
    assert load_volumes(second).offset == pytest.approx(one.offset + two.offset)
    assert sum("Calibrated" in limit for limit in second.card.limits) == 2


@pytest.fixture
def outputs(tmp_path, controls):
    lines = ["participant_id\tage"]
    for person, age, volumes in zip(controls.participants, controls.ages, controls.volumes, strict=True):
        names = {"participant_id": person, "session_id": None}
        tissues = [names | {"GM": 6e5, "WM": 5e5, "CSF": 2e5, "brain": 1.1e6}]
        regions = [names | {"name": name, "volume_mm3": value} for name, value in volumes.items()]
        for key, table in (("volumes", tissues), ("volumes_atlas", regions)):
            sink_table(table, derivative_path(tmp_path / "out", key, person), table_columns(key))
        lines.append(f"{person}\t{age if person != 'sub-03' else 'n/a'}")
    table = tmp_path / "participants.tsv"
    table.write_text("\n".join(lines) + "\n")
    return tmp_path / "out", table


def test_reading_people(outputs, controls):
    out, table = outputs
    people = read_people(out, [table])
    assert people.left_out == (("sub-03", "no age"),)
    assert len(people.participants) == 39
    few = read_people(out, [table], ["02", "sub-01"])
    assert few.participants == ("sub-01", "sub-02")
    assert few.ages.tolist() == controls.ages[1:3].tolist()
    assert few.volumes[0]["Left-Thalamus"] == pytest.approx(controls.volumes[1]["Left-Thalamus"])
    with pytest.raises(BadDataset, match="no volumes of sub-99"):
        read_people(out, [table], ["01", "99"])
