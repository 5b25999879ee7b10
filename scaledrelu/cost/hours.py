"""GPU-hours of a run: trained by its official script, by ours, and at the least possible.

A part of a run goes at the lower of two rates, that of the GPU's steps and that of its loader
processes: the next batches are made while a batch is trained on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from scaledrelu.config.run import RunConfig
from scaledrelu.cost.records import Records, Step
from scaledrelu.cost.speed import (
    Basis,
    Rate,
    evaluation_path,
    forward_rate,
    loader_rate,
    official_path,
    our_path,
    step_rate,
)
from scaledrelu.cost.work import Part, parts_of

HOUR = 3600.0
# Steps of GPUs that train one run together, as a share of as many alone: an assumption.
SCALING = (0.9, 0.95, 1.0)
BANDWIDTH = 4.8e12  # bytes a second of an H200's memory (NVIDIA, H200 datasheet)
# Loader processes per GPU by method: the defaults of DeiT main.py, DINO main_dino.py and
# eval_linear.py (num_workers), VOLO main.py (workers), TransReID (DATALOADER.NUM_WORKERS).
OFFICIAL_WORKERS = {"deit": 10, "dino": 10, "linear_probe": 10, "volo": 8, "reid": 8}
# Every process of these scripts evaluates all images (DeiT without --dist-eval, eval_linear.py).
NOT_SHARED = ("deit", "linear_probe")


@dataclass(frozen=True, slots=True)
class Hours:
    """GPU-hours: the least, the likely and the most."""

    low: float
    likely: float
    high: float

    def __add__(self, other: Hours) -> Hours:
        """Return the sum; the least of both together is both at their least."""
        return Hours(self.low + other.low, self.likely + other.likely, self.high + other.high)


@dataclass(frozen=True, slots=True)
class Cost:
    """What one run takes, and which rate decides its training.

    Attributes:
        hours: of all GPUs, evaluations included.
        basis: what the deciding rate rests on.
        by_loader: whether that is the loader's.
    """

    hours: Hours
    basis: Basis
    by_loader: bool


@dataclass(frozen=True, slots=True)
class Side:
    """Who trains.

    Attributes:
        steps: the measured steps of this side.
        path: of a run's training images.
        workers: loader processes per GPU; 0 where images lie ready.
        copies: how often the images of an evaluation are classified.
        keeps: whether crops for evaluations are decoded once a run.
    """

    steps: tuple[Step, ...]
    path: Callable[[RunConfig, Records], str]
    workers: Callable[[RunConfig], int]
    copies: Callable[[RunConfig], int]
    keeps: Callable[[RunConfig], bool]


def ours(records: Records) -> Side:
    """Return this program, as a run is configured: ``launch.workers`` and the path of images."""
    return Side(
        records.ours,
        our_path,
        lambda config: 0 if config.data.in_memory else loader_processes(config, records),
        lambda config: 1,
        lambda config: config.launch.cache_val,
    )


def loader_processes(config: RunConfig, records: Records) -> int:
    """Return how many processes load a GPU's images; as many as were measured, if cores decide.

    Args:
        config: resolved.
        records: what was measured.
    """
    asked = config.launch.workers
    return records.processes if asked is None else max(1, asked)


def never_waiting(records: Records) -> Side:
    """Return ours as if every image lay ready."""
    return replace(ours(records), workers=lambda config: 0)


def official(records: Records) -> Side:
    """Return the official scripts with their defaults."""
    return Side(
        records.official,
        official_path,
        lambda config: OFFICIAL_WORKERS[config.method],
        lambda config: config.launch.nproc if config.method in NOT_SHARED else 1,
        lambda config: False,
    )


def tuned(records: Records) -> Side:
    """Return the same with a loader process on every core, and evaluations that are shared."""
    return replace(
        official(records), workers=lambda config: records.processes, copies=lambda config: 1
    )


def cost_of(config: RunConfig, side: Side, records: Records) -> Cost | None:
    """Return what a run takes.

    Args:
        config: resolved.
        side: who trains.
        records: what was measured.

    Returns:
        None if nobody has counted the images of its data set, or measured a loader like its own.
    """
    paths, workers = loader_paths(config, side, records), side.workers(config)
    parts = parts_of(config)
    if not parts or not records.alone.keys() >= set(paths):
        return None
    training, evaluations = parts
    data, decoded = [loader_rate(one, workers, records) for one in paths] or (None, None)
    step = _together(step_rate(config, side.steps), config.launch.nproc)
    by_loader = data is not None and data.likely < step.likely
    hours = _hours(training.images, step, data)
    forward, copies = forward_rate(config, side.steps), side.copies(config)
    kept = evaluations.again if side.keeps(config) else 0.0
    hours += _hours(copies * (evaluations.images - kept), forward, decoded)
    hours += _hours(copies * kept, forward, None)
    return Cost(hours, data.basis if by_loader else step.basis, by_loader)


def loader_paths(config: RunConfig, side: Side, records: Records) -> tuple[str, ...]:
    """Return the paths of a run's images, for training and evaluations; none where they lie ready.

    Args:
        config: resolved.
        side: who trains.
        records: what was measured.
    """
    path = side.path(config, records)
    return (path, evaluation_path(path)) if side.workers(config) else ()


def least(config: RunConfig, records: Records) -> float:
    """Return the GPU-hours of a run that nothing can go below; the floor.

    Images never wait, and a GPU makes its operations as fast as it makes the fastest product that
    was measured, or moves its bytes at the datasheet's rate, whichever takes longer.

    Args:
        config: resolved.
        records: what was measured.
    """
    return sum(part.images / most_images(part, records) for part in parts_of(config)) / HOUR


def most_images(part: Part, records: Records) -> float:
    """Return how many images a second a GPU can make at most of a part of a run.

    Args:
        part: its images are alike.
        records: what was measured.
    """
    return 1.0 / max(part.flops / records.peak, part.bytes / BANDWIDTH)


def total(hours: Iterable[Hours]) -> Hours:
    """Return the sum of some."""
    return sum(hours, Hours(0.0, 0.0, 0.0))


def _together(rate: Rate, nproc: int) -> Rate:
    if nproc == 1:
        return rate
    low, likely, high = SCALING
    return Rate(low * rate.low, likely * rate.likely, high * rate.high, rate.basis)


def _hours(images: float, gpu: Rate, data: Rate | None) -> Hours:
    """Return the hours of some images at the lower of two rates; the least at the highest rates."""
    both = [gpu] if data is None else [gpu, data]
    rates = [min(getattr(one, at) for one in both) for at in ("high", "likely", "low")]
    return Hours(*(images / rate / HOUR for rate in rates))
