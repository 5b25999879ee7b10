"""What either side of a claim answers: our runs, and the numbers that the paper prints."""

from __future__ import annotations

from dataclasses import dataclass

from scaledrelu.reports.claims.decision import Interval, Verdict
from scaledrelu.reports.claims.per_image import McNemar
from scaledrelu.reports.claims.rows import Place


class NoNumber(Exception):  # noqa: N818 (not an error: an answer without a number)
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


def papers_value(place: Place) -> float:
    """Return the number that the paper prints for a row.

    Raises:
        NoNumber: it prints none, a crash, or one that is a misprint.
    """
    printed = place.row.paper[place.column.name]
    if isinstance(printed, str):
        raise NoNumber(Verdict.NOT_TESTABLE, f"the paper prints {printed} in {place.title}")
    if place.column.name in place.row.misprints:
        raise NoNumber(Verdict.NOT_TESTABLE, f"the number in {place.title} is a misprint")
    return float(printed)
