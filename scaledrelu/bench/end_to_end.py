"""From JPEG files to updates: our loader and loop beside a script's own.

With loader processes a turn is one epoch, from empty queues to the last update, so that no side
starts with images that its processes have made in the other's turn.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from scaledrelu.bench.data_paths import (
    GRID,
    REPEATED,
    REPEATED_IMAGES,
    make_maps,
    path_overrides,
    source_of,
)
from scaledrelu.bench.end_cases import EndCase
from scaledrelu.bench.machine import loader_workers, step_clock, synchronizer
from scaledrelu.bench.measure import (
    Sides,
    build_sides,
    check_same_work,
    compile_plain,
    plain_layout,
)
from scaledrelu.bench.ours import OurFeed
from scaledrelu.bench.pairing import Pairing, alternate
from scaledrelu.bench.peer_data import script_data
from scaledrelu.bench.scripts import OUR_PATH, Script
from scaledrelu.bench.table import Row
from scaledrelu.data.batch import Batch, lay_out
from scaledrelu.data.datasets import Splits
from scaledrelu.data.sources import FolderSource
from scaledrelu.engine.distributed import World

UPDATES = 2  # of a turn without loader processes
# Of a turn with some: an epoch, whose first batches take as long as the processes need to make one
# each, all at once. Two of them each would say more about that than about the rest.
UPDATES_PER_WORKER = 6


@dataclass(frozen=True, slots=True)
class Ends:
    """Both sides: the next batch of each, and an update with it."""

    sides: Sides
    feed: OurFeed
    next_of_theirs: Callable[[], Batch]
    updates: int  # of a turn

    def ours(self) -> None:
        """Make the updates of one turn with ours."""
        for _ in range(self.updates):
            self.sides.ours(self.feed(self.sides.ours.now))

    def theirs(self) -> None:
        """Make the updates of one turn with the script's."""
        for _ in range(self.updates):
            self.sides.plain(self.next_of_theirs())


def measure_end(case: EndCase, paths: Sequence[Path], device: torch.device, *, rounds: int) -> Row:
    """Time one case.

    Args:
        case: what to compare.
        paths: JPEG files.
        device: the device; on a GPU each side has loader processes.
        rounds: rounds of A B B A.

    Raises:
        UnequalWorkError: if parameters or losses of the updates differ.
    """
    workers = loader_workers() if device.type == "cuda" else 0
    updates = UPDATES_PER_WORKER * workers or UPDATES
    least = REPEATED_IMAGES if _our_path(case.script) == REPEATED else 0
    source = source_of(paths, images=max(updates * case.step.batch, least))
    with tempfile.TemporaryDirectory() as maps:
        ends = build_ends(case, source, Path(maps), device, workers=workers)
        with torch.compiler.set_stance("force_eager"):
            gap = check_same_work(ends.sides)
        compile_plain(case.step, ends.sides)
        try:
            ends.ours(), ends.theirs()  # the first batches, and compilation
            pairing = alternate(
                ends.ours,
                ends.theirs,
                rounds=rounds,
                turn_seconds=0.0,
                min_steps=1,
                synchronize=synchronizer(device),
                clock=step_clock(device),
            )
        finally:
            ends.feed.loader.close()
    threads = torch.get_num_threads() if device.type == "cpu" else None
    return replace(_row(case, ends, pairing), threads=threads, loss_gap=gap)


def _row(case: EndCase, ends: Ends, pairing: Pairing) -> Row:
    images = ends.updates * case.step.batch
    return replace(
        case.row(),
        model=ends.sides.config.model.label,
        steps_per_s=pairing.rate_a * ends.updates,
        images_per_s=pairing.rate_a * images,
        plain_images_per_s=pairing.rate_b * images,
        ratios=pairing.ratios,
        parameters=sum(p.numel() for p in ends.sides.ours.task.parameters()),
    )


def _our_path(script: Script) -> str:
    """Return our data path beside a script's; DeiT's repeats images, and so does ours then."""
    return REPEATED if script is Script.DEIT else OUR_PATH[script]


def build_ends(
    case: EndCase, source: FolderSource, maps: Path, device: torch.device, *, workers: int
) -> Ends:
    """Build both sides with the numbers of one run.

    Args:
        case: what to compare.
        source: the images of an epoch.
        maps: folder for label maps, which are made where they are needed.
        device: the device.
        workers: loader processes of each side.
    """
    step = case.step
    overrides = path_overrides(_our_path(case.script))
    path = [word for word in overrides if word.startswith(("data.", "augment."))]
    more = [*path, f"launch.workers={workers}"]
    if step.recipe == "volo":
        more.append(f"data.token_labels={make_maps(maps, source)}")
    sides = build_sides(replace(step, more=(*step.more, *more)), device)
    splits = Splits(source, source, sides.config.data.num_classes)
    feed = OurFeed(sides.config, splits, World(0, 1, device), sides.ours.task)
    grid = sides.twin.backbone.token_grid if case.script is Script.VOLO else GRID
    data = script_data(source, sides.config, case.script, grid=grid)
    loader = data.loader(batch=step.batch, workers=workers, pin=device.type == "cuda")
    batches = data.batches(loader, device)
    layout = plain_layout(step)

    def next_of_theirs() -> Batch:
        return lay_out(next(batches), layout)

    updates = len(source) // step.batch if workers else UPDATES
    return Ends(sides, feed, next_of_theirs, updates)
