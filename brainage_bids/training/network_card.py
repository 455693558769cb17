"""The folder and the card of a network that was trained here."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from brainage_bids import __version__
from brainage_bids.models.card import Errors, ModelCard, Training
from brainage_bids.models.needs import ImageNeed
from brainage_bids.models.registry import ModelFolder
from brainage_bids.training.cache import Cache
from brainage_bids.training.folder import EXAMPLE_PEOPLE, About, describe_ages, measure
from brainage_bids.training.images import ImageTable
from brainage_bids.training.loop import history_text
from brainage_bids.training.network_folder import write_network
from brainage_bids.training.network_train import LEVEL, HeldOut, Setup, Trained

HISTORY_FILE = "history.tsv"


def write_trained(
    out: Path,
    trained: Trained,
    held_out: HeldOut,
    setup: Setup,
    table: ImageTable,
    cache: Cache,
    about: About,
    *,
    used: np.ndarray,
    seeds: tuple[int, ...],
    minutes: float,
    start: str = "",
    overwrite: bool = False,
) -> ModelFolder:
    """Write the model folder of a network with the card of its training.

    Parameters
    ----------
    out : Path
    trained, held_out, setup, table, cache
        As they come from ``network_train``.
    about : About
    used : ndarray of int
        Rows on which the network was trained or its epoch chosen.
    seeds : tuple of int
    minutes : float
        Of the whole run.
    start : str
        Name of the model it started from, empty for none.
    overwrite : bool

    Raises
    ------
    BadConfiguration
        If the place is taken.
    """
    rows = used.tolist()
    keys = [contract.key for contract in setup.inputs]
    means = [mean if (top := float(np.abs(mean).max())) < 6e4 else mean * (1000.0 / top) for mean in cache.mean_cells(rows)]
    # half precision ends at 65,504; a correlation sees no factor
    model = replace(
        trained.model,
        net=trained.model.net.to("cpu"),
        residual_sd=trained.validation_rmse,
        mean_cells=dict(zip(keys, means, strict=True)),
        similarity=dict(zip(keys, cache.similarity_limits(rows), strict=True)),
    )
    oldest = used[np.argsort(table.ages[used], kind="stable")][-max(1, min(EXAMPLE_PEOPLE, len(used) // 2)) :]
    part = table.keep(rows, {})
    kept = {HISTORY_FILE: history_text(trained.fitted.history).encode(), **about.kept}

    def make_card(files: Mapping[str, str]) -> ModelCard:
        return _card(setup, part, held_out, about, seeds, minutes, start, files)

    example = dict(zip(keys, cache.mean_cells(oldest.tolist()), strict=True))
    return write_network(out, model, make_card, example=example, kept=kept, overwrite=overwrite)


def describe_device(setup: Setup) -> str:
    """The device in words: its name, and how many processes if there were several.

    >>> from types import SimpleNamespace
    >>> describe_device(SimpleNamespace(device="cpu", team=SimpleNamespace(size=2)))
    'cpu, 2 processes'
    """
    name = setup.device
    if name.startswith("cuda"):
        import torch

        name = f"cuda ({torch.cuda.get_device_name(name)})"
    return name if setup.team.size == 1 else f"{name}, {setup.team.size} processes"


def _of_runs(errors: Sequence[float]) -> str:
    """Mean and standard deviation over runs or repeats, in words; nothing if there was one.

    >>> _of_runs([5.0, 6.0]), _of_runs([5.0])
    ('; mean absolute error of 2 runs 5.50 (0.71) years', '')
    """
    if len(errors) < 2:
        return ""
    return f"; mean absolute error of {len(errors)} runs {statistics.mean(errors):.2f} ({statistics.stdev(errors):.2f}) years"


def _card(setup: Setup, table: ImageTable, held_out: HeldOut, about: About, seeds, minutes: float, start: str, files) -> ModelCard:
    metrics = held_out.metrics
    measures = {name: measure(getattr(metrics, name), held_out.intervals[name]) for name in held_out.intervals}
    begun = f"started from the model {start}, frozen: {setup.freeze}; " if start else ""
    recipe = setup.recipe
    how = f"loss {recipe.loss}, {recipe.optimiser} {recipe.rate:g}, batches of {recipe.batch}"
    return ModelCard(
        name=about.name,
        kind=setup.kind,
        version=about.version,
        created=about.created,
        needs=tuple(map(ImageNeed, setup.inputs)),
        training=Training(
            datasets=table.datasets,
            n=table.n_people,
            sessions=len(table.ages),
            ages=describe_ages(table.ages),
            split=f"{begun}{held_out.by}{_of_runs(held_out.by_run)}; {how}",
            seeds=seeds,
            device=describe_device(setup),
            software=f"brainage_bids {__version__}",
            sites=tuple(table.people_by(table.sites)),
            sexes=table.people_by(table.sexes),
            groups=table.people_by(table.groups),
            minutes=round(minutes, 2),
        ),
        errors=Errors(
            by=held_out.by,
            n=metrics.n,
            p_guess=held_out.test.p,
            permutations=held_out.test.n_permutations,
            coverage=held_out.coverage,
            coverage_level=LEVEL,
            **measures,
        ),
        files=files,
        licence=about.licence,
        citation=about.citation,
        limits=about.limits,
    )
