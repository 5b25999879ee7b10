"""The device that is measured: its clock and the ceiling that utilisation refers to."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from functools import lru_cache

import torch

from scaledrelu.config.launch import MOST_WORKERS, visible_cores
from scaledrelu.engine.autocast import DTYPES

PRODUCT = {"cuda": 8192, "cpu": 1024}  # side of the square matrix product


def slug(name: str) -> str:
    """Return a device's name as a file name."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def loader_workers() -> int:
    """Return how many loader processes feed one GPU: one per core, up to sixteen."""
    return min(visible_cores(), MOST_WORKERS)


def synchronizer(device: torch.device) -> Callable[[], object]:
    """Return a function that waits until the device has finished its work."""
    if device.type == "cuda":
        return lambda: torch.cuda.synchronize(device)
    return lambda: None


def step_clock(device: torch.device) -> Callable[[], float]:
    """Return the clock for steps.

    A step of one thread is timed by its processor seconds, so that other programs on the same cores
    slow neither side. Otherwise by wall time.
    """
    alone = device.type == "cpu" and torch.get_num_threads() == 1
    return time.process_time if alone else time.perf_counter


def peak_tflops(device: torch.device, autocast: str) -> float:
    """Return the rate of a large square matrix product, the ceiling for utilisation.

    Args:
        device: the device to measure.
        autocast: none (float32), fp16 or bf16: what the products of a step are computed in.

    Returns:
        TFLOP/s, 2 per multiply-add: best of three means on random data, with the threads that
        torch has now.
    """
    return _peak(device, DTYPES[autocast], torch.get_num_threads())


@lru_cache
def _peak(device: torch.device, dtype: torch.dtype, _threads: int) -> float:
    side, wait, clock = PRODUCT[device.type], synchronizer(device), step_clock(device)
    slow = device.type == "cpu" and dtype != torch.float32  # emulated on most processors
    side //= 4 if slow else 1
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    times = []
    for repeats in (2, 5, 5, 5):  # the first warms up
        wait()
        start = clock()
        for _ in range(repeats):
            a @ b
        wait()
        times.append((clock() - start) / repeats)
    return 2 * side**3 / min(times[1:]) / 1e12


def peak_note(device: torch.device) -> str:
    """Say what the ceiling is."""
    side = PRODUCT[device.type]
    return f"peak: a {side} x {side} x {side} matrix product in the step's dtype, measured here"
