"""Images per second of several loader processes, and of what the device does to images."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from scaledrelu.bench.data_paths import (
    GRID,
    GROUP,
    our_batches,
    our_loader,
    path_config,
    source_of,
)
from scaledrelu.bench.machine import synchronizer
from scaledrelu.bench.pairing import Pairing, alternate
from scaledrelu.data.loaders import TrainLoader
from scaledrelu.data.sources import FolderSource
from scaledrelu.runs.lock import stat_of
from scaledrelu.runs.prepare import Prepare
from scaledrelu.tasks.base import Progress

PROCESSES = 2  # loader processes that are compared with one process
PARALLEL_STEPS_PER_WORKER = 8


def one_and_several(
    source: FolderSource,
    path: str,
    *,
    rounds: int,
    turn_seconds: float,
    maps: Path | None = None,
) -> Pairing:
    """Time whole epochs with loader processes (A) and without (B), all processor time counted.

    The time of A is divided among its processes, as if each had a core of its own: then the ratio
    is the number of processes where nothing is lost.

    Args:
        source: the images.
        path: one of ours.
        rounds: rounds of A B B A.
        turn_seconds: length of one turn.
        maps: folder of label maps; VOLO needs one.
    """
    several = our_loader(source, path_config(path, workers=PROCESSES, maps=maps))
    one = our_loader(source, path_config(path, maps=maps))
    try:
        _epoch_of(several)()
        found = alternate(
            _epoch_of(several),
            _epoch_of(one),
            rounds=rounds,
            turn_seconds=turn_seconds,
            min_steps=1,
            synchronize=lambda: None,
            clock=lambda: (
                time.process_time() + sum(map(_process_seconds, _loader_processes(several)))
            ),
        )
    finally:
        several.close()
    return replace(found, seconds_a=[seconds / PROCESSES for seconds in found.seconds_a])


def _epoch_of(loader: TrainLoader) -> Callable[[], None]:
    """Return a function that fetches one epoch and drops it."""

    def run() -> None:
        for _ in loader.epoch(0):
            pass

    return run


def _loader_processes(loader: TrainLoader) -> list[int]:
    """Return the process ids of a loader that has begun an epoch."""
    return [process.pid for process in loader._fetch._loader._iterator._workers]


def _process_seconds(pid: int) -> float:
    """Return the processor seconds that a process has used (Linux)."""
    fields = stat_of(pid)
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def parallel_rate(
    paths: list[Path], path: str, *, workers: int, device: torch.device, maps: Path | None = None
) -> float:
    """Return images/s of a path with loader processes, up to what an update gets; no start-up.

    That includes what the device does to images: all augmentation behind the crop, mixup, CutMix.

    Args:
        paths: JPEG files.
        path: one of ours.
        workers: loader processes.
        device: device that receives the batches.
        maps: folder of label maps; VOLO needs one.
    """
    # Enough work for every process from few files, which are in the page cache anyway.
    steps = PARALLEL_STEPS_PER_WORKER * workers
    config = path_config(path, workers=workers, maps=maps)
    loader = our_loader(source_of(paths, images=(steps + workers) * GROUP), config, device)
    wait, prepare = synchronizer(device), Prepare(config, config.data.num_classes, device, GRID)
    try:
        batches = loader.epoch(0)
        for _ in range(workers):
            next(batches)
        wait()
        start = time.perf_counter()
        for step in range(steps):
            prepare(next(batches), Progress(step, steps, 0, steps))
        wait()
        return steps * GROUP / (time.perf_counter() - start)
    finally:
        loader.close()


def augmentation_rate(
    paths: list[Path], path: str, *, device: torch.device, turn_seconds: float
) -> float:
    """Return images/s of all that a device does to images of a path before an update sees them.

    Args:
        paths: JPEG files.
        path: one of ours.
        device: the device, where the images lie already.
        turn_seconds: least time to measure.
    """
    config = path_config(path)
    raw = next(our_batches(source_of(paths), config))[0].to(device)
    wait, prepare = synchronizer(device), Prepare(config, config.data.num_classes, device)
    prepare([raw], Progress(0, 1, 0, 1))
    wait()
    start, steps = time.perf_counter(), 0
    while time.perf_counter() - start < turn_seconds or not steps:
        steps += 1
        prepare([raw], Progress(steps, 1, 0, 1))
        wait()
    return steps * len(raw.targets) / (time.perf_counter() - start)
