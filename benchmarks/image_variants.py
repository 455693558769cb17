"""Variants of one scan (turned grids, odd headers, lost slices…) beside the clean one: volumes in %, age, flags.

python benchmarks/image_variants.py OUT [--clean sub-clean] [--years .5] [--percent 2]

OUT is a folder that ``brainage … participant`` wrote of a dataset whose participants are variants of one head. A variant is right
where its age and its volumes are the clean scan's within the limits, or where it has a flag. Ends with 1 if one is neither.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

TISSUES = ("GM", "WM", "CSF", "brain", "eTIV")


def main() -> int:
    """Print the table of a folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--clean", default="sub-clean", help="participant that the others are compared with (default %(default)s)")
    parser.add_argument("--years", type=float, default=0.5)
    parser.add_argument("--percent", type=float, default=2.0)
    args = parser.parse_args()
    clean, wrong = read(args.out / args.clean), 0
    print("| variant | " + " | ".join(f"{name}, %" for name in TISSUES) + " | age, years | further flags | verdict |")
    print("|" + "---|" * (len(TISSUES) + 4))
    print(
        f"| {args.clean} | "
        + " | ".join(f"{clean[name]:.0f} mL" for name in TISSUES)
        + f" | {clean['age']:.2f} | {_list(clean['flags'])} | |"
    )
    for folder in sorted(path for path in args.out.glob("sub-*") if path.is_dir() and path.name != args.clean):
        found = read(folder)
        percent = {name: 100 * (found[name] / clean[name] - 1) for name in TISSUES if name in found}
        years = found["age"] - clean["age"] if found["age"] is not None else None
        same = len(percent) == len(TISSUES) and years is not None and abs(years) <= args.years
        same = same and max(map(abs, percent.values())) <= args.percent
        flags = found["flags"] - clean["flags"]
        verdict = "same" if same else "flagged" if flags else "flagged as the clean one" if found["flags"] else "**neither**"
        wrong += verdict == "**neither**"
        cells = [f"{percent[name]:+.1f}" if name in percent else "n/a" for name in TISSUES]
        cells += ["n/a" if years is None else f"{years:+.2f}", _list(flags), verdict]
        print(f"| {folder.name} | " + " | ".join(cells) + " |")
    return int(wrong > 0)


def read(folder: Path) -> dict:
    """Volumes in mL, age of the first model (None without one) and all flags of a participant."""
    found: dict = {"age": None, "flags": set()}
    for path in sorted(folder.rglob("*_desc-volumes_morph.tsv")):
        row = _rows(path)[0]
        if "GM" in row:
            found |= {name: float(row[name]) / 1000 for name in TISSUES}
    for path in sorted(folder.rglob("*_brainage.tsv")):
        for row in _rows(path):
            if "brain_age" not in row:
                continue
            if found["age"] is None and row["brain_age"] != "n/a":
                found["age"] = float(row["brain_age"])
            found["flags"] |= set(row["flags"].split(";")) - {"n/a"}
    return found


def _rows(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def _list(flags: set[str]) -> str:
    return ", ".join(sorted(flags)) or "–"


if __name__ == "__main__":
    raise SystemExit(main())
