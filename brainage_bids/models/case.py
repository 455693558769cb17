"""One session as models see it: images, values and what other models said, read when asked for and checked by the need."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from brainage_bids.bids.names import derivative_path
from brainage_bids.modalities import COREGISTERED
from brainage_bids.models.contract import BoxedImage, read_image
from brainage_bids.models.features import read_volumes
from brainage_bids.models.image_contract import InputContract
from brainage_bids.models.needs import AGE, PHENOTYPE, VOLUMES, ImageNeed, ModelNeed, Need, TableNeed
from brainage_bids.models.prediction import Estimate, Prediction
from brainage_bids.records import UnusableInput, Withheld

if TYPE_CHECKING:
    import numpy as np

Value = float | str | None


@dataclass
class Case:
    """A session; made by `session_case`.

    Attributes
    ----------
    name : str
        ``sub-X[_ses-Y]``, for messages.
    file_of : callable
        From the contract of an image to the file that must fulfil it, there or not.
    sources : mapping of str to callable
        ``volumes`` and ``phenotype`` to what reads their values by name.
    age : float or None
        Years. It chooses norms that stand beside what is measured; no model's age may depend on it.
    predictions : mapping of (str, str) to Prediction or None
        What models that others need have said, by name and SHA-256; None if one gave nothing for this session.
    asker : str
        Who reads, for messages.
    """

    name: str
    file_of: Callable[[InputContract], Path]
    sources: Mapping[str, Callable[[], Mapping[str, Value]]]
    age: float | None = None
    predictions: dict[tuple[str, str], Prediction | None] = field(default_factory=dict)
    asker: str = "the model"
    _read: dict[str, Any] = field(default_factory=dict)

    def boxed(self, need: ImageNeed) -> BoxedImage:
        """An image with its place on the grid of its file; errors as in `image`."""
        key = repr(need.contract)
        if key not in self._read:
            if not self.has(need):
                raise Withheld(f"There is no {need.modality} of {self.name} for {self.asker}.", "modality_missing")
            self._read[key] = read_image(need.contract, self.file_of(need.contract), self.asker)
        return self._read[key]

    def image(self, need: ImageNeed) -> np.ndarray:
        """Values of an image, (X, Y, Z) float32; not to be written to.

        Raises
        ------
        UnusableInput
            If the file does not fulfil the contract; `Withheld` if an image beside the T1w is not there, or a brain is larger than its box.
        """
        return self.boxed(need).data

    def table(self, need: TableNeed) -> dict[str, Value]:
        """Values by name, in the order of the need.

        Raises
        ------
        UnusableInput
            If one is missing and the need refuses that; `Withheld` if it asks for a flag then.
        """
        found = self._source(need.source)
        values = {name: found.get(name) for name in need.columns}
        missing = [name for name, value in values.items() if value is None]
        if missing and need.missing != "impute":
            where = "the tables of volumes" if need.source == VOLUMES else "the phenotype tables"
            words = f"{self.asker[0].upper()}{self.asker[1:]} needs {', '.join(missing)} of {self.name}, which {where} do not hold"
            if need.missing == "flag":
                raise Withheld(f"{words}.", "modality_missing")
            advice = "run the preprocessing again" if need.source == VOLUMES else "give the table by --phenotype"
            raise UnusableInput(f"{words}; {advice}.")
        return values

    def product(self, need: ModelNeed) -> Estimate | Any | None:
        """What another model said: its `Estimate`, a map or a table; None if it gave nothing for this session."""
        prediction = self.predictions[need.model, need.sha256]
        if prediction is None or need.output == AGE:
            return None if prediction is None else prediction.age
        parts = {**prediction.maps, **prediction.tables, **prediction.images}
        return parts.get(need.output)

    def has(self, need: Need) -> bool:
        """Whether a session has what is not there for everybody: an image beside the T1w, values of a table, a member's answer."""
        if isinstance(need, ImageNeed):
            return need.modality not in COREGISTERED or self.file_of(need.contract).is_file()
        if isinstance(need, TableNeed):
            found = self._source(need.source)
            return need.missing != "flag" or all(found.get(name) is not None for name in need.columns)
        return self.product(need) is not None

    def _source(self, name: str) -> Mapping[str, Value]:
        if name not in self._read:
            self._read[name] = self.sources[name]()
        return self._read[name]


def session_case(
    out_dir: Path | str,
    participant_id: str,
    session_id: str | None,
    *,
    age: float | None = None,
    phenotype: Mapping[str, Value] | None = None,
) -> Case:
    """The case of a session whose files lie in an output folder.

    Parameters
    ----------
    out_dir : Path
    participant_id, session_id : str
    age : float, optional
        Years.
    phenotype : mapping, optional
        Values of the columns that models read.

    Returns
    -------
    Case
    """

    def path(key: str, **entities: str) -> Path:
        return derivative_path(out_dir, key, participant_id, session_id, **entities)

    return Case(
        name=participant_id + (f"_{session_id}" if session_id else ""),
        file_of=lambda contract: path(contract.derivative, **contract.entities),
        sources={
            VOLUMES: lambda: read_volumes(path("volumes"), path("volumes_atlas")),
            PHENOTYPE: lambda: dict(phenotype or {}),
        },
        age=age,
    )
