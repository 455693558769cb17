"""How a model of kind volumes does on people it never saw, whose scans went through the app.

    python benchmarks/model_transfer.py OUT PARTICIPANTS_TSV [--model NAME_OR_FOLDER] [--beside NAME] [--people TSV]
        [--freesurfer TSV]

OUT is the output folder of ``brainage … participant``. Printed are errors of the model as it is, and after calibrating it on
half of the people, who are then not judged: halves are drawn again and again, and the sizes of each person's errors are
averaged over the draws in which they were judged (r is that of the averaged predictions). With a table that holds FreeSurfer's
volumes of some of these people, the mapped volumes are held against it. Nothing of this may be used to choose the model.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from brainage_bids.cli.console import print_table
from brainage_bids.models.card import ModelCard
from brainage_bids.models.registry import find_model
from brainage_bids.models.volumes import VolumeModel, log_shares, map_volumes
from brainage_bids.models.volumes_folder import load_volumes
from brainage_bids.stats.folds import participant_folds
from brainage_bids.stats.metrics import bootstrap_intervals, error_metrics
from brainage_bids.stats.permutation import sign_flip_test
from brainage_bids.training.volumes_calibrate import FEWEST, People, brain_ages, calibrate, read_people
from brainage_bids.training.volumes_table import read_volume_table

HALVES = 100


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out_dir", type=Path)
    parser.add_argument("phenotype", type=Path)
    parser.add_argument("--model", default="volumes", help="name or folder (default: %(default)s)")
    parser.add_argument("--beside", default="gpr36", help="model whose own errors are shown beside (default: %(default)s)")
    parser.add_argument("--people", type=Path, help="write each person's ages here")
    parser.add_argument("--freesurfer", type=Path, help="table with FreeSurfer's volumes of these people")
    options = parser.parse_args()
    model = load_volumes(find_model(options.model))
    people = read_people(options.out_dir, [options.phenotype])
    for person, reason in people.left_out:
        print(f"left out, {reason}: {person}")
    print(f"{len(people.ages)} people of {people.ages.min():.0f} to {people.ages.max():.0f} years (s.d. {people.ages.std(ddof=1):.1f})\n")
    show_shares(model, people)
    plain = brain_ages(model, people)
    if options.freesurfer:
        show_freesurfer(model, people, plain, options.freesurfer)
    show_errors(model, people, plain, find_model(options.beside).card)
    if options.people:
        lines = [f"{name}\t{age:g}\t{value:.2f}" for name, age, value in zip(people.participants, people.ages, plain, strict=True)]
        options.people.write_text("\n".join(["participant_id\tage\tbrain_age", *lines]) + "\n")


def show_shares(model: VolumeModel, people: People) -> None:
    """Where the people's shares lie in the norms of their ages, and how far beyond the training people they go."""
    raw = np.array([log_shares(map_volumes(volumes, model.model_structures), model.model_structures) for volumes in people.volumes])
    rows = [("structure", "median of ours / norm", "median percentile", "r with age", "outside training")]
    outside = (raw < model.low) | (raw > model.high)
    for column, structure in enumerate(model.used):
        curve = model.norms[structure.name]
        known = [row for row, age in enumerate(people.ages) if curve.at(age)]
        shares = 100 * np.exp(raw[known, column])
        ratio = np.median([share / curve.at(age)[1] for share, age in zip(shares, people.ages[known], strict=True)]) if known else np.nan
        place = np.median([curve.position(age, share) for share, age in zip(shares, people.ages[known], strict=True)]) if known else np.nan
        r = np.corrcoef(people.ages, raw[:, column])[0, 1]
        rows.append((structure.name, f"{ratio:.2f}", f"{place:.0f}", f"{r:+.2f}", str(outside[:, column].sum())))
    rows.append(("brain", "", "", f"{np.corrcoef(people.ages, raw[:, -1])[0, 1]:+.2f}", str(outside[:, -1].sum())))
    print_table(rows)
    print(f"people who are flagged: {outside.any(axis=1).sum()}\n")


def show_freesurfer(model: VolumeModel, people: People, plain: np.ndarray, path: Path) -> None:
    """Mapped volumes over FreeSurfer's, and the age from either, of the people who are in its table."""
    table = read_volume_table(path)
    rows = {name: row for row, name in enumerate(table.participants)}
    shared = [(row, rows[name]) for row, name in enumerate(people.participants) if name in rows]
    mapped = [map_volumes(people.volumes[row], model.model_structures) for row, _ in shared]
    ratios = [("structure", "mapped / FreeSurfer, each person")]
    for structure in model.model_structures:
        found = [own[structure.name] / table.volumes[other][structure.name] for own, (_, other) in zip(mapped, shared, strict=True)]
        ratios.append((structure.name, "  ".join(f"{value:.2f}" for value in found)))
    print_table(ratios)
    features = model.standardise(table.features(model.model_structures))
    theirs = model.regressor.predict(features)[0] + model.offset
    ages = [("participant", "age", "brain age", "from FreeSurfer's volumes")]
    for row, other in shared:
        ages.append((people.participants[row], f"{people.ages[row]:.1f}", f"{plain[row]:.1f}", f"{theirs[other]:.1f}"))
    print_table(ages)
    print()


def show_errors(model: VolumeModel, people: People, plain: np.ndarray, beside: ModelCard) -> None:
    """Errors as they are and after calibration on halves, and those of the guess and of another model."""
    rows = [("way", "MAE", "95 % interval", "r", "95 % interval", "bias", "slope of bias", "guess MAE", "p against guess")]
    guess = (people.ages.sum() - people.ages) / (len(people.ages) - 1)
    rows.append(("as it is", *_cells(people.ages, plain, np.abs(plain - people.ages), np.abs(guess - people.ages))))
    if len(people.ages) >= 2 * FEWEST:
        for way, found in calibrated(model, people).items():
            rows.append((way, *_cells(people.ages, *found)))
    print_table(rows)
    measures = beside.errors
    known = measures.mae is not None and measures.r is not None and measures.mae_guess is not None
    numbers = f"MAE {measures.mae.value:.2f}, r {measures.r.value:.2f}, guess {measures.mae_guess.value:.2f}" if known else "not known"
    print(f"\n{beside.name}, on its own people ({measures.by}): {numbers}")


def calibrated(model: VolumeModel, people: People) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Ways of calibrating on half → each person's mean prediction, error size and error size of the guess while judged."""
    count = len(people.ages)
    sums: dict[str, np.ndarray] = {}
    judged = np.zeros(count)
    for draw in range(HALVES):
        half = participant_folds(people.participants, 2, seed=(1, draw), ages=people.ages)
        fit, test = (np.flatnonzero(half == side) for side in (0, 1))
        controls, others = people.rows(fit), people.rows(test)
        slope, offset = np.polyfit(brain_ages(model, controls), controls.ages, 1)
        found = {
            "offset on half": brain_ages(calibrate(model, controls)[0], others),
            "slope and offset on half": slope * brain_ages(model, others) + offset,
            "scales on half": brain_ages(calibrate(model, controls, scales=True, offset=False)[0], others),
            "scales and offset on half": brain_ages(calibrate(model, controls, scales=True)[0], others),
        }
        for way, values in found.items():
            sizes = np.abs(values - others.ages), np.abs(controls.ages.mean() - others.ages)
            sums.setdefault(way, np.zeros((3, count)))[:, test] += [values, *sizes]
        judged[test] += 1
    return {way: tuple(total / judged) for way, total in sums.items()}


def _cells(ages: np.ndarray, predictions: np.ndarray, sizes: np.ndarray, guess_sizes: np.ndarray) -> tuple[str, ...]:
    metrics, intervals = error_metrics(ages, predictions), bootstrap_intervals(ages, predictions)
    low, high = bootstrap_intervals(np.zeros_like(sizes), sizes)["mae"]
    test = sign_flip_test(sizes, guess_sizes)
    return (
        f"{sizes.mean():.2f}", f"{low:.2f} to {high:.2f}", f"{metrics.r:.2f}", f"{intervals['r'][0]:.2f} to {intervals['r'][1]:.2f}",
        f"{(predictions - ages).mean():+.2f}", f"{metrics.bias_slope:.2f}", f"{guess_sizes.mean():.2f}", f"{test.p:.3f}",
    )  # fmt: skip


if __name__ == "__main__":
    main()
