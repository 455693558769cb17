"""``brainage-phantom``: a BIDS dataset of simulated people whose ageing is known."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from brainage_bids import __version__
from brainage_bids.cli.console import Progress, run_script
from brainage_bids.cli.parser import Parser
from brainage_bids.phantoms.design import MODALITIES, USUAL

PROGRAM = "brainage-phantom"
PEOPLE = {"head": 40, "torus": 2000}
AGES = {"head": (20.0, 85.0), "torus": (20.0, 80.0)}
HEADS_ONLY = (
    "modalities", "resolution", "sites", "scanners_per_site", "sessions", "years_between", "change_scanner", "patients", "gap_sd",
    "patient_gap", "blood", "missing", "anatomies", "tables_only", "model_space", "stripped",
)  # fmt: skip
"""Options that mean nothing for rings."""


def main(argv: list[str] | None = None) -> int:
    """Run the script and return its exit code (0, 1, 64, 65, 70 or 78; 130 when interrupted)."""
    parser = build_parser()
    options = parser.parse_args(argv)
    if options.kind == "torus":
        given = [name for name in HEADS_ONLY if getattr(options, name) != parser.get_default(name)]
        if given:
            parser.error(f"--{given[0].replace('_', '-')} means nothing for rings (--kind torus)")
    return run_script(PROGRAM, lambda: make(options))


def build_parser() -> Parser:
    """The parser of the script."""
    parser = Parser(
        prog=PROGRAM,
        description="Write a BIDS dataset of simulated people whose brain age, volumes, lesions and blood are known.",
        epilog="The same command goes on where it was interrupted. Exit codes: 0 done, 64 usage, 65 it could not be finished, "
        "70 internal error, 78 bad configuration.",
    )
    parser.add_argument("out", metavar="OUT", type=Path, help="a new or empty folder")
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    _add_people(parser.add_argument_group("who"))
    _add_scans(parser.add_argument_group("what is scanned"))
    _add_run(parser.add_argument_group("how it is made"))
    return parser


def _add_people(group) -> None:
    group.add_argument("--participants", type=int, metavar="N", help="people, patients among them (default: 40; rings: 2000)")
    group.add_argument("--ages", type=float, nargs=2, metavar=("LOW", "HIGH"),
                       help="years at the first visit, evenly drawn (default: 20 85; rings: 20 80)")  # fmt: skip
    group.add_argument("--patients", type=int, default=0, metavar="N",
                       help="how many have the Alzheimer pattern and a larger gap (default: %(default)s)")  # fmt: skip
    group.add_argument("--gap-sd", type=float, default=4.0, metavar="YEARS",
                       help="standard deviation of the latent gap of controls (default: %(default)g)")  # fmt: skip
    group.add_argument(
        "--patient-gap", type=float, default=6.0, metavar="YEARS", help="added to the gap of patients (default: %(default)g)"
    )
    group.add_argument("--blood", action=argparse.BooleanOptionalAction, default=True,
                       help="fourteen parameters of blood at each visit, in phenotype/blood.tsv (default: yes)")  # fmt: skip
    group.add_argument(
        "--missing", type=float, default=0.03, metavar="SHARE", help="share of blood values that are missing (default: %(default)g)"
    )


def _add_scans(group) -> None:
    group.add_argument("--modalities", nargs="+", choices=MODALITIES, default=list(USUAL), help=f"default: {' '.join(USUAL)}")
    group.add_argument("--resolution", type=float, default=1.0, metavar="MM", help="edge of a voxel (default: %(default)g)")
    group.add_argument("--sites", type=int, default=1, metavar="N", help="default: %(default)s")
    group.add_argument("--scanners-per-site", type=int, default=1, metavar="N",
                       help="scanners differ in field, noise, bias, gain, protocol and slices (default: %(default)s)")  # fmt: skip
    group.add_argument("--sessions", type=int, default=1, metavar="N", help="visits of each person (default: %(default)s)")
    group.add_argument("--years-between", type=float, nargs="+", default=[0.0], metavar="YEARS",
                       help="from a visit to the next: one for all or one for each step; 0 is a retest (default: 0)")  # fmt: skip
    group.add_argument("--change-scanner", action="store_true", help="each visit on the next scanner instead of the same")
    group.add_argument("--anatomies", type=Path, metavar="DIR", help="whole-head label maps to grow heads from, instead of the atlas")


def _add_run(group) -> None:
    group.add_argument(
        "--kind", choices=tuple(PEOPLE), default="head", help="heads, or ageing rings of 98x98 pixels (default: %(default)s)"
    )
    group.add_argument("--tables-only", action="store_true", help="tables, truth, blood and simulated outputs of the app, no images")
    group.add_argument("--model-space", choices=("tissues", "T1w"),
                       help="tissue maps (1.5 mm) or affinely registered T1w (1 mm) where models look for them; no raw images")  # fmt: skip
    group.add_argument("--stripped", type=float, default=0.0, metavar="SHARE",
                       help="share of people whose brain is cut out of that T1w (default: %(default)g)")  # fmt: skip
    group.add_argument("--seed", type=int, default=1, metavar="N", help="the same seed gives the same bytes (default: %(default)s)")
    group.add_argument("--jobs", type=int, default=2, metavar="N", help="processes at once (default: %(default)s)")


def make(options: argparse.Namespace) -> int:
    """Write what the options ask for."""
    design = design_of(options)
    out = options.out.absolute()
    if design.kind == "torus":
        from brainage_bids.phantoms.torus import make_tori

        made = make_tori(out, design, Progress("rings"))
    else:
        from brainage_bids.phantoms.run import make_cohort

        words = "people" if design.tables_only else "visits"
        made = make_cohort(out, design, anatomies=options.anatomies, jobs=options.jobs, progress=Progress(words))
    print(f"{made} made, all there: {out}")
    return 0


def design_of(options: argparse.Namespace):
    """The design of the cohort that the options ask for.

    Raises
    ------
    BadConfiguration
        If something of that cannot be.
    """
    from brainage_bids.phantoms.design import Design
    from brainage_bids.records import BadConfiguration

    if options.jobs < 1:
        raise BadConfiguration(f"--jobs is {options.jobs}; give 1 or more.")
    anatomies = ""
    if options.anatomies:
        from brainage_bids.phantoms.run import fingerprint_of

        anatomies = fingerprint_of(options.anatomies)
    return Design(
        participants=PEOPLE[options.kind] if options.participants is None else options.participants,
        ages=tuple(options.ages or AGES[options.kind]),
        modalities=tuple(options.modalities),
        resolution=options.resolution,
        sites=options.sites,
        scanners_per_site=options.scanners_per_site,
        sessions=options.sessions,
        years_between=tuple(options.years_between),
        change_scanner=options.change_scanner,
        patients=options.patients,
        gap_sd=options.gap_sd,
        patient_gap=options.patient_gap,
        blood=options.blood,
        missing=options.missing,
        seed=options.seed,
        kind=options.kind,
        tables_only=options.tables_only,
        model_space=options.model_space or "",
        stripped=options.stripped,
        anatomies=anatomies,
    )


if __name__ == "__main__":
    sys.exit(main())
