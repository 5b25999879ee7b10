"""How large the rate may be, and how much it matters: two summaries of a line of runs.

The stability edge is read off the crashes; the sensitivity to the rate is that of Wortsman et al.
(2023), "Small-scale proxies for large-scale Transformer training instabilities", section 2.2.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from scaledrelu.reports.cells import SeedValue
from scaledrelu.reports.stability.lines import RateLine, final_loss
from scaledrelu.reports.statistics import Estimate, estimate
from scaledrelu.runs.record import Status

NONE, HALF = 0.0, 0.5  # share of the seeds of a rate that may crash


@dataclass(frozen=True, slots=True)
class Edge:
    """The largest tested rate that holds, and what its place rests on.

    Attributes:
        rate: None where no tested rate holds.
        next_rate: the smallest larger rate with a finished run; None at the border of the grid.
        smaller: rates below the edge that do not hold: crashes do not grow with the rate there.
        unfinished: rates with a seed that has no result.
    """

    rate: float | None
    next_rate: float | None
    smaller: tuple[float, ...]
    unfinished: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """How much the final loss depends on the rate, over seeds.

    Attributes:
        by_seed: seed -> sensitivity, of the seeds that have every rate of the line.
        best: seed -> the loss at the best rate.
        untrained: seeds for which no rate ends below the loss of a uniform guess.
        incomplete: seeds that lack a rate.
    """

    by_seed: Mapping[int, float]
    best: Mapping[int, float]
    untrained: tuple[int, ...]
    incomplete: tuple[int, ...]

    @property
    def estimate(self) -> Estimate | None:
        """Mean and interval over the seeds."""
        return estimate(list(self.by_seed.values()))


def edge_of(line: RateLine, *, allowed: float) -> Edge | None:
    """Return the stability edge of a line; None where nothing has finished.

    Args:
        line: runs at some rates.
        allowed: share of the finished seeds of a rate that may crash: ``NONE`` or ``HALF``.
    """
    finished = {rate: value for rate, value in line.cells.items() if value.finished}
    if not finished:
        return None
    holding = [
        rate
        for rate, value in finished.items()
        if value.count(Status.CRASH) <= allowed * len(value.finished)
    ]
    rate = max(holding, default=None)
    return Edge(
        rate=rate,
        next_rate=min((r for r in finished if rate is None or r > rate), default=None),
        smaller=tuple(r for r in finished if rate is not None and r < rate and r not in holding),
        unfinished=tuple(r for r, v in line.cells.items() if len(v.finished) < len(v.seeds)),
    )


def sensitivity_of(line: RateLine) -> Sensitivity | None:
    """Return the sensitivity of a line to its rate; None for one rate or runs without a loss."""
    runs = [{s.run.seed: s for s in value.seeds} for value in line.cells.values()]
    by_seed, best, untrained, incomplete = {}, {}, [], []
    for seed in sorted(set().union(*runs)):
        own = [of_rate[seed] for of_rate in runs if seed in of_rate]
        losses, start = [final_loss(run) for run in own], _guess_loss(own)
        if None in losses or len(own) < len(runs) or start is None:
            incomplete.append(seed)
        elif min(losses) >= start:
            untrained.append(seed)
        else:
            best[seed] = min(losses)
            by_seed[seed] = sensitivity(losses, start)
    if len(line.cells) < 2 or not (by_seed or untrained):
        return None
    return Sensitivity(by_seed, best, tuple(untrained), tuple(incomplete))


def sensitivity(losses: Sequence[float], start: float) -> float:
    """Return the mean over rates of ``min(loss, start)``, minus the loss at the best rate.

    Args:
        losses: final validation loss at every rate; infinity where it was not finite.
        start: the loss before training, which no rate can do worse than.

    Source: Wortsman et al. (2023), section 2.2: the expectation over rates in [a, b] of
    ``min(l(A(rate)), l_0) - l*``, taken over the rates that were trained.
    """
    capped = [min(loss, start) for loss in losses]
    return math.fsum(capped) / len(capped) - min(losses)


def _guess_loss(runs: Iterable[SeedValue]) -> float | None:
    """Return the validation loss of a uniform guess, ln C, for the data of some runs."""
    counts = (run.sizes.get("classes") for run in runs)
    return next((math.log(count) for count in counts if count), None)
