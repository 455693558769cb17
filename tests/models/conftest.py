import numpy as np
import pytest

from brainage_bids.models.card import Ages, Errors, Measure, ModelCard, Training
from brainage_bids.models.features import block_means, spread_cells
from brainage_bids.models.image_contract import InputContract
from brainage_bids.models.needs import ImageNeed
from brainage_bids.models.registry import ModelFolder
from brainage_bids.training.collect import TrainingData
from brainage_bids.training.evaluate import cross_validate, train_model
from brainage_bids.training.folder import About, write_model
from brainage_bids.training.gpr import Grid

SHAPE = (16, 18, 16)
AFFINE = ((1.5, 0.0, 0.0, -12.0), (0.0, 1.5, 0.0, -13.5), (0.0, 0.0, 1.5, -12.0), (0.0, 0.0, 0.0, 1.0))


def contract(label):
    return InputContract(
        "modulated_smooth", {"label": label}, "T1w", "MNI152NLin2009aSym", "nonlinear", (1.5,) * 3, SHAPE, AFFINE, "modulatedSmooth4"
    )


def maps_of_people(n, signal, seed):
    """Ages, and maps on the fine grid whose left half changes with age by `signal`."""
    generator = np.random.default_rng(seed)
    ages = generator.uniform(20, 60, n)
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, k) for k in (7, 8, 7)], indexing="ij"))
    inside = np.sqrt((grid**2).sum(axis=0))
    maps = []
    for age in ages:
        person = {}
        for label, values in (("GM", np.exp(-((inside - 0.7) ** 2) / 0.1)), ("WM", np.exp(-(inside**2) / 0.2))):
            values = values * (1 - 0.3 * signal * (age - 40) / 40 * (grid[0] > 0)) + generator.normal(0, 0.02, inside.shape)
            person[f"modulated_smooth_{label}"] = spread_cells(np.clip(values, 0, None), SHAPE, (1.5,) * 3)
        maps.append(person)
    return ages, maps


def volumes_of_people(ages, signal, seed):
    generator = np.random.default_rng((seed, 1))
    volumes = []
    for effect in (ages - 40) / 40 * signal:
        grey = 600e3 * (1 - 0.2 * effect) + generator.normal(0, 9e3)
        third = 1e3 * (1 + 0.5 * effect) + generator.uniform(0, 200)
        volumes.append({"GM": float(grey), "WM": 5e5, "CSF": 2e5, "brain": float(grey) + 5e5, "3rd-Ventricle": float(third)})
    return tuple(volumes)


def people(n=24, signal=1.0, seed=0):
    """People whose maps and volumes change with age by `signal`."""
    ages, maps = maps_of_people(n, signal, seed)
    return TrainingData(
        participants=tuple(f"sub-{row:03d}" for row in range(n)),
        sessions=(None,) * n,
        ages=ages,
        cells={key: np.stack([block_means(person[key], (1.5,) * 3) for person in maps]) for key in maps[0]},
        volumes=volumes_of_people(ages, signal, seed),
        contracts=(contract("GM"), contract("WM")),
        sexes=tuple("FM"[row % 2] for row in range(n)),
        sites=("a",) * n,
        groups=(None,) * n,
        datasets=("synthetic",),
    )


SMALL = Grid(
    features=("both",),
    n_components=(2, 5),
    kernels=(("linear", 1.0), ("rbf", 1.0)),
    alphas=(10.0, 1.0, 0.1),
    inner_folds=4,
    inner_repeats=1,
)
ABOUT = About("toy", "1", "2026-01-01", "CC0-1.0", "nobody", ("Made of noise.",))


@pytest.fixture(scope="session")
def data():
    return people()


@pytest.fixture(scope="session")
def fine():
    """The maps of the people of `data` on their fine grid."""
    return maps_of_people(24, 1.0, 0)[1]


@pytest.fixture(scope="session")
def trained(data):
    """A model of synthetic people with its cross-validation."""
    return *train_model(data, grid=SMALL), cross_validate(data, folds=4, repeats=1, grid=SMALL)


@pytest.fixture
def folder(tmp_path, data, trained) -> ModelFolder:
    model, choice, validation = trained
    return write_model(tmp_path / "toy", model, data, validation, choice, ABOUT)


@pytest.fixture
def card() -> ModelCard:
    ages = Ages(19.0, 52.5, 32.8, 8.6, (15.0, 35.0, 55.0), (20, 16))
    about = {"sites": ("a", "b"), "sexes": {"F": 20, "M": 16}, "groups": {"depr": 25, "control": 11}}
    training = Training(("doi:10.0/x",), 36, 36, ages, "nested", (1, 2), "cpu", "brainage_bids 0", **about)
    errors = Errors("nested", 36, mae=Measure(6.5, 5.0, 8.0), r=Measure(0.3), p_guess=0.2, permutations=999, coverage=0.94)
    files = {"weights.safetensors": "a" * 64, "heads.json": "b" * 64}
    inputs = ImageNeed(contract("GM")), ImageNeed(contract("WM"))
    return ModelCard("toy", "gpr", "1", "2026-01-01", inputs, training, errors, files, "CC0-1.0", "Somebody 2026", ("One.", "Two."))


@pytest.fixture
def folder_of_network(card, tmp_path):
    """A small network that sees a cut, scaled image, with a person's files and the contract."""
    import nibabel as nib
    import torch

    from brainage_bids.bids.names import derivative_path
    from brainage_bids.models.network import NetworkModel, make_network
    from brainage_bids.models.preparation import Step

    contract = card.contracts[0]
    steps = (Step("crop", {"start": (1, 0, 2), "stop": (14, 18, 16)}), Step("top_mean"))
    torch.manual_seed(1)
    net, architecture = make_network("resnet", (contract,), steps, {"widths": (2, 3), "hidden": 5})
    path = derivative_path(tmp_path, contract.derivative, "sub-01", **contract.entities)
    path.parent.mkdir(parents=True)
    data = np.random.default_rng(0).random(contract.shape, dtype=np.float32) + 0.1
    nib.save(nib.Nifti1Image(data, np.array(contract.affine)), path)
    return NetworkModel("resnet", architecture, net.eval(), (contract,), steps), {contract.key: path}, contract
