"""Figures of docs/phantoms.md: one head at 25, 50 and 75 years in three contrasts; true volumes of people against the norms."""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from brainage_bids.phantoms import ageing
from brainage_bids.phantoms.design import Design
from brainage_bids.phantoms.people import Scanner, Visit
from brainage_bids.phantoms.render import render
from brainage_bids.phantoms.scanners import make_scanners

MODALITIES = ("T1w", "FLAIR", "SWI")
AGES = (25.0, 50.0, 75.0)
BRIGHTEST = {"T1w": 1.45, "FLAIR": 2.0, "SWI": 1.3}
"""Upper end of the grey scale, white matter being 1."""
NAMES = {"cortical_grey": "cortical grey matter", "white": "cerebral white matter", "ventricles": "lateral ventricles"}


def someone(age: float, sex: str, number: int, scanner: Scanner, standing: dict[str, float] | None = None) -> Visit:
    """A control without a gap."""
    return Visit(f"sub-{number:03d}", None, age, 0.0, sex, "control", 0.0, scanner, 100 + number, 200 + number, standing or {})


def heads(path: Path, resolution: float, seed: int) -> None:
    """Axial and coronal planes of one woman's head, a row a contrast."""
    scanner = make_scanners(Design(resolution=resolution))[0]
    fig, axes = plt.subplots(3, 6, figsize=(11, 6.2), facecolor="black", gridspec_kw={"wspace": 0.02, "hspace": 0.02})
    for column, age in enumerate(AGES):
        rendering = render(someone(age, "F", seed, scanner), MODALITIES)
        for row, name in enumerate(MODALITIES):
            image, affine = rendering.images[name]
            place = np.rint((np.array([0.0, -14.0, 16.0]) - affine[:3, 3]) / np.diag(affine)[:3]).astype(int)
            white = rendering.effects["intensity_of_white_matter"][name]
            for view, plane in enumerate((image[:, :, place[2]], image[:, place[1]])):
                at = axes[row, 2 * column + view]
                at.imshow(plane.T, origin="lower", cmap="gray", vmin=0, vmax=BRIGHTEST[name] * white, interpolation="bilinear")
                at.axis("off")
        axes[0, 2 * column].set_title(f"{age:.0f} years", color="white", loc="left", fontsize=10)
    for row, name in enumerate(MODALITIES):
        axes[row, 0].text(3, 3, name, color="white", fontsize=9)
    fig.subplots_adjust(0.005, 0.005, 0.995, 0.95)
    fig.savefig(path, dpi=72, facecolor="black")
    plt.close(fig)


def volumes(path: Path, count: int, resolution: float) -> None:
    """Volumes counted in rendered heads over brain age, on the published medians and 5-95 % bands."""
    scanner = make_scanners(Design(resolution=resolution, modalities=("T1w",)))[0]
    rng = np.random.default_rng(7)
    found = []
    for number in range(count):
        sex, age = "FM"[number % 2], 20 + 65 * ((number * 0.618) % 1)
        standing = {law: float(rng.standard_normal()) for law in ageing.LAWS}
        found.append((sex, age, render(someone(age, sex, number, scanner, standing), ("T1w",)).volumes))
    fig, axes = plt.subplots(2, 3, figsize=(10.5, 5.6), sharex=True, layout="constrained")
    for row, sex in enumerate("FM"):
        for at, (name, words) in zip(axes[row], NAMES.items()):
            middle, low, high = np.array(ageing.NORMS[name][sex]).T
            at.fill_between(ageing.NORM_AGES, low, high, color="0.88", lw=0)
            at.plot(ageing.NORM_AGES, middle, "o--", color="0.45", ms=4)
            ages = np.linspace(20, 90, 71)
            at.plot(ages, [ageing.median(name, sex, age) for age in ages], color="C0", lw=1)
            at.plot(*zip(*[(age, volume[name]) for s, age, volume in found if s == sex]), "o", color="C3", ms=3.5)
            at.set_title(f"{words}, {'women' if sex == 'F' else 'men'}", fontsize=9)
            at.set_ylabel("mL", fontsize=8)
    for at in axes[1]:
        at.set_xlabel("brain age, years", fontsize=8)
    fig.savefig(path, dpi=80)
    plt.close(fig)


def main() -> None:
    """Write both figures into a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--people", type=int, default=40)
    parser.add_argument("--resolution", type=float, default=1.0)
    options = parser.parse_args()
    heads(options.folder / "phantom_heads.png", options.resolution, 3)
    volumes(options.folder / "phantom_volumes.png", options.people, 4.0)


if __name__ == "__main__":
    main()
