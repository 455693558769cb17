"""One person twice: phantoms as ``--model-space T1w`` writes them, and the same scans through the whole app.

    python benchmarks/phantom_gap.py COHORT OUT WORK [--models FOLDER …] [--visits 40]

COHORT is a dataset of raw heads by brainage-phantom, OUT what ``brainage COHORT OUT participant`` made of it. Each first visit is
painted again from the recorded design: the same head, position, motion and noise. Printed are, for the input ``brain2affine``, the
correlation of both images in the brain and the affines' difference, and for each model what it says of both. Images lie in WORK, so
that another model is quick.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import fields
from pathlib import Path

import numpy as np

from brainage_bids.bids.names import derivative_path
from brainage_bids.bids.sink import sink_json
from brainage_bids.cli.console import print_table
from brainage_bids.imaging.transforms import read_forward
from brainage_bids.models import load_model
from brainage_bids.models.contract import check_image
from brainage_bids.models.inputs import INPUTS
from brainage_bids.models.preparation import prepare
from brainage_bids.phantoms.cohort import Cohort
from brainage_bids.phantoms.design import Design
from brainage_bids.phantoms.normalised import model_space
from brainage_bids.phantoms.people import Visit
from brainage_bids.stats.metrics import error_metrics

PLACE = INPUTS["brain2affine"]


def main() -> None:
    """Make what is missing and print both tables."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cohort", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--models", nargs="*", type=Path, default=[])
    parser.add_argument("--visits", type=int, default=40)
    options = parser.parse_args()
    torch.set_num_threads(1)
    record = json.loads((options.cohort / "derivatives" / "truth" / "design.json").read_text(encoding="utf-8"))
    design = Design(**{field.name: record[field.name] for field in fields(Design) if field.name in record})
    visits = [person.first for person in Cohort(design)][: options.visits]
    rows = [one_visit(visit, options.out, options.work) for visit in visits]
    print_images(rows)
    ages = np.array([visit.brain_age for visit in visits])
    print_table(
        [
            ("model", "way", "MAE", "bias", "r with the truth"),
            *(line for path in options.models for line in judged(path, visits, ages, options.work)),
        ]
    )


def one_visit(visit: Visit, out: Path, work: Path) -> dict[str, float]:
    """Images of a visit both ways, kept as a network sees them, and how they differ."""
    path = work / f"{visit.stem}.json"
    if not path.is_file():
        ids = (visit.participant_id, visit.session_id)
        app = check_image(PLACE.contract, derivative_path(out, "t1w_mni_affine", *ids), "this benchmark")
        affine = read_forward(derivative_path(out, "xfm_forward", *ids)).affine
        maps = model_space(visit, "T1w")
        pair = [prepare(image, PLACE.contract, PLACE.steps)[0] for image in (app, maps["T1w"])]
        inside = pair[0] != 0
        change = np.linalg.inv(maps["matrix"]) @ affine
        corners = np.array([[x, y, z, 1] for x in (-65, 65) for y in (-100, 70) for z in (-50, 75)], dtype=float)
        moved = np.linalg.norm((corners @ change.T - corners)[:, :3], axis=1)
        work.mkdir(parents=True, exist_ok=True)
        np.savez(path.with_suffix(".npz"), app=pair[0], straight=pair[1])
        found = {
            "r": float(np.corrcoef(pair[0][inside], pair[1][inside])[0, 1]),
            "volume": float(np.linalg.det(change[:3, :3])),
            "moved_mm": float(moved.mean()),
        }
        sink_json(found, path)
    return json.loads(path.read_text(encoding="utf-8"))


def print_images(rows: list[dict[str, float]]) -> None:
    """Mean, s.d. and range of every figure."""
    lines = [("of both ways", "mean", "s.d.", "least", "most")]
    for name, words in (("r", "correlation in the brain"), ("volume", "volume, app over straight"), ("moved_mm", "corners moved, mm")):
        values = np.array([row[name] for row in rows])
        lines.append((words, *(f"{value:.3f}" for value in (values.mean(), values.std(ddof=1), values.min(), values.max()))))
    print_table(lines)


def judged(path: Path, visits: list[Visit], ages: np.ndarray, work: Path) -> list[tuple[str, ...]]:
    """Errors of a model both ways, and the gap between the two."""
    import torch

    model, found = load_model(path), {"straight": [], "app": []}
    if model.steps != PLACE.steps:
        raise SystemExit(f"{path} looks at another input than brain2affine")
    for visit in visits:
        with np.load(work / f"{visit.stem}.npz") as images, torch.inference_mode():
            for way, values in found.items():
                age, _ = model.net.head.age(model.net(torch.from_numpy(images[way])[None, None]))
                values.append(float(age[0]))
    lines = []
    for way, values in found.items():
        metrics = error_metrics(ages, np.array(values))
        lines.append((path.name, way, f"{metrics.mae:.2f}", f"{np.mean(values) - ages.mean():+.2f}", f"{metrics.r:.3f}"))
    gap = np.array(found["app"]) - np.array(found["straight"])
    r = np.corrcoef(found["app"], found["straight"])[0, 1]
    lines.append(
        (
            path.name,
            "app − straight",
            f"{np.abs(gap).mean():.2f}",
            f"{gap.mean():+.2f} (s.d. {gap.std(ddof=1):.2f})",
            f"{r:.3f} with each other",
        )
    )
    return lines


if __name__ == "__main__":
    main()
