"""When a claim is supported, contradicted or undecided: plain numbers, no tables and no runs.

A difference is decided where its 95 % interval lies on one side of the limit that the claim draws;
a crash where the Wilson interval of the share of crashed runs lies on one side of a half.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from scaledrelu.reports.statistics import wilson

LARGELY = '"Largely" and words like it name no size: only the sign of a difference is judged.'
HALF = 0.5  # a row counts as a crash if more than this share of its seeds crashed


class Verdict(StrEnum):
    """What becomes of a claim."""

    SUPPORTED = "supported"
    CONTRADICTED = "contradicted"
    UNDECIDED = "undecided"
    NOT_RUN = "not run"
    NOT_TESTABLE = "not testable"

    @property
    def is_decided(self) -> bool:
        """Whether runs say yes or no."""
        return self in (Verdict.SUPPORTED, Verdict.CONTRADICTED)


OPPOSITE = {
    Verdict.SUPPORTED: Verdict.CONTRADICTED,
    Verdict.CONTRADICTED: Verdict.SUPPORTED,
    Verdict.UNDECIDED: Verdict.UNDECIDED,
}


@dataclass(frozen=True, slots=True)
class Interval:
    """A number and the ends of its 95 % interval; both None where one seed has none."""

    size: float
    low: float | None
    high: float | None

    @classmethod
    def around(cls, size: float, half: float | None, *, bound: float = math.inf) -> Interval:
        """Return a symmetric interval, cut off at what the number can be.

        Args:
            size: its middle.
            half: half of its width; None for a single seed.
            bound: the number lies between minus and plus this.
        """
        if half is None:
            return cls(size, None, None)
        return cls(size, max(size - half, -bound), min(size + half, bound))


@dataclass(frozen=True, slots=True)
class Count:
    """How many of some runs crashed.

    Attributes:
        crashed: runs that crashed.
        total: runs.
        is_certain: whether the runs are taken for all there are, not for a sample.
    """

    crashed: int
    total: int
    is_certain: bool = False

    @property
    def interval(self) -> Interval:
        """The share that crashed, with its Wilson interval."""
        share = self.crashed / self.total
        if self.is_certain:
            return Interval(share, share, share)
        low, high = wilson(share, self.total)
        return Interval(share, max(low, 0.0), min(high, 1.0))  # beyond by rounding only


def combine(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the verdict on a claim that says several things.

    One part that is contradicted contradicts it; else one that has no run leaves it not run, one
    that is undecided leaves it undecided. Parts that cannot be tested are left out.
    """
    told = [verdict for verdict in verdicts if verdict is not Verdict.NOT_TESTABLE]
    for verdict in (Verdict.CONTRADICTED, Verdict.NOT_RUN, Verdict.UNDECIDED):
        if verdict in told:
            return verdict
    return Verdict.SUPPORTED if told else Verdict.NOT_TESTABLE


def with_preconditions(given: Sequence[Verdict], verdict: Verdict) -> Verdict:
    """Return the verdict on a claim that takes something for granted.

    Where that is not borne out, nothing that is found puts the claim to the test: it is undecided
    or not run as what it takes for granted is, and not testable where that is contradicted.

    Args:
        given: verdicts on what the claim takes for granted.
        verdict: on what it says.
    """
    met = combine(given)
    if not given or met is Verdict.SUPPORTED or verdict is Verdict.NOT_TESTABLE:
        return verdict
    return met if met in (Verdict.NOT_RUN, Verdict.UNDECIDED) else Verdict.NOT_TESTABLE


def is_above(found: Interval, limit: float) -> Verdict:
    """Judge the claim that a number lies above a limit.

    Args:
        found: the number.
        limit: a number in the same unit.
    """
    if found.low is None or found.high is None:
        return Verdict.UNDECIDED
    if found.low > limit:
        return Verdict.SUPPORTED
    return Verdict.CONTRADICTED if found.high < limit else Verdict.UNDECIDED


def is_within(found: Interval, limit: float) -> Verdict:
    """Judge the claim that a number lies between minus and plus a limit.

    Args:
        found: the number.
        limit: a number in the same unit.
    """
    return combine((OPPOSITE[is_above(found, limit)], is_above(found, -limit)))


def is_as_printed(found: Interval, printed: float) -> Verdict:
    """Judge the claim that a number is what the paper prints: its interval must hold it.

    Args:
        found: ours.
        printed: the paper's.
    """
    if found.low is None or found.high is None:
        return Verdict.UNDECIDED
    holds = found.low <= printed <= found.high
    return Verdict.SUPPORTED if holds else Verdict.CONTRADICTED


def all_crash(rows: Sequence[Count]) -> Verdict:
    """Judge the claim that every one of some rows crashes, in more than half of its runs.

    Each row has to be decided by itself. Against the claim their sum counts as well: rows that all
    crash in more than half of their runs do so on average.
    """
    single = combine(is_above(row.interval, HALF) for row in rows)
    if most_crash(rows) is Verdict.CONTRADICTED:
        return Verdict.CONTRADICTED
    return single


def none_crash(rows: Sequence[Count]) -> Verdict:
    """Judge the claim that none of some rows crashes in more than half of its runs."""
    return all_crash([Count(row.total - row.crashed, row.total, row.is_certain) for row in rows])


def most_crash(rows: Sequence[Count]) -> Verdict:
    """Judge the claim that rows crash in most cases: in more than half of their runs together."""
    return is_above(together(rows).interval, HALF)


def together(rows: Sequence[Count]) -> Count:
    """Return the sum of some counts.

    Its Wilson interval takes the runs for draws of one kind. The rows are fixed and differ, which
    makes the true spread of the sum smaller: the interval errs on the careful side.
    """
    return Count(
        crashed=sum(row.crashed for row in rows),
        total=sum(row.total for row in rows),
        is_certain=all(row.is_certain for row in rows),
    )
