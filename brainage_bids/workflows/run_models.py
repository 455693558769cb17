"""The models of a run: found, and checked before the first scan is read."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from brainage_bids.records import BadConfiguration
from brainage_bids.settings import Settings

if TYPE_CHECKING:
    from brainage_bids.models.registry import ModelFolder


def all_models(settings: Settings) -> list[ModelFolder]:
    """The models of a run and those that they need, each once."""
    from brainage_bids.models.order import ask
    from brainage_bids.models.registry import DEFAULT_MODEL, find_model

    folders = [find_model(name, settings.model_dirs) for name in settings.models or (DEFAULT_MODEL,)]
    everyone = [one for folder in folders for one in ask(folder, settings.model_dirs).everyone()]
    return list({one.key: one.folder for one in everyone}.values())


def phenotype_columns(settings: Settings) -> tuple[str, ...]:
    """Columns of the phenotype tables that models of the run read."""
    from brainage_bids.models.needs import PHENOTYPE

    tables = [need for folder in all_models(settings) for need in folder.card.tables if need.source == PHENOTYPE]
    return tuple(dict.fromkeys(name for need in tables for name in need.columns))


def with_models(settings: Settings) -> Settings:
    """Settings that name the models they use, each of which was opened and checked, as was the device that they ask for.

    Raises
    ------
    BadConfiguration
        If one is not there, is damaged, or cannot be used by this app; if there is no such device.
    """
    from brainage_bids.models.kinds import kind_of
    from brainage_bids.models.registry import DEFAULT_MODEL, find_model
    from brainage_bids.workflows.predict import model_inputs

    folders = [find_model(name, settings.model_dirs) for name in settings.models or (DEFAULT_MODEL,)]
    everyone = all_models(settings)
    for folder in everyone:
        if not folder.card.outputs:
            advice = "if it names structures, train a network of ages from it by brainage-train --init"
            raise BadConfiguration(f"The model {folder.card.name} gives no age and nothing else that this app writes; {advice}.")
        missing = [contract.key for contract in folder.card.contracts if contract.key not in model_inputs()]
        if missing:
            raise BadConfiguration(f"The model {folder.card.name} needs {', '.join(missing)}, which this app does not make.")
        for file in folder.card.files:
            folder.read(file)
    if settings.device not in ("auto", "cpu") and any(kind_of(folder).needs_torch for folder in everyone):
        from brainage_bids.models.network import usable_device

        usable_device(settings.device)
    return replace(settings, models=tuple(str(folder.path) for folder in folders))
