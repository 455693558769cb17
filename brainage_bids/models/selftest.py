"""Whether a model still says on this machine what it said when it was made.

A model folder carries an example: the mean of some training people's cell means (nobody's own brain) with its volumes, and
the age that the model gave it. The test writes the example as images on the fine grid, under the names that the contract
asks for, and sends them through the whole way of a real person: reading, contract, cells, prediction. The example of a model
that looks at no image has volumes only.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from brainage_bids.bids.names import derivative_path
from brainage_bids.files import parse_json
from brainage_bids.models.case import Case
from brainage_bids.models.features import spread_cells
from brainage_bids.models.needs import PHENOTYPE, VOLUMES
from brainage_bids.models.order import ask
from brainage_bids.models.predict import predict
from brainage_bids.models.prediction import Estimate
from brainage_bids.models.registry import ModelFolder
from brainage_bids.models.weights import describe_arrays, load_arrays
from brainage_bids.records import BadConfiguration

if TYPE_CHECKING:
    import numpy as np

EXAMPLE_ARRAYS = "example.safetensors"
EXAMPLE = "example.json"
TOLERANCE_YEARS = 0.01


@dataclass(frozen=True)
class SelfTest:
    """Expected and found brain age and standard deviation, years."""

    expected_age: float
    expected_sd: float
    found_age: float
    found_sd: float

    @property
    def passed(self) -> bool:
        """Whether both agree within 0.01 years."""
        differences = abs(self.found_age - self.expected_age), abs(self.found_sd - self.expected_sd)
        return max(differences) <= TOLERANCE_YEARS


def run_self_test(folder: ModelFolder) -> SelfTest:
    """Predict the example of a model and compare with what is stored.

    Raises
    ------
    BadConfiguration
        If the model or its example cannot be used.
    """
    if not folder.card.gives_age:
        raise BadConfiguration(f"The model {folder.card.name} gives no age, so it carries no example; verify its files.")
    try:
        content = parse_json(folder.read(EXAMPLE))
        expected = float(content["brain_age"]), float(content["sd"])
        volumes = {str(name): float(value) for name, value in content["volumes"].items()}
        arrays = {}
        if folder.card.contracts:
            arrays = load_arrays(folder.path / EXAMPLE_ARRAYS, folder.digest(EXAMPLE_ARRAYS), content["arrays"])
        found = predict_example(folder, arrays, volumes)
    except BadConfiguration:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise BadConfiguration(f"The example of the model {folder.card.name} is not as it should be ({error}).") from error
    return SelfTest(*expected, found.mean, found.sd or 0.0)


def predict_example(folder: ModelFolder, cells: Mapping[str, np.ndarray], volumes: Mapping[str, float]) -> Estimate:
    """Send cell means through the whole way of a person.

    Parameters
    ----------
    folder : ModelFolder
    cells : mapping
        Key of an input to its cell means on the whole grid of cells.
    volumes : mapping
        mm³ by name.
    """
    import nibabel as nib
    import numpy as np

    with tempfile.TemporaryDirectory() as scratch:
        case = Case(
            name="the example",
            file_of=lambda contract: derivative_path(scratch, contract.derivative, "sub-example", **contract.entities),
            sources={VOLUMES: lambda: volumes, PHENOTYPE: dict},
        )
        for contract in folder.card.contracts:
            path = case.file_of(contract)
            path.parent.mkdir(parents=True, exist_ok=True)
            data = spread_cells(np.asarray(cells[contract.key], np.float32), contract.shape, contract.voxel_mm)
            nib.save(nib.Nifti1Image(data, np.array(contract.affine)), path)
        prediction = predict(ask(folder), case)
    if prediction.age is None:
        raise BadConfiguration(f"The example of the model {folder.card.name} gives no age ({', '.join(prediction.flags)}).")
    return prediction.age


def example_to_files(cells: Mapping[str, np.ndarray], volumes: Mapping[str, float]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays (float16) and the content of ``example.json``, still without the age."""
    import numpy as np

    arrays = {key: np.asarray(value).astype(np.float16) for key, value in cells.items()}
    return arrays, {"volumes": {name: float(value) for name, value in volumes.items()}, "arrays": describe_arrays(arrays)}
