"""People and label maps for models of kind ``volumes``, as several rooms need them."""

from pathlib import Path

import numpy as np
import pytest

from brainage_bids.models.case import Case
from brainage_bids.models.needs import PHENOTYPE, VOLUMES
from brainage_bids.models.order import ask
from brainage_bids.models.predict import estimate_of, predict
from brainage_bids.models.registry import ModelFolder, open_model
from brainage_bids.models.volumes import STRUCTURES
from brainage_bids.training.folder import About
from brainage_bids.training.volumes import Candidate
from brainage_bids.training.volumes_evaluate import evaluate
from brainage_bids.training.volumes_folder import map_table, train_volumes, write_volume_model
from brainage_bids.training.volumes_mapping import read_mapping
from brainage_bids.training.volumes_table import COLUMNS, read_volume_table

MEAN_ML = {
    "cortex": 470.0, "white_matter": 480.0, "lateral_ventricles": 16.0, "third_ventricle": 1.0, "fourth_ventricle": 1.8,
    "thalamus": 15.0, "caudate": 7.0, "putamen": 9.5, "pallidum": 4.0, "hippocampus": 8.5, "amygdala": 3.3, "accumbens": 0.9,
    "ventral_diencephalon": 8.4, "brain_stem": 21.0, "cerebellar_cortex": 112.0, "cerebellar_white_matter": 32.0,
}  # fmt: skip
FACTOR = {"thalamus": 1.2, "lateral_ventricles": 0.8}
"""Theirs over ours, where it is not 1."""
CANDIDATES = (Candidate("linear", 10.0, 1.0), Candidate("linear", 10.0, 3.0), Candidate("rbf", 0.3, 0.0, 2.0))


def volumes_of(age, generator):
    """mm³ by structure, on their scale: cortex shrinks with age, ventricles grow, all vary."""
    size = generator.normal(0, 0.08)
    slopes = {"cortex": -0.04, "lateral_ventricles": 0.35, "third_ventricle": 0.25, "thalamus": -0.04}
    volumes = {}
    for name, mean in MEAN_ML.items():
        spread = 0.25 if "ventricle" in name else 0.03
        volumes[name] = 1000 * mean * np.exp(size + slopes.get(name, 0.0) * (age - 50) / 15 + generator.normal(0, spread))
    return volumes


def ours(volumes):
    """The same volumes by region, as our segmentation would measure them."""
    return {part: volumes[item.name] / FACTOR.get(item.name, 1.0) / len(item.parts) for item in STRUCTURES for part in item.parts}


@pytest.fixture(scope="session")
def volume_person():
    """A function from an age to a person's volumes by region, as ours."""
    return lambda age, seed=0: ours(volumes_of(age, np.random.default_rng(seed)))


@pytest.fixture(scope="session")
def volume_files(tmp_path_factory):
    """A table of 120 people of three sites, two of whom cannot be used, and a mapping of eight label maps."""
    root, generator = tmp_path_factory.mktemp("volumes"), np.random.default_rng(1)
    names = [column for columns in COLUMNS.values() for column in columns]
    lines = ["\t".join(["participant_id", "age", "sex", "site", *names])]
    for row, age in enumerate(generator.uniform(20, 80, 120).round(2)):
        volumes = volumes_of(age, generator)
        if row == 5:
            volumes["cortex"] /= 2
        cells = {column: volumes[name] / len(columns) for name, columns in COLUMNS.items() for column in columns}
        if row == 6:
            cells[names[0]] = 0.0
        values = [f"sub-{row:03d}", str(age), "FM"[row % 2], "abc"[row % 3], *(f"{cells[name]:.2f}" for name in names)]
        lines.append("\t".join(values))
    table, mapping = root / "people.tsv", root / "mapping.tsv"
    table.write_text("\n".join(lines) + "\n")
    lines = ["map\tstructure\tours_mm3\ttheirs_mm3"]
    for number in range(8):
        theirs = volumes_of(25.0 + 7 * number, generator)
        for item in STRUCTURES:
            error = np.exp(generator.normal(0, 0.3 if item.name == "amygdala" else 0.01))
            factor = FACTOR.get(item.name, 1.0)
            each = theirs[item.name] / len(item.parts)
            lines += [f"map{number}\t{part}\t{each / factor * error}\t{each}" for part in item.parts]
    mapping.write_text("\n".join(lines) + "\n")
    return table, mapping


@pytest.fixture(scope="session")
def trained_volumes(volume_files):
    """A model of kind ``volumes``, and how far it errs."""
    table = read_volume_table(volume_files[0], leave_out=["sub-010"])
    trained = train_volumes(table, map_table(table, read_mapping(volume_files[1])), candidates=CANDIDATES)
    return trained, evaluate(table, trained.features, trained.mapping.errors, folds=4, repeats=2, candidates=CANDIDATES)


@pytest.fixture(scope="session")
def volume_model(tmp_path_factory, trained_volumes, volume_files):
    """The folder of that model; not to be changed."""
    about = About("toyvolumes", "1", "2026-01-01", "CC0-1.0", "nobody", ("Made of noise.",))
    about_data = {"dataset": "synthetic", "label_maps": volume_files[1].read_bytes()}
    return write_volume_model(tmp_path_factory.mktemp("models") / "toyvolumes", *trained_volumes, about, **about_data)


@pytest.fixture(scope="session")
def case_of():
    """A function from files by the key of their contracts, and volumes, to a case; a file that is not named is not there."""

    def make(files, volumes, age=None, phenotype=None):
        sources = {VOLUMES: lambda: volumes, PHENOTYPE: lambda: phenotype or {}}
        return Case("sub-01", lambda contract: files.get(contract.key, Path("nowhere.nii.gz")), sources, age)

    return make


@pytest.fixture(scope="session")
def estimate(case_of):
    """A function from a model, files and volumes to the row of its estimate."""

    def make(folder, files, volumes, *, age, quality_flags=(), **how):
        asked = ask(folder if isinstance(folder, ModelFolder) else open_model(folder))
        prediction = predict(asked, case_of(files, volumes, age), **how)
        return estimate_of(asked, prediction, age=age, quality_flags=quality_flags)

    return make
