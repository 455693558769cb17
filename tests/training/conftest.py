import json

import nibabel as nib
import numpy as np
import pytest

from brainage_bids.bids.names import derivative_path
from brainage_bids.models.image_contract import InputContract
from brainage_bids.records import SPACE
from brainage_bids.training.collect import TrainingData

SHAPE = (16, 18, 16)
AFFINE = np.diag([1.5, 1.5, 1.5, 1.0])
AFFINE[:3, 3] = (-12.0, -13.5, -12.0)


def contract(label):
    affine = tuple(map(tuple, AFFINE.tolist()))
    entities = {"label": label}
    return InputContract("modulated_smooth", entities, "T1w", SPACE, "nonlinear", (1.5,) * 3, SHAPE, affine, "modulatedSmooth4")


def cohort(n=30, signal=1.0, seed=0, sessions=1):
    """People whose cells and volumes follow age by `signal` (0: not at all), and vary for other reasons too."""
    generator = np.random.default_rng(seed)
    ages = np.repeat(generator.uniform(20, 60, n), sessions)
    rows = n * sessions
    pattern, others = generator.normal(size=(7, 8, 7)), generator.normal(size=(4, 7, 8, 7))
    effect = signal * (ages - 40) / 12
    own = np.repeat(generator.normal(size=(n, 4)), sessions, axis=0)
    varying = np.einsum("n,xyz->nxyz", effect, pattern) + np.einsum("nk,kxyz->nxyz", own, others)
    cells = 0.5 + 0.05 * (varying + generator.normal(size=(rows, 7, 8, 7)))
    grey = 600e3 - 10e3 * effect + generator.normal(0, 10e3, rows)
    return TrainingData(
        participants=tuple(np.repeat([f"sub-{row:03d}" for row in range(n)], sessions)),
        sessions=tuple([None] * n if sessions == 1 else [f"ses-{s}" for _ in range(n) for s in range(sessions)]),
        ages=ages,
        cells={"modulated_smooth_GM": cells.astype(np.float32), "modulated_smooth_WM": np.full_like(cells, 0.3, dtype=np.float32)},
        volumes=tuple({"GM": float(value), "brain": float(value) + 5e5} for value in grey),
        contracts=(contract("GM"), contract("WM")),
        sexes=("F", None) * (rows // 2) + ("M",) * (rows % 2),
        sites=("b",) * (rows - 1) + ("a",),
        groups=(None,) * rows,
        datasets=("synthetic",),
    )


def write_person(root, participant, session, effect, generator, shape=SHAPE):
    for label in ("GM", "WM"):
        path = derivative_path(root, "modulated_smooth", participant, session, label=label)
        path.parent.mkdir(parents=True, exist_ok=True)
        values = 0.4 - 0.1 * effect * (np.arange(shape[0])[:, None, None] > 8) + generator.normal(0, 0.05, shape)
        nib.save(nib.Nifti1Image(values.astype(np.float32), AFFINE), path)
    grey = 600e3 - 20e3 * effect
    table = f"participant_id\tsession_id\tGM\tWM\tCSF\tbrain\n{participant}\t{session or 'n/a'}\t{grey}\t500000\t200000\t{grey + 5e5}\n"
    derivative_path(root, "volumes", participant, session).write_text(table)
    regions = f"name\tvolume_mm3\nLeft-Thalamus\t{7000 - 500 * effect}\nRight-Thalamus\t{7000 - 500 * effect}\n"
    derivative_path(root, "volumes_atlas", participant, session).write_text(regions)


def write_cohort(root, n=14, seed=0, prefix=""):
    """Outputs of n people as files, and a phenotype table beside; returns the folder and the table."""
    generator = np.random.default_rng(seed)
    ages = np.round(np.linspace(20, 60, n), 1)
    lines = ["participant_id\tage\tsex\tsite\tgroup"]
    for row in generator.permutation(n):
        name = f"sub-{prefix}{row:02d}"
        write_person(root, name, None, (ages[row] - 40) / 20, generator)
        lines.append(f"{name}\t{ages[row]}\t{'MF'[row % 2]}\tsite{row % 3}\t{'patient' if row % 4 else 'control'}")
    table = root.parent / f"{root.name}_participants.tsv"
    table.write_text("\n".join(lines) + "\n")
    (root / "dataset_description.json").write_text(json.dumps({"SourceDatasets": [{"DOI": "doi:10.0/toy"}]}))
    return root, table


@pytest.fixture
def written(tmp_path):
    root = tmp_path / "out"
    root.mkdir()
    return write_cohort(root)


@pytest.fixture
def make_cohort():
    return cohort


@pytest.fixture
def make_files():
    return write_cohort, write_person
