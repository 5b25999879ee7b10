"""Images per second and core from JPEG files to a batch: our data paths beside those of others.

Processor time is what counts, of this process and of its loader processes: a busy machine changes
it less than the time of day.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from scaledrelu.bench.data_paths import (
    GROUP,
    REPEATED,
    REPEATED_IMAGES,
    make_maps,
    our_batches,
    path_config,
    source_of,
)
from scaledrelu.bench.loader_processes import (
    PROCESSES,
    augmentation_rate,
    one_and_several,
    parallel_rate,
)
from scaledrelu.bench.machine import loader_workers
from scaledrelu.bench.pairing import Pairing, alternate
from scaledrelu.bench.peer_data import endless, script_data
from scaledrelu.bench.scripts import OUR_PATH, TENSOR, Script
from scaledrelu.bench.table import Row
from scaledrelu.data.pixels import jpeg_decoder
from scaledrelu.data.regions import region_decoder
from scaledrelu.data.sources import FolderSource

# What is decoded of a file; for VOLO, where no operation needs all of the image.
ONE_BOX, WHOLE = (TENSOR, "VOLO"), (REPEATED, "DINO")
PAIRS = (  # our path, and the peer that it is timed beside
    (TENSOR, Script.TIMM_BARE),
    (TENSOR, Script.TIMM_LOADER),
    (TENSOR, Script.DEIT),
    (REPEATED, Script.DEIT),
    ("DINO", Script.DINO),
    ("VOLO", Script.VOLO),
    ("device", Script.TIMM_BARE),
    ("reference", Script.DEIT),
    ("DINO, reference", Script.DINO),
    ("VOLO, reference", Script.VOLO),
)
BESIDE_DEIT = (Script.TIMM_BARE, Script.TIMM_LOADER, Script.DINO, Script.VOLO)
IN_PROCESSES = (TENSOR, "reference", "DINO", "device", "VOLO")
TO_THE_DEVICE = ("reference", "device", TENSOR, "DINO", "VOLO")
ON_THE_DEVICE = (TENSOR, "DINO")


@dataclass(frozen=True, slots=True)
class LoaderBench:
    """Measures the data paths of the paper profile.

    Attributes:
        paths: JPEG files.
        maps: a label map for each of them.
        rounds: rounds of A B B A.
        turn_seconds: length of one turn.
        match: words that all have to be in "<path>, one process beside <peer>" and its like.
    """

    paths: list[Path]
    maps: Path
    rounds: int
    turn_seconds: float
    match: Sequence[str] = ()

    def beside_peers(self) -> Iterator[Row]:
        """Yield our path beside that of a script, both in this process."""
        for path, peer in PAIRS:
            if not self._chosen(path, f"one process beside {peer}"):
                continue
            images = max(len(self.paths), REPEATED_IMAGES) if path == REPEATED else None
            source = source_of(self.paths, images=images)
            config = path_config(path, maps=self.maps)
            theirs = script_data(source, config, peer).loader(batch=GROUP)
            pairing = self._paired(our_batches(source, config), endless(theirs))
            yield _row(_named(path, "one process"), pairing, images=GROUP, peer=peer)

    def scripts(self) -> Iterator[Row]:
        """Yield each script beside DeiT's: minutes apart, a machine may be slower by half."""
        source = source_of(self.paths)
        for script in BESIDE_DEIT:
            if not self._chosen(script, f"one process beside {Script.DEIT}"):
                continue
            one, deit = (self._script_batches(source, which) for which in (script, Script.DEIT))
            pairing = self._paired(one, deit)
            yield _row(f"{script}, one process", pairing, images=GROUP, peer=Script.DEIT)

    def _script_batches(self, source: FolderSource, script: Script) -> Iterator[Any]:
        config = path_config(OUR_PATH[script], maps=self.maps)
        return endless(script_data(source, config, script).loader(batch=GROUP))

    def _paired(self, first: Iterator[Any], second: Iterator[Any]) -> Pairing:
        next(first), next(second)
        return alternate(
            lambda: next(first),
            lambda: next(second),
            rounds=self.rounds,
            turn_seconds=self.turn_seconds,
            synchronize=lambda: None,
            clock=time.process_time,
        )

    def in_processes(self) -> Iterator[Row]:
        """Yield loader processes beside the same work in this process."""
        source = source_of(self.paths)
        for path in IN_PROCESSES:
            if not self._chosen(path, f"{PROCESSES} loader processes"):
                continue
            pairing = one_and_several(
                source, path, maps=self.maps, rounds=self.rounds, turn_seconds=self.turn_seconds
            )
            name = _named(path, f"{PROCESSES} loader processes, a core for each")
            images = len(source) // GROUP * GROUP
            yield _row(name, pairing, images=images, peer="the same in one process")

    def to_the_gpu(self, device: torch.device) -> Iterator[Row]:
        """Yield what many loader processes and the device make together, and the device alone.

        Args:
            device: the GPU that receives the batches.
        """
        workers = loader_workers()
        how = f"{workers} loader processes to the GPU"
        for path in TO_THE_DEVICE:
            if self._chosen(path, how):
                rate = parallel_rate(
                    self.paths, path, workers=workers, device=device, maps=self.maps
                )
                yield Row(
                    kind="loader",
                    name=_named(path, how),
                    batch=GROUP,
                    images_per_s=rate,
                    images_per_s_per_core=rate / workers,
                )
        how = "augmentation alone on the GPU"
        for path in ON_THE_DEVICE:
            if self._chosen(path, how):
                rate = augmentation_rate(
                    self.paths, path, device=device, turn_seconds=self.turn_seconds
                )
                yield Row(kind="loader", name=_named(path, how), batch=GROUP, images_per_s=rate)

    def _chosen(self, path: str, how: str) -> bool:
        return all(word in f" {path}, {how} " for word in self.match)


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
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        maps = make_maps(Path(folder), source_of(paths))
        bench = LoaderBench(paths, maps, rounds, turn_seconds, match)
        yield from bench.beside_peers()
        yield from bench.scripts()
        yield from bench.in_processes()
        if device.type == "cuda":
            yield from bench.to_the_gpu(device)


def _named(path: str, how: str) -> str:
    """Return the name of a row, with the decoder where that depends on what is installed."""
    decoder = region_decoder() if path in ONE_BOX else jpeg_decoder() if path in WHOLE else None
    return f"{path}, {how}" + (f", {decoder}" if decoder else "")


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
