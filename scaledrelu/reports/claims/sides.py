"""What either side of a claim can be asked: our runs, and the numbers that the paper prints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from scaledrelu.config.milestones import Milestone
from scaledrelu.reports.claims.decision import Count, Interval, Verdict
from scaledrelu.reports.claims.per_image import McNemar
from scaledrelu.reports.claims.rows import Place


class Untold(Exception):  # noqa: N818 (no error: an answer that holds no number)
    """Why a side has no number for a check, and the verdict that follows."""

    def __init__(self, verdict: Verdict, reason: str) -> None:
        super().__init__(reason)
        self.verdict, self.reason = verdict, reason


@dataclass(frozen=True, slots=True)
class Measured:
    """A number with its interval and what it rests on.

    Attributes:
        interval: in points or percent.
        seeds: pairs of runs, or runs.
        images: validation images, or queries; None where only the seeds decide.
        tests: per seed, where both runs' images are known.
        runs: ids of the runs.
        note: what else is to be known.
    """

    interval: Interval
    seeds: int
    images: int | None = None
    tests: tuple[McNemar, ...] = ()
    runs: tuple[str, ...] = ()
    note: str = ""


class Side(Protocol):
    """Answers about rows; every method raises `Untold` where it has no number."""

    def difference(self, one: Place, other: Place) -> Measured:
        """Return one minus other, in points.

        Args:
            one: a row.
            other: the row that it is compared with.
        """
        ...

    def value(self, place: Place) -> Measured:
        """Return a row's value, in percent."""
        ...

    def count(self, place: Place) -> Count:
        """Return how many runs of a row crashed."""
        ...

    def runs(self, place: Place) -> tuple[str, ...]:
        """Return the ids of a row's finished runs."""
        ...

    def lead(self, one: Milestone, other: Milestone) -> Measured:
        """Return one minus other at their epoch, in points.

        Args:
            one: a milestone.
            other: another one at the same epoch.
        """
        ...

    def reached(self, milestone: Milestone) -> Measured:
        """Return the value at an epoch, in percent."""
        ...

    def compares_sizes(self, place: Place) -> bool:
        """Say whether numbers of a row can be compared with the paper's, not only their order."""
        ...


def papers_value(place: Place) -> float:
    """Return the number that the paper prints for a row.

    Raises:
        Untold: it prints none, a crash, or one that is a misprint.
    """
    printed = place.row.paper[place.column.name]
    if isinstance(printed, str):
        raise Untold(Verdict.NOT_TESTABLE, f"the paper prints {printed} in {place.title}")
    if place.column.name in place.row.misprints:
        raise Untold(Verdict.NOT_TESTABLE, f"the number in {place.title} is a misprint")
    return float(printed)
