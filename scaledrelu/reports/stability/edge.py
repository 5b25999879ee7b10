"""How large the rate may be, and how much it matters: two summaries of a line of runs.

The stability edge is read off the crashes; the sensitivity to the rate is that of Wortsman et al.
(2023), "Small-scale proxies for large-scale Transformer training instabilities", section 2.2.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

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
    seeds = sorted({s.run.seed for value in line.cells.values() for s in value.seeds})
    starts = {seed: loss for seed in seeds if (loss := _guess_loss(line, seed)) is not None}
    by_seed, best, untrained, incomplete = {}, {}, [], []
    for seed in seeds:
        losses = [final_loss(value, seed) for value in line.cells.values()]
        if None in losses or seed not in starts:
            incomplete.append(seed)
        elif min(losses) >= starts[seed]:
            untrained.append(seed)
        else:
            best[seed] = min(losses)
            by_seed[seed] = sensitivity(dict(zip(line.cells, losses, strict=True)), starts[seed])
    if len(line.cells) < 2 or not (by_seed or untrained):
        return None
    return Sensitivity(by_seed, best, tuple(untrained), tuple(incomplete))


def sensitivity(losses: Mapping[float, float], start: float) -> float:
    """Return the mean over rates of ``min(loss, start)``, minus the loss at the best rate.

    Args:
        losses: rate -> final validation loss; infinity where it was not finite.
        start: the loss before training, which no rate can do worse than.

    Source: Wortsman et al. (2023), section 2.2: the expectation over rates in [a, b] of
    ``min(l(A(rate)), l_0) - l*``, taken over the rates that were trained.
    """
    capped = [min(loss, start) for loss in losses.values()]
    return math.fsum(capped) / len(capped) - min(losses.values())


def _guess_loss(line: RateLine, seed: int) -> float | None:
    """Return the validation loss of a uniform guess, ln C, for the data of a line's runs."""
    for value in line.cells.values():
        for found in value.seeds:
            if found.run.seed == seed and found.sizes.get("classes"):
                return math.log(found.sizes["classes"])
    return None
