"""Every modality that is declared has all that belongs to it, and is declared nowhere else."""

from __future__ import annotations

import ast
import re
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import yaml

import brainage_bids
from brainage_bids.bids.layout import check_filters
from brainage_bids.bids.names import derivative_path, find_derivatives, io_spec
from brainage_bids.bids.query import collect
from brainage_bids.bids.sidecars import image_sidecar
from brainage_bids.imaging.packing import TOP, scale_factor
from brainage_bids.imaging.quality_other import assess_other, limits_of
from brainage_bids.modalities import COREGISTERED, MODALITIES, SYNTHESISED, Modality, by_words
from brainage_bids.models.inputs import INPUTS
from brainage_bids.phantoms.contrast import EQUATIONS, signal, tissue_at
from brainage_bids.phantoms.design import Design
from brainage_bids.phantoms.scanners import make_scanners
from brainage_bids.phantoms.simulated import SINGLE
from brainage_bids.records import FLAGS
from brainage_bids.reports.assembly import each_modality
from brainage_bids.reports.boilerplate import write_methods
from brainage_bids.workflows.secondary import STAGES

ROOT = Path(__file__).parents[1]
ROWS = pytest.mark.parametrize("row", MODALITIES.values(), ids=list(MODALITIES))
BESIDE = pytest.mark.parametrize("row", [MODALITIES[suffix] for suffix in COREGISTERED], ids=COREGISTERED)
OTHER_STEPS = ("other_rigid", "other_bias", "other_spaces", "other_arrays")


def documented() -> dict[str, list[str]]:
    """Cells of the table of docs/modalities.md, by the words for a modality."""
    lines = (ROOT / "docs" / "modalities.md").read_text(encoding="utf-8").splitlines()
    start = lines.index(next(line for line in lines if line.startswith("| modality | outputs |")))
    rows = {}
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        name, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        rows[name] = cells
    return rows


def bounds(row: Modality) -> str:
    if row.fluid is None:
        return ""
    return " ".join(
        f"{words} {value:g}" for words, value in (("at least", row.fluid.low), ("at most", row.fluid.high)) if value is not None
    )


def test_the_table_holds_together():
    rows = MODALITIES.values()
    assert next(iter(MODALITIES)) == "T1w" and [row.suffix for row in rows if not row.registered] == ["T1w"]
    for values in ([row.key for row in rows], [row.words for row in rows], [row.simulated.number for row in rows]):
        assert len(set(values)) == len(values)
    assert {row.simulated.equation for row in rows} == set(EQUATIONS)
    assert set(SYNTHESISED).isdisjoint(MODALITIES)


def test_each_is_documented_as_it_is():
    assert set(documented()) == set(by_words())
    for words, row in by_words().items():
        files = ", ".join(f"`{suffix}`" for suffix in row.query["suffix"])
        flag = f"`{row.fluid.flag}`" if row.fluid else ""
        expected = [f"`{row.suffix}`", files, f"`{row.key}`", f"{row.scale} {row.white:g}", bounds(row), flag]
        assert documented()[words] == expected


@ROWS
def test_the_inputs_of_each_are_there_and_documented(row):
    name = row.key if row.registered else ""
    text = (ROOT / "docs" / "networks.md").read_text(encoding="utf-8")
    for kind, alignment in (("packed1", "rigid" if row.registered else "none"), ("packed2", "nonlinear")):
        contract = INPUTS[kind + name].contract
        assert (contract.modality, contract.alignment, dict(contract.entities)) == (row.suffix, alignment, {"image": row.suffix})
        assert f"`{kind}{name}`" in text
    assert [step.name for step in INPUTS[f"packed2{name}cortex"].steps] == ["scale", "part"]


@pytest.mark.parametrize(
    ("row", "suffix", "acquisition"),
    [(row, suffix, source.acquisition) for row in MODALITIES.values() for source in row.sources for suffix in source.suffixes],
)
def test_each_kind_of_raw_file_is_found_and_can_be_filtered(tmp_path, row, suffix, acquisition):
    name = f"sub-1_acq-{acquisition}x_{suffix}.nii.gz" if acquisition else f"sub-1_{suffix}.nii.gz"
    (tmp_path / "sub-1" / "anat").mkdir(parents=True)
    for path in ("dataset_description.json", "sub-1/anat/sub-1_T1w.nii.gz", f"sub-1/anat/{name}"):
        (tmp_path / path).write_text('{"Name": "x", "BIDSVersion": "1.8.0"}' if path.endswith(".json") else "")
    (session,) = collect(tmp_path).participants[0].sessions
    assert session.scans[row.suffix].path.name == name and session.scans[row.suffix].modality == row.suffix
    assert check_filters({row.key: {"run": 1}}) == {row.suffix: {"run": 1}}
    if row.registered:
        (session,) = collect(tmp_path, bids_filters={row.key: {"acquisition": "none"}}).participants[0].sessions
        assert set(session.scans) == {"T1w"}


def test_phase_images_and_contrast_agents_follow_the_rule_in_a_t2w(tmp_path):
    (tmp_path / "sub-1" / "anat").mkdir(parents=True)
    for name in ("T1w", "part-phase_T2w", "ce-gd_T2w", "acq-tse_T2w"):
        (tmp_path / "sub-1" / "anat" / f"sub-1_{name}.nii.gz").write_text("")
    inventory = collect(tmp_path)
    assert inventory.participants[0].sessions[0].scans["T2w"].path.name == "sub-1_acq-tse_T2w.nii.gz"
    assert [item.reason for item in inventory.skipped if item.file.name == "sub-1_part-phase_T2w.nii.gz"] == [
        "it is no magnitude image (part-phase)"
    ]


@BESIDE
def test_its_files_have_names_sidecars_and_a_stage(tmp_path, row):
    suffix = row.suffix
    keys = {"other_xfm": "modality", "other_preproc": "modality", "other_mni": "modality", "packed": "image", "packed_mni": "image"}
    for key, entity in keys.items():
        path = derivative_path(tmp_path, key, "sub-1", **{entity: suffix})
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        assert [found.path for found in find_derivatives(tmp_path, key, **{entity: suffix})] == [path]
        about = image_sidecar(key, "sub-1", sources=[], skull_stripped=True, **{entity: suffix})
        assert suffix in about["Description"] and "{" not in about["Description"]
        assert about.get("SkullStripped", key == "other_xfm") is True
        assert entity == "modality" or f"white matter is {row.white:g}, " in about["Description"]
    (stage,) = [stage for stage in STAGES if stage.name == suffix]
    assert stage.needs == (f"scan:{suffix}", "structure")
    assert (f"*_{suffix}.*" in io_spec()["bidsignore"]) == (not row.in_bids)


@BESIDE
def test_its_quality_is_judged(row):
    limits = {limit.metric: limit for limit in limits_of(row.suffix)}
    assert {limit.flag for limit in limits.values()} <= set(FLAGS) and all(limit.reason for limit in limits.values())
    assert f"white matter is {row.white:g}," in limits["clipped_share"].description
    assert ("fluid_ratio" in limits) == (row.fluid is not None)
    if row.fluid is None:
        return
    assert FLAGS[row.fluid.flag] == row.fluid.meaning
    fine = {metric: 1.0 for metric in limits} | {"fluid_ratio": _fluid(row, 3.0)}
    wrong = fine | {"fluid_ratio": row.fluid.low - 0.01 if row.fluid.high is None else row.fluid.high + 0.01}
    judged = [{line["metric"]: line["flag"] for line in assess_other(values, row.suffix, False)} for values in (fine, wrong)]
    assert [flags["fluid_ratio"] for flags in judged] == ["n/a", row.fluid.flag]


@BESIDE
def test_it_has_a_section_and_methods(row):
    spec = yaml.safe_load((resources.files("brainage_bids") / "data" / "report" / "spec.yml").read_text(encoding="utf-8"))
    (results,) = [each_modality(section["reportlets"]) for section in spec["sections"] if section["name"] == "Results"]
    found = {one["bids"]["desc"]: one for one in results}
    assert [found[row.key + ending]["subtitle"] for ending in ("", "picture", "quality")] == [
        row.words, f"{row.words}: alignment to the T1w", f"{row.words}: quality",
    ]  # fmt: skip
    assert f"the brain of the {row.words}:" in found[f"{row.key}picture"]["description"]
    text = write_methods(OTHER_STEPS, others=[row.suffix]).markdown
    assert f"{row.words} images were registered" in text and f"the {row.scale} of white matter was set to {row.white:g}." in text
    assert not any(f"{MODALITIES[other].words} " in text for other in COREGISTERED if other != row.suffix)


def test_methods_of_several_name_each_scale():
    text = write_methods(OTHER_STEPS, others=["FLAIR", "swi"]).markdown
    assert "FLAIR and SWI images were registered" in text and "the median of white matter was set to 110." in text
    text = write_methods(OTHER_STEPS).markdown
    assert "FLAIR, SWI and T2w images were registered" in text
    assert "the median of white matter was set to 110 (FLAIR and SWI); the median of white matter was set to 55 (T2w)." in text


def _fluid(row: Modality, field_t: float) -> float:
    """Fluid over white matter in a phantom without noise."""
    (scanner,) = [one for one in make_scanners(Design(sites=2, modalities=(row.words,))) if one.field_t == field_t]
    fluid, white = (signal(row.words, tissue_at(name, field_t), scanner.sequences[row.words], field_t) for name in ("fluid", "white"))
    return fluid / white


@ROWS
@pytest.mark.parametrize("field_t", [1.5, 3.0])
def test_phantoms_have_it_within_its_limits_and_unclipped(row, field_t):
    ratio = _fluid(row, field_t)
    low, high = (row.fluid.low, row.fluid.high) if row.fluid else (None, None)
    assert (low is None or ratio > low) and (high is None or ratio < high)
    assert ratio * row.white < TOP
    assert row.words in SINGLE and SINGLE[row.words].name == f"sim{row.key}"


@pytest.mark.parametrize(("suffix", "level"), [("T1w", 110.0), ("FLAIR", 110.0), ("swi", 110.0), ("T2w", 55.0)])
def test_white_matter_comes_to_its_level(suffix, level):
    white = np.random.default_rng(0).normal(220.0, 2.0, 20_000)
    assert scale_factor(white, suffix) * 220.0 == pytest.approx(level, rel=0.01)


def test_a_cohort_has_the_usual_three_and_t2w_where_it_is_asked_for():
    assert Design().modalities == ("T1w", "FLAIR", "SWI")
    assert Design(modalities=("T2w", "T1w")).modalities == ("T1w", "T2w")


def test_no_other_file_names_a_modality_beside_the_t1w():
    names = {text for suffix in COREGISTERED for text in (suffix, MODALITIES[suffix].words, MODALITIES[suffix].key)}
    whole_word = re.compile(rf"(?<![A-Za-z])({'|'.join(sorted(names))})(?![A-Za-z])")
    package = Path(brainage_bids.__file__).parent
    found = []
    for path in sorted(package.rglob("*.py")):
        if path == package / "modalities.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and (node.value in names):
                found.append(f"{path.relative_to(package)}:{node.lineno}: {node.value}")
    for path in (package / "data" / "io_spec.json", package / "data" / "sidecars.json", package / "data" / "report" / "spec.yml"):
        found += [f"{path.name}: {match[0]}" for match in whole_word.finditer(path.read_text(encoding="utf-8"))]
    assert found == []
