"""Weights that others trained as a model folder of ours."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from brainage_bids import __version__
from brainage_bids.files import WEIGHTS, read_bytes
from brainage_bids.models.age_heads import Bins
from brainage_bids.models.card import Ages, Errors, Measure, ModelCard, Training, check_name
from brainage_bids.models.foreign import mrinet_from_keras, read_keras, read_sfcn
from brainage_bids.models.inputs import NetInput, net_input, with_box
from brainage_bids.models.keras_plan import read_plan
from brainage_bids.models.needs import ImageNeed
from brainage_bids.models.network import NetworkModel, load_state, make_network
from brainage_bids.models.preparation import prepared_shape
from brainage_bids.models.registry import ModelFolder
from brainage_bids.models.weights import sha256_of_bytes
from brainage_bids.records import BadConfiguration
from brainage_bids.training.folder import About
from brainage_bids.training.network_folder import write_network

LEAK = 0.2
"""Slope of the ReLU of Hofmann 2022 (doi:10.1016/j.neuroimage.2022.119504) below zero, for files that do not say it."""


@dataclass(frozen=True)
class Origin:
    """What is known of the training of foreign weights.

    Attributes
    ----------
    datasets : str
    n : int
        People in training.
    ages : tuple of float
        Lowest and highest age.
    mae, mae_n : float or None, int
        Mean absolute error on people held out, years, and their number, as published.
    sd : float or None
        Root mean squared error on people held out, years; makes the interval.
    """

    datasets: str
    n: int
    ages: tuple[float, float]
    mae: float | None = None
    mae_n: int = 0
    sd: float | None = None

    def __post_init__(self) -> None:
        numbers = {"people in training": self.n, "error": self.mae, "people of the error": self.mae_n, "root mean squared error": self.sd}
        for what, value in numbers.items():
            least = "above zero" if what in ("people in training", "root mean squared error") else "of zero or more"
            if value is not None and not (math.isfinite(value) and value >= 0 and (value > 0 or least == "of zero or more")):
                raise BadConfiguration(f"The number for the {what} must be {least}, not {value}.")


def import_network(
    path: Path,
    out: Path,
    kind: str,
    about: About,
    origin: Origin,
    *,
    input_name: str | None = None,
    box: tuple[int, int, int] | None = None,
    leak: float | None = None,
    bins: Bins | None = None,
    overwrite: bool = False,
) -> ModelFolder:
    """Read a file of weights and write it as a model folder.

    Parameters
    ----------
    path : Path
        SFCN's state dict, or the Keras HDF5 of a `mrinet`.
    out : Path
        The folder to be.
    kind : {"sfcn", "mrinet"}
    about, origin
        What the card says.
    input_name : str, optional
        Of ``inputs.INPUTS``; the published one by default.
    box : three int, optional
        Voxels of the box, for the inputs that are a brain in one.
    leak : float, optional
        Slope below zero of a `mrinet`'s ReLU; by default what the file says, 0.2 if it holds weights alone.
    bins : Bins, optional
        Of `sfcn`; by default as many bins of one year from 42 on as the file has outputs.
    overwrite : bool

    Raises
    ------
    BadConfiguration
        If the file cannot be read, is of another network or grid, or the place is taken.
    """
    check_name(about.name)
    place = with_box(net_input(kind, input_name or ("sfcnukb" if kind == "sfcn" else None)), box)
    arrays, architecture = _read(path, kind, prepared_shape(place.contract.shape, place.steps), leak, bins)
    net, full = make_network(kind, [place.contract], place.steps, architecture)
    load_state(net, arrays)
    model = NetworkModel(kind, full, net.eval(), (place.contract,), place.steps, origin.sd)
    digest = sha256_of_bytes(read_bytes(path, WEIGHTS))
    limits = (*about.limits, *_limits(place, path, digest))
    return write_network(out, model, lambda files: _card(kind, place, about, origin, limits, files), overwrite=overwrite)


def _read(path: Path, kind: str, shape: tuple[int, ...], leak: float | None, bins: Bins | None) -> tuple[dict, dict[str, Any]]:
    if kind == "sfcn":
        arrays, count = read_sfcn(path)
        if count < 2:
            raise BadConfiguration(f"{path} has one output; SFCN with bins of age has more.")
        bins = bins or Bins(count=count)
        if bins.count != count:
            raise BadConfiguration(f"{path} has {count} outputs and not {bins.count} bins of age.")
        widths = [len(arrays[name]) for name in sorted(arrays) if name.startswith("convolutions.") and name.endswith(".0.bias")]
        return arrays, {"widths": widths, "bins": vars(bins)}
    if kind == "mrinet":
        leak = _leak(path, shape, leak)
        arrays, architecture = mrinet_from_keras(read_keras(path), shape)
        if architecture["channels"] != 1:
            raise BadConfiguration(f"{path} wants {architecture['channels']} images of one person; one is what can be imported.")
        return arrays, {"widths": architecture["widths"], "hidden": architecture["hidden"], "leak": leak}
    raise BadConfiguration(f"Weights of kind {kind!r} cannot be imported; sfcn and mrinet can.")


def _leak(path: Path, shape: tuple[int, ...], given: float | None) -> float:
    """The slope that the file says, else the one given; BadConfiguration if both differ or the file is made for another grid."""
    plan = read_plan(path)
    if plan is None:
        return LEAK if given is None else given
    if plan.shape not in (None, shape):
        theirs, ours = ("×".join(map(str, sizes)) for sizes in (plan.shape, shape))
        raise BadConfiguration(f"The network in {path} takes images of {theirs}; the input has {ours}: choose another --input.")
    if given is not None and not math.isclose(given, plan.leak, abs_tol=1e-6):
        raise BadConfiguration(f"The file {path} says that its ReLU has the slope {plan.leak:g} below zero, not {given:g}.")
    return plan.leak


def _limits(place: NetInput, path: Path, digest: str) -> list[str]:
    sentences = [
        f"The weights come from the file {path.name} (SHA-256 {digest}) and were not trained by this app.",
        "They were trained on images of another preprocessing; on those of this app the error may be larger, and a constant may be off.",
    ]
    if any(step.name in ("brain", "zscore") for step in place.steps):
        sentences.append("The brain is taken out by the template's mask, not by the person's.")
    return sentences


def _card(kind: str, place: NetInput, about: About, origin: Origin, limits: tuple[str, ...], files: Mapping[str, str]) -> ModelCard:
    measure = None if origin.mae is None else Measure(origin.mae)
    return ModelCard(
        name=about.name,
        kind=kind,
        version=about.version,
        created=about.created,
        needs=(ImageNeed(place.contract),),
        training=Training(
            datasets=(origin.datasets,),
            n=origin.n,
            sessions=origin.n,
            ages=Ages(*origin.ages),
            split="as published",
            seeds=(),
            device="not known",
            software=f"imported by brainage_bids {__version__}",
        ),
        errors=Errors(by="as published by its authors", n=origin.mae_n, mae=measure),
        files=files,
        licence=about.licence,
        citation=about.citation,
        limits=limits,
    )
