"""A model's card as ``model.toml``: reading with every field checked, and writing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from brainage_bids.files import CARD as CARD_LIMIT
from brainage_bids.files import parse_toml, read_utf8
from brainage_bids.models.card import Ages, Errors, GroupError, Measure, ModelCard, Training
from brainage_bids.models.image_contract import InputContract
from brainage_bids.models.needs import VOLUMES, Age, Image, ImageNeed, Map, ModelNeed, Need, Output, Table, TableNeed
from brainage_bids.models.usual_outputs import usual_outputs
from brainage_bids.records import BadConfiguration

CARD = "model.toml"
_MEASURES = ("mae", "rmse", "r", "r2", "bias_slope", "mae_guess")


def read_card(path: Path | str) -> ModelCard:
    """Read a card.

    Parameters
    ----------
    path : Path
        The ``model.toml``.

    Returns
    -------
    ModelCard

    Raises
    ------
    BadConfiguration
        If the file cannot be read, is no TOML, lacks a field, or a field has the wrong type or is not known.
    """
    path = Path(path)
    try:
        content = parse_toml(read_utf8(path, CARD_LIMIT))
    except OSError as error:
        raise BadConfiguration(f"The model card {path} cannot be read ({error.strerror}).") from error
    except ValueError as error:
        raise BadConfiguration(f"The model card {path} is no valid TOML: {error}.") from error
    try:
        return card_from_toml(content)
    except BadConfiguration as error:
        raise BadConfiguration(f"The model card {path} cannot be used: {error}") from error


def card_text(card: ModelCard) -> str:
    """Return the text of ``model.toml``."""
    import tomli_w

    return tomli_w.dumps(card_to_toml(card))


def card_to_toml(card: ModelCard) -> dict[str, Any]:
    """Return the content of ``model.toml``; what is not known is left out, as TOML has no word for it."""
    training = card.training
    ages = training.ages
    content: dict[str, Any] = {
        "licence": card.licence,
        "citation": card.citation,
        "limits": list(card.limits),
        "model": {"name": card.name, "kind": card.kind, "version": card.version, "created": card.created},
        "input": [_need_to_toml(need) for need in card.needs],
        "output": [_output_to_toml(output) for output in card.outputs],
        "training": {
            "datasets": list(training.datasets),
            "n": training.n,
            "sessions": training.sessions,
            "sites": list(training.sites),
            "split": training.split,
            "seeds": list(training.seeds),
            "device": training.device,
            "software": training.software,
            "sexes": dict(training.sexes),
            "groups": dict(training.groups),
            "ages": {
                "low": ages.low,
                "high": ages.high,
                **{name: getattr(ages, name) for name in ("mean", "sd") if getattr(ages, name) is not None},
                "edges": list(ages.edges),
                "counts": list(ages.counts),
            },
        },
        "errors": _errors_to_toml(card.errors),
        "files": dict(card.files),
    }
    if training.minutes is not None:
        content["training"]["minutes"] = training.minutes
    if card.further_errors:
        content["further_errors"] = [_errors_to_toml(errors) for errors in card.further_errors]
    return content


def _errors_to_toml(errors: Errors) -> dict[str, Any]:
    table: dict[str, Any] = {"by": errors.by, "n": errors.n, "level": errors.level, "permutations": errors.permutations}
    if errors.p_guess is not None:
        table["p_guess"] = errors.p_guess
    if errors.coverage is not None:
        table["coverage"] = errors.coverage
    table["coverage_level"] = errors.coverage_level
    for name in _MEASURES:
        measure = getattr(errors, name)
        if measure is not None:
            bounds = {side: getattr(measure, side) for side in ("low", "high") if getattr(measure, side) is not None}
            table[name] = {"value": measure.value, **bounds}
    if errors.groups:
        table["groups"] = [vars(group) for group in errors.groups]
    return table


def card_from_toml(content: Mapping[str, Any]) -> ModelCard:
    """Build a card from the content of ``model.toml``; see `read_card` for errors."""
    root = _Table("the card", content)
    model = root.table("model")
    needs = [_need_from_toml(_Table(f"[[input]] {index}", item)) for index, item in enumerate(root.take("input", list), 1)]
    if root.has("volumes"):  # cards of 0.1 had volumes in a table of their own
        needs.append(_volumes_from_toml(root.table("volumes")))
    kind = model.take("kind", str)
    further = root.take("further_errors", list) if root.has("further_errors") else []
    card = ModelCard(
        name=model.take("name", str),
        kind=kind,
        version=model.take("version", str),
        created=model.take("created", str),
        needs=tuple(needs),
        training=_training_from_toml(root.table("training")),
        errors=_errors_from_toml(root.table("errors")),
        files=root.mapping("files", str),
        licence=root.take("licence", str),
        citation=root.take("citation", str),
        limits=root.items("limits", str),
        outputs=_outputs(root, kind),
        further_errors=tuple(_errors_from_toml(_Table(f"[[further_errors]] {index}", item)) for index, item in enumerate(further, 1)),
    )
    model.end()
    root.end()
    return card


def _need_to_toml(need: Need) -> dict[str, Any]:
    if isinstance(need, TableNeed):
        return {"type": "table", "source": need.source, "columns": list(need.columns), "missing": need.missing}
    if isinstance(need, ModelNeed):
        return {"type": "model", **vars(need)}
    contract = need.contract
    return {
        "type": "image",
        "derivative": contract.derivative,
        "entities": dict(contract.entities),
        "modality": contract.modality,
        "space": contract.space,
        "alignment": contract.alignment,
        "voxel_mm": list(contract.voxel_mm),
        "shape": list(contract.shape),
        "affine": [list(row) for row in contract.affine],
        "intensity": contract.intensity,
        "crop": contract.crop,
        **({} if contract.stripped is None else {"stripped": contract.stripped}),
    }


def _need_from_toml(table: _Table) -> Need:
    kind = table.take("type", str) if table.has("type") else "image"
    readers = {"image": _image_from_toml, "table": _table_need_from_toml, "model": _model_need_from_toml}
    if kind not in readers:
        raise BadConfiguration(f"{table.where} is of type {kind!r}, which is none of {', '.join(readers)}.")
    need = readers[kind](table)
    table.end()
    return need


def _image_from_toml(table: _Table) -> ImageNeed:
    contract = InputContract(
        derivative=table.take("derivative", str),
        entities=table.mapping("entities", str),
        modality=table.take("modality", str),
        space=table.take("space", str),
        alignment=table.take("alignment", str),
        voxel_mm=table.items("voxel_mm", float),
        shape=table.items("shape", int),
        affine=tuple(_Table(table.where, {"affine": row}).items("affine", float) for row in table.take("affine", list)),
        intensity=table.take("intensity", str),
        crop=table.take("crop", str),
        stripped=table.take("stripped", bool) if table.has("stripped") else None,
    )
    return ImageNeed(contract)


def _table_need_from_toml(table: _Table) -> TableNeed:
    return TableNeed(table.take("source", str), table.items("columns", str), table.take("missing", str))


def _model_need_from_toml(table: _Table) -> ModelNeed:
    return ModelNeed(table.take("model", str), table.take("sha256", str), table.take("output", str))


def _volumes_from_toml(table: _Table) -> TableNeed:
    table.take("derivative", str), table.take("modality", str)
    need = TableNeed(VOLUMES, table.items("names", str))
    table.end()
    return need


def _output_to_toml(output: Output) -> dict[str, Any]:
    content = vars(output)
    if isinstance(output, Table):
        content = {**content, "columns": [{"name": name, **words} for name, words in output.columns.items()]}
    return {"type": type(output).__name__.lower(), **content}


def _outputs(root: _Table, kind: str) -> tuple[Output, ...]:
    """Outputs of a card; those of its kind where it does not list any."""
    if not root.has("output"):
        return usual_outputs(kind)
    return tuple(_output_from_toml(_Table(f"[[output]] {index}", item)) for index, item in enumerate(root.take("output", list), 1))


def _output_from_toml(table: _Table) -> Output:
    kind = table.take("type", str)
    fields: dict[type, dict[str, type]] = {
        Age: {},
        Map: dict.fromkeys(("key", "space", "resolution", "units", "suffix", "description"), str) | {"signed": bool},
        Table: {"key": str, "description": str},
        Image: dict.fromkeys(("modality", "space", "resolution"), str),
    }
    made = {record.__name__.lower(): record for record in fields}.get(kind)
    if made is None:
        raise BadConfiguration(f"{table.where} is of type {kind!r}, which is none of age, map, table, image.")
    values: dict[str, Any] = {name: table.take(name, wanted) for name, wanted in fields[made].items()}
    if made is Table:
        columns = [_Table(f"{table.where} columns", item) for item in table.take("columns", list)]
        values["columns"] = {column.take("name", str): column.rest(str) for column in columns}
        values["by_age"] = table.take("by_age", bool) if table.has("by_age") else False
    table.end()
    return made(**values)


def _group_from_toml(table: _Table) -> GroupError:
    names = {name: table.take(name, str) for name in ("by", "name")}
    group = GroupError(n=table.take("n", int), mae=table.take("mae", float), bias=table.take("bias", float), **names)
    table.end()
    return group


def _training_from_toml(table: _Table) -> Training:
    ages = table.table("ages")
    training = Training(
        datasets=table.items("datasets", str),
        n=table.take("n", int),
        sessions=table.take("sessions", int),
        ages=Ages(
            low=ages.take("low", float),
            high=ages.take("high", float),
            **{name: ages.take(name, float) for name in ("mean", "sd") if ages.has(name)},
            edges=ages.items("edges", float),
            counts=ages.items("counts", int),
        ),
        split=table.take("split", str),
        seeds=table.items("seeds", int),
        device=table.take("device", str),
        software=table.take("software", str),
        sites=table.items("sites", str),
        sexes=table.mapping("sexes", int),
        groups=table.mapping("groups", int),
        minutes=table.take("minutes", float) if table.has("minutes") else None,
    )
    ages.end()
    table.end()
    return training


def _errors_from_toml(table: _Table) -> Errors:
    measures = {}
    for name in _MEASURES:
        if table.has(name):
            part = table.table(name)
            bounds = {side: part.take(side, float) for side in ("low", "high") if part.has(side)}
            measures[name] = Measure(part.take("value", float), **bounds)
            part.end()
    optional = {name: table.take(name, float) for name in ("p_guess", "coverage") if table.has(name)}
    groups = table.take("groups", list) if table.has("groups") else []
    errors = Errors(
        by=table.take("by", str),
        n=table.take("n", int),
        level=table.take("level", float),
        permutations=table.take("permutations", int),
        coverage_level=table.take("coverage_level", float),
        groups=tuple(_group_from_toml(_Table(f"{table.where} groups {index}", item)) for index, item in enumerate(groups, 1)),
        **measures,
        **optional,
    )
    table.end()
    return errors


class _Table:
    """A table of the file whose fields are taken out one by one; what is left at the end is not known."""

    def __init__(self, where: str, content: Any) -> None:
        if not isinstance(content, Mapping):
            raise BadConfiguration(f"{where} must be a table.")
        self.where = where
        self._content = dict(content)

    def has(self, name: str) -> bool:
        return name in self._content

    def take(self, name: str, kind: type) -> Any:
        if name not in self._content:
            raise BadConfiguration(f"{self.where} lacks {name!r}.")
        return self._checked(name, self._content.pop(name), kind)

    def items(self, name: str, kind: type) -> tuple:
        return tuple(self._checked(name, item, kind) for item in self.take(name, list))

    def mapping(self, name: str, kind: type) -> dict[str, Any]:
        return {key: self._checked(f"{name}.{key}", item, kind) for key, item in self.take(name, dict).items()}

    def table(self, name: str) -> _Table:
        return _Table(f"[{name}]", self.take(name, dict))

    def rest(self, kind: type) -> dict[str, Any]:
        names = list(self._content)
        return {name: self.take(name, kind) for name in names}

    def end(self) -> None:
        if self._content:
            raise BadConfiguration(f"{self.where} has fields that are not known: {', '.join(sorted(self._content))}.")

    def _checked(self, name: str, value: Any, kind: type) -> Any:
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise BadConfiguration(f"{name!r} of {self.where} must be of type {kind.__name__}, not {type(value).__name__}.")
        if kind is float and not math.isfinite(value):
            raise BadConfiguration(f"{name!r} of {self.where} is not a finite number.")
        return value
