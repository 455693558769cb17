"""The command line of ``brainage``: options named as in fMRIPrep and MRIQC, with dashes or underscores."""

from __future__ import annotations

import argparse
from pathlib import Path

from brainage_bids import __version__
from brainage_bids.modalities import MODALITIES
from brainage_bids.settings import ALTERNATIVES, BIAS_CORRECTIONS, HARMONISE, MEDIATION_OUTCOMES, PERMUTATIONS, SLOW_STEPS

USAGE = 64


class Parser(argparse.ArgumentParser):
    """A parser that ends with 64 on wrong usage and takes ``--long_option`` for ``--long-option``."""

    def error(self, message: str):
        """Print the usage and the reason, end with 64."""
        self.print_usage()
        self.exit(USAGE, f"{self.prog}: error: {message}\n")

    def parse_known_args(self, args=None, namespace=None):
        """As in argparse, with underscores of long options read as dashes."""
        import sys

        return super().parse_known_args([dashed(word) for word in (sys.argv[1:] if args is None else args)], namespace)


def dashed(word: str) -> str:
    """Write a long option with dashes; values are left alone.

    >>> dashed("--participant_label=a_b"), dashed("a_b")
    ('--participant-label=a_b', 'a_b')
    """
    if not word.startswith("--"):
        return word
    name, equals, value = word.partition("=")
    return name.replace("_", "-") + equals + value


def build_parser() -> Parser:
    """The parser of the app; an option that is a setting is None unless it was given, so that it wins over a settings file only then."""
    parser = Parser(
        prog="brainage",
        description="Brain age from raw BIDS: estimate, spread, quality flags and a report for every participant.",
        epilog="Exit codes: 0 done, 1 some participants failed, 64 usage, 65 unusable dataset, 66 nothing to process, "
        "70 internal error, 78 bad configuration.",
    )
    parser.add_argument("bids_dir", type=Path, help="a BIDS dataset; it is only read")
    parser.add_argument("output_dir", type=Path, help="where the derivatives go")
    parser.add_argument(
        "analysis_level",
        choices=("participant", "group"),
        help="participant: images to brain ages; group: brain ages to statistics and one report",
    )
    parser.add_argument("--version", action="version", version=f"brainage {__version__}")
    _add_selection(parser.add_argument_group("what is processed"))
    _add_processing(parser.add_argument_group("how it is processed"))
    _add_group(parser.add_argument_group("the group level"))
    _add_run(parser.add_argument_group("how it runs"))
    return parser


def _add_selection(group) -> None:
    group.add_argument("--participant-label", nargs="+", action="extend", metavar="LABEL", help="with or without sub-")
    group.add_argument("--session-label", nargs="+", action="extend", metavar="LABEL", help="with or without ses-")
    keys = ", ".join(row.key for row in MODALITIES.values())
    group.add_argument("--bids-filter-file", type=Path, metavar="JSON", help=f"further entities of scans, under {keys}")
    group.add_argument("--bids-database-dir", type=Path, metavar="DIR", help="keep the index of the dataset here")
    group.add_argument("--skip-bids-validation", action="store_true", help="accepted; a raw dataset is never validated as a whole")
    group.add_argument("-d", "--derivatives", nargs="+", action="extend", metavar="[NAME=]PATH",
                       help="take over preprocessing of fMRIPrep, sMRIPrep or this app")  # fmt: skip
    group.add_argument("--phenotype", nargs="+", action="extend", type=Path, metavar="TSV",
                       help="further tables with age, sex and whatever the group level is to compare")  # fmt: skip


def _add_processing(group) -> None:
    group.add_argument("--skull-strip", choices=("auto", "skip", "force"),
                       help="auto (default) sees that a brain is extracted already")  # fmt: skip
    group.add_argument("--models", nargs="+", action="extend", metavar="NAME|PATH", help="models to use (brainage-models list)")
    group.add_argument("--model-dir", nargs="+", action="extend", type=Path, metavar="DIR", help="folders that hold models")
    group.add_argument("--device", choices=("auto", "cpu", "cuda"), help="where networks run (default: auto)")
    group.add_argument("--precision", choices=("float32", "bfloat16"),
                       help="of the networks' convolutions (default: float32; bfloat16 is faster, docs/benchmarks.md)")  # fmt: skip
    group.add_argument("--random-seed", type=int, metavar="N", help="recorded with the outputs (default: 1)")
    group.add_argument("--sloppy", action="store_true", default=None, help="coarse registration, for demonstrations and tests only")


def _add_group(group) -> None:
    group.add_argument("--where", metavar="QUERY", help="who takes part, such as \"age >= 18 and site != 'x'\"")
    group.add_argument("--reference", metavar="QUERY", help="on whom bias, intervals and fusion are fitted, such as \"group == 'control'\"")
    group.add_argument(
        "--bias-correction", choices=BIAS_CORRECTIONS, help="of the gap for age, written beside the raw one (default: linear)"
    )
    group.add_argument(
        "--formula", nargs="+", action="extend", metavar="FORMULA", help='models of the gap, such as "pad ~ age + C(sex) + bmi"'
    )
    group.add_argument("--group-column", metavar="COLUMN", help="whose groups are compared (default: group, diagnosis or dx)")
    group.add_argument("--groups", nargs="+", action="extend", metavar="NAME=QUERY",
                       help="groups made here instead, such as \"old=age > 60\", or cdr for Clinical Dementia Rating")  # fmt: skip
    group.add_argument("--fitted", type=Path, metavar="DIR", help="apply what an earlier run fitted (its OUT/group) instead of fitting")
    group.add_argument("--harmonise", choices=HARMONISE, help="ComBat between sites, of the gap, of regional volumes, or of both")
    group.add_argument("--age-bins", nargs="+", metavar="AGE", help="edges of half-open bins of age for errors (default: decades)")
    group.add_argument("--mediation-outcome", choices=MEDIATION_OUTCOMES, help="what is mediated (default: age)")
    group.add_argument("--permutation", choices=PERMUTATIONS,
                       help="how models are compared: signs of people's differences flipped (paired, the default), or the absolute errors "
                       "of both shuffled (unpaired)")  # fmt: skip
    group.add_argument("--alternative", choices=ALTERNATIVES,
                       help="of the Mann-Whitney tests of the gap; greater: the first group, never the controls, lies above "
                       "(default: two-sided)")  # fmt: skip
    group.add_argument("--ensembles", nargs="+", action="extend", metavar="NAME=PATTERN,…",
                       help="ensembles of base models to set side by side, such as whole='whole*' parts='cortex*,cerebellum*'")  # fmt: skip
    group.add_argument("--lesion-column", metavar="COLUMN",
                       help="volume of white-matter lesions (default: a column or label whose name and unit say so)")  # fmt: skip
    group.add_argument("--comparison", nargs="+", action="extend", type=Path, metavar="DIR",
                       help="folders of brainage-train compare; its gaps are compared between groups, over seeds")  # fmt: skip
    group.add_argument("--slow-steps", choices=SLOW_STEPS,
                       help="mediation, regressors and mixed models: auto (default) runs them for small cohorts")  # fmt: skip


def _add_run(group) -> None:
    group.add_argument("--nprocs", type=int, metavar="N", help="participants at once (default: 1)")
    group.add_argument("--omp-nthreads", type=int, metavar="N", help="threads a participant; by default the cores are shared")
    group.add_argument("--mem-mb", type=int, metavar="MB", help="address space a participant may take")
    group.add_argument("-w", "--work-dir", type=Path, metavar="DIR", help="scratch folder, by default in the system's temporary folder")
    group.add_argument("--clean-workdir", action="store_true", default=None, help="empty the scratch folders of the participants first")
    group.add_argument("--config-file", type=Path, metavar="TOML", help="settings of an earlier run; options given here win")
    group.add_argument("--stop-on-first-crash", action="store_true", default=None, help="start no further participant after a failure")
    group.add_argument("--reports-only", action="store_true", help="only write the reports anew from what is there")
    group.add_argument("--boilerplate-only", action="store_true", help="only write the methods text")
    group.add_argument("--dry-run", action="store_true", help="print a table of what would be done")
    group.add_argument("--notrack", action="store_true", help="accepted; nothing is ever sent")
    group.add_argument("-v", "--verbose", action="count", default=0, help="say more; twice for everything")
