"""Images per second and core from JPEG files to a batch: our data paths beside those of others.

Processor time is what counts, of this process and of its loader processes: a busy machine changes
it less than the time of day.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from scaledrelu.bench.data_paths import (
    GROUP,
    REPEATED,
    REPEATED_IMAGES,
    make_maps,
    our_batches,
    our_loader,
    path_config,
    source_of,
)
from scaledrelu.bench.machine import loader_workers, synchronizer
from scaledrelu.bench.pairing import Pairing, alternate
from scaledrelu.bench.peer_data import (
    ScriptData,
    deit_data,
    dino_data,
    endless,
    timm_data,
    volo_data,
)
from scaledrelu.bench.scripts import Script
from scaledrelu.bench.table import Row
from scaledrelu.config.run import RunConfig
from scaledrelu.data.loaders import TrainLoader
from scaledrelu.data.pixels import jpeg_decoder
from scaledrelu.data.sources import FolderSource
from scaledrelu.runs.prepare import Prepare
from scaledrelu.tasks.base import Progress

PROCESSES = 2  # loader processes that are compared with one process
PARALLEL_STEPS_PER_WORKER = 8
BY_DECODER = ("device, decoder=tensor", REPEATED, "DINO")
PAIRS = (  # our path, and the peer that it is timed beside
    ("device, decoder=tensor", Script.TIMM_BARE),
    ("device, decoder=tensor", Script.TIMM_LOADER),
    ("device, decoder=tensor", Script.DEIT),
    (REPEATED, Script.DEIT),
    ("DINO", Script.DINO),
    ("VOLO", Script.VOLO),
    ("device", Script.TIMM_BARE),
    ("reference", Script.DEIT),
    ("DINO, reference", Script.DINO),
)
IN_PROCESSES = ("device, decoder=tensor", "reference", "DINO", "device")
TO_THE_DEVICE = ("reference", "device", "device, decoder=tensor", "DINO")
ON_THE_DEVICE = ("device, decoder=tensor", "DINO")


def measure_loader(
    paths: list[Path],
    *,
    device: torch.device,
    rounds: int,
    turn_seconds: float,
    match: Sequence[str] = (),
) -> Iterator[Row]:
    """Yield the rates of the paper profile's data paths.

    Args:
        paths: JPEG files.
        device: device that receives the batches of several processes.
        rounds: rounds of A B B A.
        turn_seconds: length of one turn.
        match: words that all have to be in "<path>, one process beside <peer>" and its like.
    """

    def chosen(path: str, how: str) -> bool:
        return all(word in f" {path}, {how} " for word in match)

    torch.set_num_threads(1)
    once, often = source_of(paths), source_of(paths, images=max(len(paths), REPEATED_IMAGES))
    with tempfile.TemporaryDirectory() as folder:
        for path, peer in PAIRS:
            if not chosen(path, f"one process beside {peer}"):
                continue
            source = often if path == REPEATED else once
            maps = make_maps(Path(folder), source) if path == "VOLO" else None
            config = path_config(path, maps=maps)
            ours = our_batches(source, config)
            theirs = endless(script_data(source, config, peer).loader(batch=GROUP))
            next(ours), next(theirs)
            pairing = alternate(
                lambda ours=ours: next(ours),
                lambda theirs=theirs: next(theirs),
                rounds=rounds,
                turn_seconds=turn_seconds,
                synchronize=lambda: None,
                clock=time.process_time,
            )
            yield _row(_named(path, "one process"), pairing, images=GROUP, peer=peer)
    for path in IN_PROCESSES:
        if not chosen(path, f"{PROCESSES} loader processes"):
            continue
        pairing = one_and_several(once, path, rounds=rounds, turn_seconds=turn_seconds)
        name = _named(path, f"{PROCESSES} loader processes, a core for each")
        yield _row(name, pairing, images=_whole_groups(once), peer="the same in one process")
    if device.type == "cuda":
        workers = loader_workers()
        for path in TO_THE_DEVICE:
            if not chosen(path, f"{workers} loader processes to the GPU"):
                continue
            rate = parallel_rate(paths, path=path, workers=workers, device=device)
            yield Row(
                kind="loader",
                name=_named(path, f"{workers} loader processes to the GPU"),
                batch=GROUP,
                images_per_s=rate,
                images_per_s_per_core=rate / workers,
            )
        for path in ON_THE_DEVICE:
            if not chosen(path, "augmentation alone on the GPU"):
                continue
            rate = augmentation_rate(paths, path=path, device=device, turn_seconds=turn_seconds)
            name = _named(path, "augmentation alone on the GPU")
            yield Row(kind="loader", name=name, batch=GROUP, images_per_s=rate)


def script_data(source: FolderSource, config: RunConfig, peer: Script) -> ScriptData:
    """Return the data of a peer, with the numbers of a run.

    Args:
        source: the files.
        config: the run's configuration.
        peer: one of those in ``PAIRS``.
    """
    if peer in (Script.TIMM_BARE, Script.TIMM_LOADER):
        return timm_data(source, config, augments=peer is Script.TIMM_LOADER, mixes=False)
    build = {Script.DEIT: deit_data, Script.DINO: dino_data, Script.VOLO: volo_data}[peer]
    return build(source, config)


def _named(path: str, how: str) -> str:
    """Return the name of a row, with the decoder where that depends on what is installed."""
    return f"{path}, {how}" + (f", {jpeg_decoder()}" if path in BY_DECODER else "")


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

    The time of A is divided among its processes, as if each had a core of its own: then the ratio
    is the number of processes where nothing is lost.

    Args:
        source: the images.
        path: one of ours.
        rounds: rounds of A B B A.
        turn_seconds: length of one turn.
    """
    several = our_loader(source, path_config(path, workers=PROCESSES))
    one = our_loader(source, path_config(path))
    try:
        epoch_of(several)()
        found = alternate(
            epoch_of(several),
            epoch_of(one),
            rounds=rounds,
            turn_seconds=turn_seconds,
            min_steps=1,
            synchronize=lambda: None,
            clock=lambda: (
                time.process_time() + sum(map(process_seconds, loader_processes(several)))
            ),
        )
    finally:
        several.close()
    return replace(found, seconds_a=[seconds / PROCESSES for seconds in found.seconds_a])


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


def parallel_rate(paths: list[Path], *, path: str, workers: int, device: torch.device) -> float:
    """Return images/s of a path with loader processes, up to what an update gets; no start-up.

    That includes what the device does to images: all augmentation behind the crop, mixup, CutMix.

    Args:
        paths: JPEG files.
        path: one of ours.
        workers: loader processes.
        device: device that receives the batches.
    """
    # Enough work for every process from few files, which are in the page cache anyway.
    steps = PARALLEL_STEPS_PER_WORKER * workers
    config = path_config(path, workers=workers)
    loader = our_loader(source_of(paths, images=(steps + workers) * GROUP), config, device)
    wait, prepare = synchronizer(device), Prepare(config, config.data.num_classes, device)
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
    paths: list[Path], *, path: str, device: torch.device, turn_seconds: float
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
