"""Images per second and core from JPEG files to a batch: our data paths, and timm's own."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from itertools import chain, count
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from scaledrelu.bench.machine import synchronizer
from scaledrelu.bench.pairing import alternate
from scaledrelu.bench.table import Row
from scaledrelu.config.compose import compose
from scaledrelu.data.augment import DeviceAugment
from scaledrelu.data.loaders import TrainLoader
from scaledrelu.data.sources import FolderSource
from scaledrelu.errors import DataError
from scaledrelu.runs.feed import train_transform

SUFFIXES = (".jpg", ".jpeg")
GROUP = 16  # images per step of the loader
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


def measure_loader(
    paths: list[Path], *, device: torch.device, rounds: int, turn_seconds: float
) -> Iterator[Row]:
    """Yield the rates of the paper profile's data paths.

    Args:
        paths: JPEG files.
        device: device that receives the batches of several processes.
        rounds: rounds of A B B A against timm's transform in a plain loop.
        turn_seconds: length of one turn.
    """
    torch.set_num_threads(1)
    root = Path(os.path.commonpath([p.parent for p in paths]))
    names = [str(p.relative_to(root)) for p in paths]
    source = FolderSource(root, names, np.zeros(len(names), dtype=np.int64), ("jpeg",))
    plain = timm_batches(paths)
    for augment in ("reference", "device"):
        loader = our_loader(source, augment=augment, workers=0)
        ours = chain.from_iterable(loader.epoch(epoch) for epoch in count())
        next(ours), next(plain)
        pairing = alternate(
            lambda ours=ours: next(ours),
            lambda: next(plain),
            rounds=rounds,
            turn_seconds=turn_seconds,
            synchronize=lambda: None,
            clock=time.process_time,
        )
        yield Row(
            kind="loader",
            name=f"{augment} path, one process",
            batch=GROUP,
            peer="timm's transform, plain loop",
            images_per_s=pairing.rate_a * GROUP,
            images_per_s_per_core=pairing.rate_a * GROUP,
            plain_images_per_s=pairing.rate_b * GROUP,
            ratios=pairing.ratios,
        )
    workers = min(len(os.sched_getaffinity(0)), 16)
    where = " to the GPU" if device.type == "cuda" else ""
    for augment in ("reference", "device"):
        rate = parallel_rate(source, augment=augment, workers=workers, device=device)
        yield Row(
            kind="loader",
            name=f"{augment} path, {workers} loader processes{where}",
            batch=GROUP,
            images_per_s=rate,
            images_per_s_per_core=rate / workers,
        )


def our_loader(
    source: FolderSource, *, augment: str, workers: int, pin: bool = False
) -> TrainLoader:
    """Return our loader as the paper profile builds it; one with workers must be closed.

    Args:
        source: the images.
        augment: reference | device.
        workers: loader processes; 0 = load in this process.
        pin: put batches in page-locked memory.
    """
    config = compose(["profile=paper", f"data.augment={augment}"])
    return TrainLoader(
        source,
        groups=range(1),
        num_groups=1,
        group_size=GROUP,
        repeats=1,
        seed=0,
        transform=train_transform(config.data, config.augment, in_memory=False),
        workers=workers,
        pin=pin,
    )


def timm_batches(paths: list[Path]) -> Iterator[torch.Tensor]:
    """Yield batches of a plain loop over timm's transform, with DeiT's settings, for ever."""
    from timm.data import create_transform

    config = compose(["profile=paper"])
    augment, data = config.augment, config.data
    transform = create_transform(
        data.image_size,
        is_training=True,
        color_jitter=augment.color_jitter,
        auto_augment=augment.rand_augment,
        interpolation=augment.interpolation,
        re_prob=augment.erasing,
        re_mode="pixel",
        re_count=1,
        mean=data.mean,
        std=data.std,
    )

    draw = np.random.default_rng(0)
    while True:
        order = draw.permutation(len(paths))
        for at in range(0, len(paths) - GROUP + 1, GROUP):
            chosen = [paths[i] for i in order[at : at + GROUP]]
            yield torch.stack([transform(Image.open(path).convert("RGB")) for path in chosen])


def parallel_rate(
    source: FolderSource, *, augment: str, workers: int, device: torch.device
) -> float:
    """Return images/s of a path with loader processes, normalised on a device; no start-up.

    Args:
        source: the images.
        augment: reference | device.
        workers: loader processes.
        device: device that receives the batches.
    """
    # Enough work for every process from few files, which are in the page cache anyway.
    steps = PARALLEL_STEPS_PER_WORKER * workers
    repeats = -(-(steps + workers) * GROUP // len(source)) + 1
    many = source.select(np.tile(np.arange(len(source)), repeats))
    loader = our_loader(many, augment=augment, workers=workers, pin=device.type == "cuda")
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
