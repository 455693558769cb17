"""What a model of any kind can do."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from brainage_bids.models.case import Case
from brainage_bids.models.prediction import Prediction


class Model(Protocol):
    """A loaded model of any kind."""

    def predict(self, case: Case) -> Prediction:
        """Read what is needed from a case and answer.

        Raises
        ------
        UnusableInput
            If an input does not fulfil its need; `Withheld` if the session is none for this model.
        """
        ...


@runtime_checkable
class Movable(Protocol):
    """A model that can run elsewhere or in other arithmetic."""

    def running(self, device: str, precision: str) -> Model:
        """The same model there; BadConfiguration if there is no such device."""
        ...
