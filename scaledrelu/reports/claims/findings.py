"""What was found about each claim, by our runs and by the printed numbers; nothing but values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from scaledrelu.reports.claims.decision import (
    Count,
    Interval,
    Verdict,
    combine,
    with_preconditions,
)
from scaledrelu.reports.claims.per_image import McNemar
from scaledrelu.reports.claims.spec import Relation
from scaledrelu.reports.statistics import telling_digits

POINTS, OF_RUNS, COSINE, PERCENT = "points", "of runs", "cosine", "%"
DIGITS = {POINTS: 1, PERCENT: 1, COSINE: 2}  # behind the point, where these suffice


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


@dataclass(frozen=True, slots=True)
class Said:
    """What one side says of one relation between cells.

    Attributes:
        verdict: on this relation alone.
        interval: the number behind it; None without one.
        unit: of the number.
        seeds: runs, or pairs of runs.
        images: what a share is a share of; None where only the seeds decide.
        tests: McNemar's test of every seed.
        counts: crashed runs of each row, for relations about crashes.
        counts_at: the same by other limits for crashes, the profile's own limit first.
        reason: why there is no number, or what else is to be known.
        runs: ids of the runs.
        turns_at: the numbers at which the verdict turns, in the unit.
    """

    verdict: Verdict
    interval: Interval | None = None
    unit: str = ""
    seeds: int = 0
    images: int | None = None
    tests: tuple[McNemar, ...] = ()
    counts: tuple[Count, ...] = ()
    counts_at: Mapping[float, tuple[Count, ...]] = field(default_factory=dict)
    reason: str = ""
    runs: tuple[str, ...] = ()
    turns_at: tuple[float, ...] = ()

    @property
    def digits(self) -> int:
        """How many digits behind the point show on which side of a limit the interval ends."""
        found, scale = self.interval, 100 if self.unit == OF_RUNS else 1  # printed in percent
        ends = [] if found is None or found.low is None else [found.low, found.high]
        pairs = [(scale * end, scale * limit) for end in ends for limit in self.turns_at]
        return telling_digits(pairs, DIGITS.get(self.unit, 0))


@dataclass(frozen=True, slots=True, order=True)
class CellName:
    """One metric of one row of a table."""

    table: str
    row: int
    column: str

    def __str__(self) -> str:
        return f"{self.table}:{self.row}:{self.column}"


@dataclass(frozen=True, slots=True)
class Part:
    """One relation between cells: what it is in words, and what either side says.

    Attributes:
        text: the relation in words.
        relation: which.
        cells: what it is about.
        ours: by our runs.
        paper: by the printed numbers.
        is_given: whether the claim takes it for granted.
        can_be_supported: whether the best outcome with these seeds and images would support it.
    """

    text: str
    relation: Relation
    cells: tuple[CellName, ...]
    ours: Said
    paper: Said
    is_given: bool = False
    can_be_supported: bool = True


@dataclass(frozen=True, slots=True)
class Judged:
    """A claim and the verdicts on it."""

    name: str
    section: str
    says: str
    is_headline: bool
    parts: tuple[Part, ...]

    @property
    def verdict(self) -> Verdict:
        """What our runs say."""
        says = combine(part.ours.verdict for part in self.parts if not part.is_given)
        return with_preconditions([part.ours.verdict for part in self.given], says)

    @property
    def papers_verdict(self) -> Verdict:
        """What the printed numbers say."""
        says = combine(part.paper.verdict for part in self.parts if not part.is_given)
        return with_preconditions([part.paper.verdict for part in self.given], says)

    @property
    def given(self) -> tuple[Part, ...]:
        """What the claim takes for granted."""
        return tuple(part for part in self.parts if part.is_given)

    @property
    def can_be_supported(self) -> bool:
        """Whether the best outcome with these seeds and images would support it."""
        told = [part for part in self.parts if part.ours.verdict is not Verdict.NOT_TESTABLE]
        return all(part.can_be_supported for part in told)

    @property
    def is_setting(self) -> bool:
        """Whether the claim is a fact about the set-up, which needs no run."""
        return all(part.relation is Relation.SETTING for part in self.parts)

    @property
    def can_be_decided(self) -> bool:
        """Whether runs of this profile can decide it: they have the rows and the numbers for it."""
        return not self.is_setting and self.verdict is not Verdict.NOT_TESTABLE
