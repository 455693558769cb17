"""What the benchmarks of networks share: the machine in words, a fresh process for each figure, the most a GPU can do."""

from __future__ import annotations

import os
import platform
import resource
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from multiprocessing import get_context
from typing import Any

PEAK_TERAFLOPS = {"H200": (989.0, 67.0), "H100": (989.0, 67.0), "A100": (312.0, 19.5), "L40S": (362.0, 91.6), "RTX 4090": (165.0, 82.6)}
"""Dense bfloat16 with tensor cores and plain float32, 10¹² operations a second, from NVIDIA's data sheets."""


def describe_machine(threads: int) -> str:
    """Date, processor, threads, and the GPU if there is one."""
    import torch

    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        name = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
    half = "native" if torch.cpu._is_avx512_bf16_supported() else "emulated"
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ", no GPU"
    load = os.getloadavg()[0]
    machine = f"{name}, {os.cpu_count()} cores, {threads} threads, bfloat16 {half}{gpu}"
    return f"{date.today()}, {machine}, torch {torch.__version__}, load {load:.1f}"


def fresh(work: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a process of its own, so that its largest memory is its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def peak_gigabytes() -> float:
    """Largest memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2


def share_of_peak(operations_per_s: float, precision: str) -> str:
    """Share of what the GPU can do, in words; n/a for a card that is not in the table."""
    import torch

    found = next((peak for name, peak in PEAK_TERAFLOPS.items() if name in torch.cuda.get_device_name()), None)
    return "n/a" if found is None else f"{100 * operations_per_s / 1e12 / found[precision == 'float32']:.1f} %"
