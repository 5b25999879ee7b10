"""Our side of a claim: the finished runs of a plan."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from scaledrelu.config.milestones import Milestone
from scaledrelu.reports.cells import CellValue, SeedValue, read_cell
from scaledrelu.reports.claims.decision import Count, Interval, Verdict
from scaledrelu.reports.claims.findings import Measured, NoNumber
from scaledrelu.reports.claims.limits import count_at
from scaledrelu.reports.claims.per_image import (
    McNemar,
    mcnemar,
    over_images,
    right_images,
    share_images,
    stacked,
    widened,
)
from scaledrelu.reports.claims.rows import Place
from scaledrelu.reports.comparison import share_of
from scaledrelu.reports.histories import read_history
from scaledrelu.reports.reached import nearest_evaluation, why_not_compared
from scaledrelu.reports.statistics import estimate, resolvable
from scaledrelu.runs.record import Status
from scaledrelu.tables.captions import title_of
from scaledrelu.tables.plan import Cell, Plan

Pair = tuple[SeedValue, SeedValue]
OTHER_DATA = "its size needs the paper's data"


class Ours:
    """The runs behind the tables of one profile.

    Args:
        plan: the tables that claims are about, as far as the profile has them.
        milestones: claim -> the row of a milestone's run, if there is one.
    """

    def __init__(self, plan: Plan, milestones: Mapping[str, Place | None]) -> None:
        self._plan, self._milestones = plan, milestones
        self._values = {_key(cell): read_cell(plan, cell) for cell in plan.cells}

    def difference(self, one: Place, other: Place) -> Measured:
        """Return one minus other over the seeds that both have, in points.

        Args:
            one: a row.
            other: the row that it is compared with.
        """
        pairs = self._pairs(one, other)
        differences = {seed: a.value - b.value for seed, (a, b) in pairs.items()}
        return _spread(pairs, differences, self._images(one, other, pairs))

    def value(self, place: Place) -> Measured:
        """Return the mean over all finished seeds, in percent."""
        found = self._finished(place)
        if found.all_seeds is None:
            raise NoNumber(Verdict.UNDECIDED, f"no run of {place.title} has a value: all crashed")
        size = found.all_seeds
        runs = tuple(seed.run.run_id for seed in found.finished)
        return Measured(Interval.around(size.mean, size.half), size.n, share_of(found), runs=runs)

    def count(self, place: Place) -> Count:
        """Return how many of a row's finished runs crashed."""
        found = self._finished(place)
        return Count(found.count(Status.CRASH), len(found.finished))

    def count_at(self, place: Place, ratio: float, usual: float) -> Count:
        """Return how many would have crashed by another limit.

        Args:
            place: a row.
            ratio: the limit, as a share of the loss of a uniform guess.
            usual: the ratio that is replaced.
        """
        return count_at(self._finished(place), ratio, usual)

    def runs(self, place: Place) -> tuple[str, ...]:
        """Return the ids of a row's finished runs."""
        return tuple(seed.run.run_id for seed in self._finished(place).finished)

    def lead(self, one: Milestone, other: Milestone) -> Measured:
        """Return one minus other at the epoch that is as far into training as the paper's.

        Args:
            one: a milestone.
            other: another one at the same epoch.
        """
        places = self._place(one), self._place(other)
        pairs = self._shared(*places)
        reached = {
            seed: (self._at(one, pair[0]), self._at(other, pair[1])) for seed, pair in pairs.items()
        }
        reached = {seed: pair for seed, pair in reached.items() if None not in pair}
        if not reached:
            raise NoNumber(
                Verdict.NOT_RUN, f"no record of {places[0].title} goes back to that epoch"
            )
        differences = {seed: a - b for seed, (a, b) in reached.items()}
        pairs = {seed: pairs[seed] for seed in differences}
        levels = np.mean(list(reached.values()), axis=0)
        count = share_of(self._finished(places[0]))
        images = None if count is None else (100 * resolvable(*(levels / 100), count), count, ())
        return _spread(pairs, differences, images)

    def reached(self, milestone: Milestone) -> Measured:
        """Return the value at an epoch, in percent, on the paper's data only."""
        place = self._place(milestone)
        if not self.compares_sizes(place):
            raise NoNumber(Verdict.NOT_TESTABLE, OTHER_DATA)
        found = self._finished(place)
        values = {s.run.seed: self._at(milestone, s) for s in found.finished}
        values = {seed: value for seed, value in values.items() if value is not None}
        if not values:
            raise NoNumber(Verdict.NOT_RUN, f"no record of {place.title} goes back to that epoch")
        size = estimate(list(values.values()))
        return Measured(Interval.around(size.mean, size.half), len(values), share_of(found))

    def compares_sizes(self, place: Place) -> bool:
        """Say whether a row is trained on the paper's data set."""
        return self.cell(place).cell.on_papers_data

    def cell(self, place: Place) -> CellValue:
        """Return all runs of a row.

        Raises:
            NoNumber: the profile does not have the row's table.
        """
        found = self._values.get(_key(place))
        if found is None:
            raise NoNumber(
                Verdict.NOT_TESTABLE,
                f"{title_of(place.table.name)} is not part of profile {self._plan.profile}",
            )
        return found

    def _finished(self, place: Place) -> CellValue:
        found = self.cell(place)
        if not found.finished:
            raise NoNumber(Verdict.NOT_RUN, f"no run of {place.title} has finished")
        return found

    def _shared(self, one: Place, other: Place) -> dict[int, Pair]:
        """Return the finished runs of the seeds that both rows have."""
        first, second = (
            {seed.run.seed: seed for seed in self._finished(place).finished}
            for place in (one, other)
        )
        return {seed: (run, second[seed]) for seed, run in first.items() if seed in second}

    def _pairs(self, one: Place, other: Place) -> dict[int, Pair]:
        shared = self._shared(one, other)
        if not shared:
            titles = f"{one.title} and {other.title}"
            raise NoNumber(Verdict.NOT_RUN, f"{titles} have no finished seed in common")
        pairs = {
            seed: (a, b)
            for seed, (a, b) in shared.items()
            if a.value is not None and b.value is not None
        }
        if not pairs:
            raise NoNumber(
                Verdict.UNDECIDED, "no pair of runs has values: runs crashed without one"
            )
        return pairs

    def _images(
        self, one: Place, other: Place, pairs: Mapping[int, Pair]
    ) -> tuple[float, int, tuple[McNemar, ...]] | None:
        """Return what images make of a difference: half an interval, their number, tests."""
        right = {seed: self._right(one, other, pair) for seed, pair in pairs.items()}
        if None not in right.values() and len({len(a) for a, _ in right.values()}) == 1:
            tests = tuple(mcnemar(seed, a, b) for seed, (a, b) in right.items())
            differences_SN = stacked(list(right.values()))
            return over_images(differences_SN), differences_SN.shape[1], tests
        counts = [share_of(self.cell(place)) for place in (one, other)]
        if None in counts:
            return None
        levels = [np.mean([pair[i].value for pair in pairs.values()]) / 100 for i in (0, 1)]
        return 100 * resolvable(*map(float, levels), min(counts)), min(counts), ()

    def _right(self, one: Place, other: Place, pair: Pair) -> tuple[np.ndarray, np.ndarray] | None:
        """Return per image whether either run is right; None where that is not known."""
        if not share_images(pair[0].run, pair[1].run):
            return None
        first, second = (
            right_images(self._plan.results, seed.run, place.column.source, seed.value)
            for seed, place in zip(pair, (one, other), strict=True)
        )
        if first is None or second is None or len(first) != len(second):
            return None
        return first, second

    def _place(self, milestone: Milestone) -> Place:
        """Return the row of a milestone's run, if the profile evaluates near its epoch."""
        place = self._milestones[milestone.claim]
        if place is None:
            raise NoNumber(Verdict.NOT_TESTABLE, f"the run of {milestone.claim} is not a named row")
        if why := why_not_compared(milestone.epoch, self.cell(place).cell.composed.config):
            raise NoNumber(Verdict.NOT_TESTABLE, why)
        return place

    def _at(self, milestone: Milestone, seed: SeedValue) -> float | None:
        """Return the value of the evaluation nearest to an epoch, if one is near."""
        config = seed.run.config
        epochs = milestone.epoch * config.profile.epoch_scale
        points = read_history(self._plan, seed.run, milestone.metric).validation
        values = {point.epochs: point.value for point in points}
        near = nearest_evaluation(epochs, values) if values else math.inf
        return values[near] if abs(near - epochs) <= config.evaluation.every_epochs / 2 else None


def _key(at: Place | Cell) -> tuple[str, int, str, str]:
    return at.table.name, at.row.number, at.row.block, at.column.name


def _spread(
    pairs: Mapping[int, Pair],
    differences: Mapping[int, float],
    images: tuple[float, int, tuple[McNemar, ...]] | None,
) -> Measured:
    half, count, tests = images or (None, None, ())
    size = estimate(list(differences.values()))
    runs = tuple(dict.fromkeys(s.run.run_id for pair in pairs.values() for s in pair))
    interval = Interval.around(size.mean, widened(size.half, half), bound=100)
    return Measured(interval, len(differences), count, tests, runs)
