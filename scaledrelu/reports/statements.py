"""Whether our curves bear out what the text says about Figure 1, per seed and with an interval.

Decides by numbers that were fixed beforehand: a difference over paired seeds, and whether its 95 %
t interval excludes zero. Knows no files.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from scaledrelu.reports.claims.decision import OPPOSITE, Interval, Verdict, is_above
from scaledrelu.reports.similarity import Metric, Series
from scaledrelu.reports.statistics import Estimate, estimate
from scaledrelu.tables.figures import Kind, Statement

PerSeed = Mapping[int, float]


@dataclass(frozen=True, slots=True)
class JudgedStatement:
    """One statement, for one metric and where needed one series.

    Attributes:
        statement: what the text says.
        metric: of which similarity.
        about: the series, or both.
        per_seed: seed -> difference; below zero is what the text says.
        remark: further numbers that a reader needs.
    """

    statement: Statement
    metric: Metric
    about: str
    per_seed: PerSeed
    remark: str = ""

    @property
    def size(self) -> Estimate | None:
        """Mean over the seeds and its interval; None without a seed."""
        return estimate(list(self.per_seed.values()))

    @property
    def verdict(self) -> Verdict:
        """What our runs say of it; not testable where the text states no sign."""
        if self.statement.kind is Kind.HIGHER:
            return Verdict.NOT_TESTABLE
        size = self.size
        if size is None:
            return Verdict.NOT_RUN
        return OPPOSITE[is_above(Interval.around(size.mean, size.half), 0)]


def judge(statements: Sequence[Statement], series: Sequence[Series]) -> list[JudgedStatement]:
    """Judge every statement with the absolute and with the signed similarity.

    Args:
        statements: sentences of the text about the figure.
        series: all of them, in the order of the legend.
    """
    return [
        judged
        for statement in statements
        for metric in Metric
        for judged in _judge(statement, metric, series)
    ]


def _judge(
    statement: Statement, metric: Metric, series: Sequence[Series]
) -> Iterator[JudgedStatement]:
    by_label = {one.label: one for one in series}
    if statement.kind is Kind.POSITION:
        for one in series:
            steps = {seed: curve[1] - curve[0] for seed, curve in one.of(metric).items()}
            yield JudgedStatement(statement, metric, one.label, steps)
        return
    one, other = by_label[statement.series], by_label[statement.against]
    about = f"{one.label} against {other.label}"
    if statement.kind is Kind.ALIKE:
        remark = _likeness(one, other, metric)
        yield JudgedStatement(
            statement, metric, about, _closeness(one, other, series, metric), remark
        )
        return
    yield JudgedStatement(
        statement, metric, about, half_difference(one, other, metric, statement.kind)
    )


def half_difference(one: Series, other: Series, metric: Metric, kind: Kind) -> PerSeed:
    """Return, per seed, one series minus another, mean over one half of the layers.

    Args:
        one: a series.
        other: the series that it is compared with.
        metric: absolute or signed similarity.
        kind: which half: the lower one, else the higher.
    """

    def half(curve: Sequence[float]) -> float:
        middle = len(curve) // 2
        return statistics.fmean(curve[:middle] if kind is Kind.LOWER else curve[middle:])

    return {s: half(a) - half(b) for s, (a, b) in _paired(one, other, metric).items()}


def _closeness(one: Series, other: Series, series: Sequence[Series], metric: Metric) -> PerSeed:
    """Return, per seed, the distance of two curves minus the mean distance of the other pairs."""
    own = _distances(one, other, metric)
    rest = [
        _distances(a, b, metric)
        for a, b in combinations(series, 2)
        if {a.label, b.label} != {one.label, other.label}
    ]
    return {
        seed: distance - statistics.fmean(found[seed] for found in rest)
        for seed, distance in own.items()
        if rest and all(seed in found for found in rest)
    }


def _likeness(one: Series, other: Series, metric: Metric) -> str:
    """Return the distance of two curves and their correlation over the layers, in words."""
    distances = _distances(one, other, metric)
    if not distances:
        return ""
    likeness = [_correlation(a, b) for a, b in _paired(one, other, metric).values()]
    known = [value for value in likeness if math.isfinite(value)]
    mean = f", correlation over layers {statistics.fmean(known):+.2f}" if known else ""
    return f"distance {statistics.fmean(distances.values()):.3f}{mean}, mean over seeds"


def _distances(one: Series, other: Series, metric: Metric) -> dict[int, float]:
    """Return, per seed, the mean over layers of the absolute difference of two curves."""
    return {
        seed: statistics.fmean(abs(x - y) for x, y in zip(a, b, strict=True))
        for seed, (a, b) in _paired(one, other, metric).items()
    }


def _paired(
    one: Series, other: Series, metric: Metric
) -> dict[int, tuple[Sequence[float], Sequence[float]]]:
    ours, theirs = one.of(metric), other.of(metric)
    return {seed: (curve, theirs[seed]) for seed, curve in ours.items() if seed in theirs}


def _correlation(one: Sequence[float], other: Sequence[float]) -> float:
    try:
        return statistics.correlation(one, other)
    except statistics.StatisticsError:  # a flat curve has no trend
        return math.nan
