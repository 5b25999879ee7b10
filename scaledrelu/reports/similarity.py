"""How alike the tokens of each layer are in the runs of Figure 1, read from what the runs left.

Decides what counts as a curve: a finished run whose ``evidence.npz`` holds finite values. Every
other run is absent, with a word that says why.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from scaledrelu.config.places import EVIDENCE
from scaledrelu.reports.cells import CellValue, SeedValue
from scaledrelu.runs.damage import RecordError
from scaledrelu.runs.evidence import read_arrays
from scaledrelu.runs.record import Status, run_directory


class Metric(StrEnum):
    """Which mean of the cosines between two tokens, over all pairs and images."""

    ABSOLUTE = "absolute"
    SIGNED = "signed"


@dataclass(frozen=True, slots=True)
class Curve:
    """One run of a series.

    Attributes:
        seed: the run's seed.
        run_id: the run.
        status: how it ended.
        values: metric -> one value per layer; empty for an absent curve.
        absent: why there are none; empty for a curve.
    """

    seed: int
    run_id: str
    status: Status
    values: Mapping[Metric, tuple[float, ...]]
    absent: str = ""


@dataclass(frozen=True, slots=True)
class Series:
    """One line of the legend: all its seeds."""

    label: str
    curves: tuple[Curve, ...]

    @property
    def drawn(self) -> tuple[Curve, ...]:
        """The curves that are there."""
        return tuple(curve for curve in self.curves if not curve.absent)

    def of(self, metric: Metric) -> dict[int, tuple[float, ...]]:
        """Return seed -> one value per layer."""
        return {curve.seed: curve.values[metric] for curve in self.drawn}

    def mean(self, metric: Metric) -> tuple[float, ...]:
        """Return the mean over all seeds that are there, per layer; empty without any."""
        found = self.of(metric).values()
        return tuple(math.fsum(layer) / len(layer) for layer in zip(*found, strict=True))


def read_series(label: str, value: CellValue, results: Path) -> Series:
    """Return the curves of one series.

    Args:
        label: its line of the legend.
        value: the cell with its runs.
        results: folder that holds ``runs/``.
    """
    layers = _layers(value)
    return Series(label, tuple(_curve(seed, results, layers) for seed in value.seeds))


def layer_names(layers: int) -> list[str]:
    """Return what stands at each point: the stem, the positions, then the blocks from 1 on."""
    names = ["stem", "position embedding", *(f"block {i}" for i in range(1, layers - 1))]
    return names[:layers]


def _layers(value: CellValue) -> int:
    """Return how many points a curve has: the stem, the positions and every block."""
    return value.cell.composed.config.model.depth + 2


def _curve(seed: SeedValue, results: Path, layers: int) -> Curve:
    run_id = seed.run.run_id
    if seed.run.result is None:
        return Curve(seed.run.seed, run_id, seed.status, {}, absent=str(seed.status))
    values, absent = _read(run_directory(results, run_id), layers)
    return Curve(seed.run.seed, run_id, seed.status, values, absent)


def _read(folder: Path, layers: int) -> tuple[dict[Metric, tuple[float, ...]], str]:
    """Return the values of a run, or nothing and the reason."""
    import numpy as np

    names = {metric: f"similarity.{metric}" for metric in Metric}
    try:
        stored = read_arrays(folder, names.values())
        if stored is None:
            return {}, f"no {EVIDENCE}"
        if missing := [name for name in names.values() if name not in stored]:
            return {}, f"{missing[0]} not recorded"
        arrays = {metric: np.asarray(stored[name], float) for metric, name in names.items()}
    except (RecordError, ValueError):
        return {}, f"{EVIDENCE} damaged"
    if any(array.shape != (layers,) for array in arrays.values()):
        return {}, f"{EVIDENCE} damaged: not {layers} layers"
    if not all(np.isfinite(array).all() for array in arrays.values()):
        return {}, "similarity not finite"
    return {metric: tuple(array.tolist()) for metric, array in arrays.items()}, ""


def absences(series: Sequence[Series]) -> list[str]:
    """Return one line for each curve that is not there."""
    return [
        f"{one.label}, seed {curve.seed}, `{curve.run_id}`: {_why(curve)}"
        for one in series
        for curve in one.curves
        if curve.absent
    ]


def _why(curve: Curve) -> str:
    done = curve.status.done and curve.absent != str(curve.status)
    return f"{curve.absent} ({curve.status})" if done else curve.absent
