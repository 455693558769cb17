"""Seconds and memory of a network's estimate, in float32 and in the fast mode, and how far the two differ.

    python benchmarks/inference.py OUT MODEL… [--people N] [--threads N]

OUT is the output folder of ``brainage … participant``, MODEL the folders of trained networks. Every figure comes from a process of
its own. Seconds are the median over people and leave out the first one: reading the file, its intensity rule, the network (wall, and
processor, which other jobs of the machine hardly change). With a GPU the network runs there too, at growing batches.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from machine import describe_machine, fresh, peak_gigabytes, share_of_peak

from brainage_bids.bids.names import find_derivatives
from brainage_bids.cli.console import print_table
from brainage_bids.models.arithmetic import exact
from brainage_bids.models.contract import check_image
from brainage_bids.models.predict import load_model
from brainage_bids.models.preparation import prepare
from brainage_bids.models.registry import open_model

BATCHES = (1, 4, 16, 64)


def files_of(folder: str, out_dir: str, count: int) -> list[dict[str, Path]]:
    """The model's input of some people."""
    (contract,) = open_model(folder).card.contracts
    found = find_derivatives(Path(out_dir), contract.derivative, **contract.name_values)
    return [{contract.key: item.path} for item in found[:count]]


def on_cpu(folder: str, out_dir: str, count: int, threads: int, fast: bool) -> dict:
    """Ages, median seconds of each part, and the largest memory."""
    import torch

    torch.set_num_threads(threads)
    opened = open_model(folder)
    start = time.perf_counter()
    model = load_model(opened, precision="bfloat16" if fast else "float32")
    loading = time.perf_counter() - start
    (contract,) = model.inputs
    ages, seconds, processor = [], [], []
    for files in files_of(folder, out_dir, count):
        clock = [time.perf_counter()]
        image = check_image(contract, files[contract.key], "this benchmark")
        clock.append(time.perf_counter())
        prepare(image, contract, model.steps)
        clock.append(time.perf_counter())
        start = time.process_time()
        ages.append(model.predict_array(image).age.mean)
        processor.append(time.process_time() - start)
        clock.append(time.perf_counter())
        parts = np.diff(clock)
        seconds.append([parts[0], parts[1], parts[2] - parts[1]])  # predict_array prepares once more
    medians = [*np.median(seconds[1:] or seconds, axis=0).tolist(), float(np.median(processor[1:] or processor))]
    return {"ages": ages, "seconds": medians, "loading": loading, "gigabytes": peak_gigabytes()}


def on_gpu(folder: str, fast: bool) -> list[tuple[str, ...]]:
    """Volumes a second of random images at growing batches, and the share of the card's peak."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    model = load_model(open_model(folder))
    net, rows = model.net, []
    image = torch.randn(1, 1, *model.architecture["shape"])
    counter = FlopCounterMode(display=False)
    with counter, torch.inference_mode():
        net(image)
    net.to("cuda")
    for batch in BATCHES:
        images = image.expand(batch, -1, -1, -1, -1).contiguous(memory_format=torch.channels_last_3d).cuda()
        try:
            with exact(), torch.inference_mode(), torch.autocast("cuda", torch.bfloat16, enabled=fast):
                for _ in range(3):
                    net(images)
                torch.cuda.synchronize()
                torch.cuda.reset_peak_memory_stats()
                start = time.perf_counter()
                for _ in range(10):
                    net(images)
                torch.cuda.synchronize()
        except torch.OutOfMemoryError:
            break
        speed = 10 * batch / (time.perf_counter() - start)
        share = share_of_peak(speed * counter.get_total_flops(), "bfloat16" if fast else "float32")
        memory = torch.cuda.max_memory_allocated() / 2**30
        rows.append((model.kind, "fast" if fast else "float32", str(batch), f"{speed:.1f}", share, f"{memory:.2f}"))
    return rows


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out_dir", type=Path)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--people", type=int, default=36)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    print(describe_machine(options.threads) + "\n")
    head = (
        "kind",
        "mode",
        "people",
        "load s",
        "read s",
        "prepare s",
        "network s",
        "processor s",
        "memory GB",
        "mean |Δ|",
        "most |Δ|",
        "s.d. of ages",
    )
    rows = [head]
    for folder in options.models:
        plain = None
        for fast in (False, True):
            found = fresh(on_cpu, str(folder), str(options.out_dir), options.people, options.threads, fast)
            ages = np.array(found["ages"])
            plain = ages if plain is None else plain
            differences = np.abs(ages - plain)
            numbers = [found["loading"], *found["seconds"], found["gigabytes"], differences.mean(), differences.max(), ages.std()]
            kind, mode = open_model(folder).card.kind, "fast" if fast else "float32"
            rows.append((kind, mode, str(len(ages)), *(f"{value:.2f}" for value in numbers[:6]), *(f"{v:.3f}" for v in numbers[6:])))
            print(" ".join(rows[-1]), flush=True)
    print()
    print_table(rows)
    import torch

    if torch.cuda.is_available():
        rows = [row for folder in options.models for fast in (False, True) for row in fresh(on_gpu, str(folder), fast)]
        print()
        print_table([("kind", "mode", "batch", "volumes/s", "share of peak", "GPU memory GB"), *rows])


if __name__ == "__main__":
    main()
