"""The paper's side of a claim: its printed numbers, one run each, with an assumed spread."""

from __future__ import annotations

import math

from scaledrelu.config.milestones import Milestone
from scaledrelu.reports.claims.decision import Count, Interval, Verdict
from scaledrelu.reports.claims.findings import Measured, NoNumber
from scaledrelu.reports.claims.rows import Place
from scaledrelu.reports.claims.spec import WHERE, PrintedNoise
from scaledrelu.reports.comparison import NO_SHARES
from scaledrelu.reports.statistics import NORMAL, resolvable
from scaledrelu.tables.cell_planner import compose_at_paper
from scaledrelu.tables.composer import Compose
from scaledrelu.tables.table import CRASH, MISSING


class Printed:
    """What the paper's tables print.

    Args:
        noise: what one printed number is taken to be worth.
        compose: overrides -> composed config, which knows the size of the paper's data sets.
    """

    def __init__(self, noise: PrintedNoise, compose: Compose) -> None:
        self._noise, self._compose = noise, compose

    def difference(self, one: Place, other: Place) -> Measured:
        """Return one minus other as printed, with the assumed interval.

        Args:
            one: a row.
            other: the row that it is compared with.
        """
        values = papers_value(one), papers_value(other)
        counts = [self._images(place) for place in (one, other)]
        images = None if None in counts else min(counts)
        return self._minus(values, self._sd(one), images, digits=one.column.digits)

    def value(self, place: Place) -> Measured:
        """Return what is printed: the text's number is the table's."""
        value = papers_value(place)
        return Measured(Interval(value, value, value), 1)

    def count(self, place: Place) -> Count:
        """Return the one run behind a row; a printed crash is taken for how its runs end."""
        printed = place.row.paper[place.column.name]
        if printed == MISSING:
            raise NoNumber(Verdict.NOT_TESTABLE, f"{place.title} is not the paper's")
        return Count(int(printed == CRASH), 1, is_certain=True)

    def runs(self, place: Place) -> tuple[str, ...]:
        """Return no run: the paper publishes none."""
        return ()

    def lead(self, one: Milestone, other: Milestone) -> Measured:
        """Return one minus other as the text prints them.

        Args:
            one: a milestone.
            other: another one at the same epoch.
        """
        return self._minus((one.paper, other.paper), self._noise.early_sd, None, digits=1)

    def reached(self, milestone: Milestone) -> Measured:
        """Return what the text prints; no table has it."""
        raise NoNumber(Verdict.NOT_TESTABLE, "printed in the text, not in a table")

    def compares_sizes(self, place: Place) -> bool:
        """Say yes: these are the paper's own numbers."""
        return True

    def _minus(
        self, values: tuple[float, float], sd: float, images: int | None, *, digits: int
    ) -> Measured:
        half = NORMAL * math.sqrt(2) * sd
        if images is not None:
            half = math.hypot(half, 100 * resolvable(*(v / 100 for v in values), images))
        interval = Interval.around(values[0] - values[1], half)
        note = " against ".join(f"{value:.{digits}f}" for value in values)
        return Measured(interval, 1, images, note=note)

    def _sd(self, place: Place) -> float:
        if place.column.source not in self._noise.seed_sd:
            raise NoNumber(
                Verdict.NOT_TESTABLE,
                f"{WHERE} assumes no spread over seeds for {place.column.source}",
            )
        return self._noise.seed_sd[place.column.source]

    def _images(self, place: Place) -> int | None:
        """Return what a printed number is a share of; None for a mean, or where it is unknown."""
        if place.column.source in NO_SHARES:
            return None
        composed, _ = compose_at_paper(self._compose, place.row, place.column)
        expected = composed.config.data.build.get("expect") or {}
        return expected.get("query", expected.get("val"))


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
