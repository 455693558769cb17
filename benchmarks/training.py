"""Volumes a second and memory of training, for every kind of network, in float32 and bfloat16.

    python benchmarks/training.py [KIND …] [--device cpu] [--batch N] [--people N] [--threads N]

Images are noise on the published grid of the kind, packed and memory-mapped as in a real run; the loop is the real one, with light
augmentation. The second epoch counts. ``waiting`` is the share of it in which the network had no images. Processor seconds, which
other jobs of the machine hardly change, are those of the epoch with the one image that is validated.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from machine import describe_machine, fresh, peak_gigabytes, share_of_peak

from brainage_bids.cli.console import print_table
from brainage_bids.models.nets import NETS


def measure(kind: str, precision: str, device: str, batch: int, people: int, threads: int) -> dict:
    """Train two epochs on noise."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from brainage_bids.models.inputs import net_input
    from brainage_bids.models.network import make_network
    from brainage_bids.training.cache import Cache
    from brainage_bids.training.forward import Cohort
    from brainage_bids.training.loop import fit
    from brainage_bids.training.objective import recipe_for

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    place = net_input(kind)
    net, architecture = make_network(kind, [place.contract], place.steps)
    net.head.start_at(50.0)
    generator = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "volumes.npy"
        volumes = np.lib.format.open_memmap(path, "w+", np.float16, (people + 1, 1, *architecture["shape"]))
        for row in range(len(volumes)):
            volumes[row] = generator.random(architecture["shape"], dtype=np.float32)
        scales = np.tile(np.array([[1.0, 0.0]], np.float32), (len(volumes), 1, 1))
        cohort = Cohort(Cache(np.load(path, mmap_mode="r"), scales, scales), generator.uniform(20, 80, len(volumes)))
        del volumes
        recipe = recipe_for(kind, soft=False, epochs=2, batch=batch, precision=precision)
        counter = FlopCounterMode(display=False)
        if device != "cpu":
            with counter:
                net(torch.randn(2, 1, *architecture["shape"]))
        ends: list[float] = []
        told = lambda _: ends.append(time.process_time())  # noqa: E731
        fitted = fit(net, cohort, range(people), [people], recipe, seed=1, device=device, told=told)
    line = fitted.history[-1]
    found = {"speed": line["volumes_per_s"], "waiting": line["waiting"], "gigabytes": peak_gigabytes()}
    found |= {"processor": (ends[1] - ends[0]) / people}
    if device != "cpu":  # backward takes about twice the operations of forward
        found |= {"gigabytes": torch.cuda.max_memory_allocated() / 2**30}
        found |= {"share": share_of_peak(3 * counter.get_total_flops() / 2 * line["volumes_per_s"], precision)}
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", metavar="KIND", default=list(NETS))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--people", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    print(describe_machine(options.threads) + f", {options.device}, batches of {options.batch}\n")
    rows = [("kind", "precision", "s/volume", "processor s/volume", "volumes/s", "waiting", "memory GB", "share of peak")]
    for kind in options.kinds:
        for precision in ("float32", "bfloat16"):
            found = fresh(measure, kind, precision, options.device, options.batch, options.people, options.threads)
            seconds = f"{1 / found['speed']:.2f}", f"{found['processor']:.2f}", f"{found['speed']:.2f}"
            numbers = *seconds, f"{100 * found['waiting']:.0f} %", f"{found['gigabytes']:.1f}"
            rows.append((kind, precision, *numbers, found.get("share", "n/a")))
            print(" ".join(rows[-1]), flush=True)
    print()
    print_table(rows)


if __name__ == "__main__":
    main()
