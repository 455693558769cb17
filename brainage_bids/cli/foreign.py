"""``brainage-models import`` and ``fetch``: published weights as model folders."""

from __future__ import annotations

import argparse
from pathlib import Path

from brainage_bids.cli.console import Progress
from brainage_bids.files import real


def add_commands(commands, common: argparse.ArgumentParser) -> None:
    """Add the commands to the parser of ``brainage-models``."""
    words = "turn weights of others (SFCN's state dict, a Keras HDF5 of a mrinet) into a model folder"
    sub = commands.add_parser("import", parents=[common], help=words, description=f"{words[0].upper()}{words[1:]}.")
    sub.add_argument("file", metavar="FILE", type=Path, help="the weights")
    sub.add_argument("--kind", choices=("sfcn", "mrinet"), required=True, help="what network they are of")
    sub.add_argument("--train-ages", nargs=2, type=float, required=True, metavar=("LOW", "HIGH"), help="of the training people, years")
    sub.add_argument("--train-n", type=int, required=True, metavar="N", help="how many training people")
    sub.add_argument("--dataset-name", default="not stated", metavar="NAME", help="who they were")
    sub.add_argument("--input", metavar="NAME", help="input of the network (docs/networks.md); default: the published one of its kind")
    sub.add_argument("--box", nargs=3, type=int, metavar=("X", "Y", "Z"), help="voxels of the box of an input packed1…")
    sub.add_argument("--leak", type=float, help="slope of a mrinet's ReLU below zero, or 0 (default: as the file says, else 0.2)")
    sub.add_argument("--first-bin", type=float, metavar="YEARS", help="lower edge of SFCN's first bin (default: 42)")
    sub.add_argument("--bin-width", type=float, metavar="YEARS", help="of SFCN's bins (default: 1)")
    sub.add_argument("--mae", type=float, metavar="YEARS", help="mean absolute error that its authors found on people held out")
    sub.add_argument("--rmse", type=float, metavar="YEARS", help="root mean squared error likewise; makes the interval of the estimate")
    sub.add_argument("--errors-n", type=int, default=0, metavar="N", help="how many people these errors are of")
    sub.add_argument("--licence", default="not stated", help="under which the weights may be used")
    sub.add_argument("--citation", default="not stated", help="what to cite for them")
    _add_place(sub)
    words = "get published weights whose licence allows it, and turn them into a model folder"
    sub = commands.add_parser("fetch", parents=[common], help=words, description=f"{words[0].upper()}{words[1:]}.")
    sub.add_argument("weights", metavar="NAME", help="which: sfcnukb")
    sub.add_argument("--download", type=Path, metavar="FOLDER", help="where the file is put (default: beside FOLDER of --to)")
    _add_place(sub)


def _add_place(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--to", required=True, type=Path, metavar="FOLDER", help="the model folder to be written")
    sub.add_argument("--name", metavar="NAME", help="name of the model, lower-case letters and digits (default: that of FOLDER)")
    sub.add_argument("--overwrite", action="store_true", help="replace a model that is already there")


def import_weights(options: argparse.Namespace) -> int:
    """Read a file and write the folder."""
    from brainage_bids.models.age_heads import Bins
    from brainage_bids.models.foreign import read_sfcn
    from brainage_bids.records import BadConfiguration
    from brainage_bids.training.import_network import Origin, import_network

    given = [(name, getattr(options, name)) for name in ("first_bin", "bin_width", "leak") if getattr(options, name) is not None]
    wrong = [name for name, _ in given if (name == "leak") != (options.kind == "mrinet")]
    if wrong:
        raise BadConfiguration(f"--{wrong[0].replace('_', '-')} does not go with a network {options.kind}.")
    bins = None
    if options.kind == "sfcn" and given:
        low, width = (default if value is None else value for value, default in ((options.first_bin, 42.0), (options.bin_width, 1.0)))
        bins = Bins(low, width, read_sfcn(options.file)[1])
    made = import_network(
        options.file,
        options.to,
        options.kind,
        _about(options, options.licence, options.citation),
        Origin(options.dataset_name, options.train_n, tuple(options.train_ages), options.mae, options.errors_n, options.rmse),
        input_name=options.input,
        box=None if options.box is None else tuple(options.box),
        leak=options.leak,
        bins=bins,
        overwrite=options.overwrite,
    )
    print(made.path)
    return 0


def fetch(options: argparse.Namespace) -> int:
    """Get a file, check it, and write the folder."""
    from brainage_bids.models.fetch import download, find_published
    from brainage_bids.training.folder import check_place
    from brainage_bids.training.import_network import Origin, import_network

    known = find_published(options.weights)
    check_place(options.to, options.overwrite)
    about = _about(options, known.licence, known.citation)
    file = (options.download or real(options.to).parent) / Path(known.address).name
    print(f"{options.weights}: licence {known.licence}; {known.citation}")
    progress = _Bytes(file.name)
    try:
        digest = download(known.address, file, sha256=known.sha256, progress=progress)
    finally:
        progress.end()
    print(f"{file}: SHA-256 {digest}" + ("" if known.sha256 else " (its authors publish none to compare with)"))
    origin = Origin(known.datasets, known.n, known.ages, known.mae, known.mae_n)
    print(import_network(file, options.to, known.kind, about, origin, input_name=known.input, overwrite=options.overwrite).path)
    return 0


def _about(options: argparse.Namespace, licence: str, citation: str):
    import datetime

    from brainage_bids.models.card import check_name
    from brainage_bids.training.folder import About

    return About(check_name(options.name or real(options.to).name), "1.0", datetime.date.today().isoformat(), licence, citation)


class _Bytes(Progress):
    """How much of a file is there."""

    def amount(self, done: int, total: int) -> str:
        """Megabytes."""
        return f"{done / 1e6:.1f} of {total / 1e6:.1f} MB"
