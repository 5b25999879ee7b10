"""Images per second and core from JPEG files to a batch: our data paths beside those of others.

Processor time is what counts, of this process and of its loader processes: a busy machine changes
it less than the time of day.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from scaledrelu.bench.data_paths import (
    DINO_CROPS,
    GROUP,
    deit_batches,
    dino_batches,
    our_batches,
    our_loader,
    timm_batches,
)
from scaledrelu.bench.machine import synchronizer
from scaledrelu.bench.pairing import Pairing, alternate
from scaledrelu.bench.table import Row
from scaledrelu.config.compose import compose
from scaledrelu.data.augment import DeviceAugment
from scaledrelu.data.loaders import TrainLoader
from scaledrelu.data.sources import FolderSource
from scaledrelu.errors import DataError

SUFFIXES = (".jpg", ".jpeg")
PROCESSES = 2  # loader processes whose processor time is compared with that of one process
PARALLEL_STEPS_PER_WORKER = 8
GENERATED = 64
GENERATED_SIZE = (500, 375)  # ImageNet's usual one


def find_jpegs(folder: Path) -> list[Path]:
    """Return the JPEG files below a folder.

    Raises:
        DataError: if there are fewer than one step of the loader needs.
    """
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES)
    if len(found) < GROUP:
        raise DataError(
            f"{folder}: holds {len(found)} JPEG files, but at least {GROUP} are needed; choose "
            "another folder with --images, or leave it out to generate images"
        )
    return found


def generate_jpegs(folder: Path) -> list[Path]:
    """Write a handful of JPEGs of ImageNet's usual size: blurred noise, about 100 KB each."""
    draw = np.random.default_rng(0)
    width, height = GENERATED_SIZE
    for index in range(GENERATED):
        coarse = draw.integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
        image = np.asarray(Image.fromarray(coarse).resize(GENERATED_SIZE, Image.BICUBIC), np.int16)
        noisy = np.clip(image + draw.normal(0, 12, image.shape), 0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(folder / f"{index:03d}.jpg", quality=92)
    return find_jpegs(folder)


DEIT, DINO_SCRIPT = "DeiT's transform, plain loop", "DINO's transform, plain loop"
TIMM = "timm's transform with prefetcher, plain loop"
PAIRS = (  # our path, and the peer that it is timed beside
    ("reference", DEIT),
    ("device", TIMM),
    ("device, decoder=tensor", TIMM),
    ("device, decoder=tensor", f"{TIMM}, RandAugment"),
    ("device, decoder=tensor", DEIT),
    ("DINO", DINO_SCRIPT),
    (DINO_CROPS, DINO_SCRIPT),
)
IN_PROCESSES = ("reference", "device", "device, decoder=tensor", DINO_CROPS)
TO_THE_DEVICE = ("reference", "device", "device, decoder=tensor")


def measure_loader(
    paths: list[Path], *, device: torch.device, rounds: int, turn_seconds: float
) -> Iterator[Row]:
    """Yield the rates of the paper profile's data paths.

    Args:
        paths: JPEG files.
        device: device that receives the batches of several processes.
        rounds: rounds of A B B A.
        turn_seconds: length of one turn.
    """
    torch.set_num_threads(1)
    root = Path(os.path.commonpath([p.parent for p in paths]))
    names = [str(p.relative_to(root)) for p in paths]
    source = FolderSource(root, names, np.zeros(len(names), dtype=np.int64), ("jpeg",))
    peers: dict[str, Iterator[Any]] = {
        DEIT: deit_batches(paths),
        TIMM: timm_batches(paths, augments=False),
        f"{TIMM}, RandAugment": timm_batches(paths, augments=True),
        DINO_SCRIPT: dino_batches(paths),
    }
    for path, peer in PAIRS:
        ours, theirs = our_batches(source, path), peers[peer]
        next(ours), next(theirs)
        pairing = alternate(
            lambda ours=ours: next(ours),
            lambda theirs=theirs: next(theirs),
            rounds=rounds,
            turn_seconds=turn_seconds,
            synchronize=lambda: None,
            clock=time.process_time,
        )
        yield _row(f"{path}, one process", pairing, images=GROUP, peer=peer)
    for path in IN_PROCESSES:
        pairing = one_and_several(source, path, rounds=rounds, turn_seconds=turn_seconds)
        name = f"{path}, {PROCESSES} loader processes, per second of the processors"
        yield _row(name, pairing, images=_whole_groups(source), peer="the same in one process")
    if device.type == "cuda":
        workers = min(len(os.sched_getaffinity(0)), 16)
        for path in TO_THE_DEVICE:
            rate = parallel_rate(source, path=path, workers=workers, device=device)
            yield Row(
                kind="loader",
                name=f"{path}, {workers} loader processes to the GPU",
                batch=GROUP,
                images_per_s=rate,
                images_per_s_per_core=rate / workers,
            )


def _row(name: str, pairing: Pairing, *, images: int, peer: str) -> Row:
    """Return a row of two sides in processor seconds; ``images`` of one step."""
    return Row(
        kind="loader",
        name=name,
        batch=GROUP,
        peer=peer,
        images_per_s_per_core=pairing.rate_a * images,
        plain_images_per_s=pairing.rate_b * images,
        ratios=pairing.ratios,
    )


def one_and_several(
    source: FolderSource, path: str, *, rounds: int, turn_seconds: float
) -> Pairing:
    """Time whole epochs with loader processes (A) and without (B), all processor time counted.

    A ratio of 1 means that a loader process makes as many images a second as this one would.

    Args:
        source: the images.
        path: one of ours.
        rounds: rounds of A B B A.
        turn_seconds: length of one turn.
    """
    several, one = our_loader(source, path, workers=PROCESSES), our_loader(source, path)
    try:
        epoch_of(several)()
        return alternate(
            epoch_of(several),
            epoch_of(one),
            rounds=rounds,
            turn_seconds=turn_seconds,
            synchronize=lambda: None,
            clock=lambda: (
                time.process_time() + sum(map(process_seconds, loader_processes(several)))
            ),
        )
    finally:
        several.close()


def epoch_of(loader: TrainLoader) -> Callable[[], None]:
    """Return a function that fetches one epoch and drops it."""

    def run() -> None:
        for _ in loader.epoch(0):
            pass

    return run


def loader_processes(loader: TrainLoader) -> list[int]:
    """Return the process ids of a loader that has begun an epoch."""
    return [process.pid for process in loader._fetch._loader._iterator._workers]


def process_seconds(pid: int) -> float:
    """Return the processor seconds that a process has used (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _whole_groups(source: FolderSource) -> int:
    return len(source) // GROUP * GROUP


def parallel_rate(source: FolderSource, *, path: str, workers: int, device: torch.device) -> float:
    """Return images/s of a path with loader processes, normalised on a device; no start-up.

    Args:
        source: the images.
        path: one of ours.
        workers: loader processes.
        device: device that receives the batches.
    """
    # Enough work for every process from few files, which are in the page cache anyway.
    steps = PARALLEL_STEPS_PER_WORKER * workers
    repeats = -(-(steps + workers) * GROUP // len(source)) + 1
    many = source.select(np.tile(np.arange(len(source)), repeats))
    loader = our_loader(many, path, workers=workers, pin=device.type == "cuda")
    data, wait = compose(["profile=paper"]).data, synchronizer(device)
    normalise = DeviceAugment(mean=data.mean, std=data.std, seed=0).normalise
    try:
        batches = loader.epoch(0)
        for _ in range(workers):
            next(batches)
        wait()
        start = time.perf_counter()
        for _ in range(steps):
            (batch,) = next(batches)
            normalise(batch.to(device).images)
        wait()
        return steps * GROUP / (time.perf_counter() - start)
    finally:
        loader.close()
