"""``brainage-models calibrate``: a model of kind ``volumes`` brought to one's own scanner by one's own controls."""

from __future__ import annotations

import argparse
from pathlib import Path

from brainage_bids.files import real


def add_command(commands, common: argparse.ArgumentParser) -> None:
    """Add the command to the parser of ``brainage-models``."""
    words = "fit a model's scales or offset on your own controls and write it as a new model"
    sub = commands.add_parser("calibrate", parents=[common], help=words, description=f"{words[0].upper()}{words[1:]}.")
    sub.add_argument("name", metavar="NAME", help="name of a model of kind volumes, or path of its folder")
    sub.add_argument("out_dir", metavar="OUT", type=Path, help="output folder of the participant run with the controls")
    sub.add_argument("--controls", nargs="+", action="extend", required=True, metavar="LABEL", help="with or without sub-; ten or more")
    sub.add_argument("--phenotype", nargs="+", action="extend", required=True, type=Path, metavar="TSV", help="tables with their ages")
    sub.add_argument("--to", required=True, type=Path, metavar="FOLDER", help="the model folder to be written")
    sub.add_argument("--fit", choices=("offset", "scales", "both"), default="offset", help="what is fitted (default: %(default)s)")
    sub.add_argument("--new-name", metavar="NAME", help="name of the new model, lower-case letters and digits (default: that of FOLDER)")
    sub.add_argument("--overwrite", action="store_true", help="replace a model that is already there")


def calibrate(options: argparse.Namespace) -> int:
    """Read the controls, fit, and write the new folder."""
    from brainage_bids.models.registry import find_model
    from brainage_bids.training.volumes_calibrate import read_people, sentence, write_calibrated

    folder = find_model(options.name, options.model_dir)
    controls = read_people(options.out_dir, options.phenotype, options.controls)
    for person, reason in controls.left_out:
        print(f"left out, {reason}: {person}")
    made, calibration = write_calibrated(
        options.to,
        folder,
        controls,
        name=options.new_name or real(options.to).name,
        scales=options.fit in ("scales", "both"),
        offset=options.fit in ("offset", "both"),
        overwrite=options.overwrite,
    )
    print(sentence(calibration, folder.card.name))
    for structure, factor in calibration.scales.items():
        print(f"  {structure}: volumes times {factor:.3f}")
    print(made.path)
    return 0
