"""Our side of a claim: the finished runs of a plan."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from scaledrelu.config.milestones import Milestone
from scaledrelu.reports.cells import CellValue, SeedValue, read_cell
from scaledrelu.reports.claims.decision import Count, Interval, Verdict
from scaledrelu.reports.claims.limits import count_at
from scaledrelu.reports.claims.per_image import (
    McNemar,
    mcnemar,
    over_images,
    right_images,
    share_images,
    spread,
    stacked,
)
from scaledrelu.reports.claims.rows import Place
from scaledrelu.reports.claims.sides import Measured, NoNumber
from scaledrelu.reports.comparison import share_of
from scaledrelu.reports.histories import read_history
from scaledrelu.reports.reached import nearest_evaluation, why_not_compared
from scaledrelu.reports.statistics import resolvable
from scaledrelu.runs.record import Status
from scaledrelu.tables.captions import title_of
from scaledrelu.tables.plan import Plan

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
        self._cells = {
            (cell.table.name, cell.row.number, cell.row.block, cell.column.name): cell
            for cell in plan.cells
        }
        self._read: dict[tuple[str, int, str, str], CellValue] = {}
        self._right_images: dict[tuple[str, str], np.ndarray | None] = {}

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
        size = spread(values, None)
        return Measured(Interval.around(size.mean, size.half), len(values), share_of(found))

    def compares_sizes(self, place: Place) -> bool:
        """Say whether a row is trained on the paper's data set."""
        return self.cell(place).cell.on_papers_data

    def cell(self, place: Place) -> CellValue:
        """Return all runs of a row, read once.

        Raises:
            NoNumber: the profile does not have the row's table.
        """
        key = (place.table.name, place.row.number, place.row.block, place.column.name)
        if key not in self._cells:
            raise NoNumber(
                Verdict.NOT_TESTABLE,
                f"{title_of(place.table.name)} is not part of profile {self._plan.profile}",
            )
        if key not in self._read:
            self._read[key] = read_cell(self._plan, self._cells[key])
        return self._read[key]

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
        sizes = {len(a) for a, _ in right.values() if a is not None}
        if all(a is not None and b is not None for a, b in right.values()) and len(sizes) == 1:
            tests = tuple(mcnemar(seed, a, b) for seed, (a, b) in right.items())
            return over_images(stacked(list(right.values()))), sizes.pop(), tests
        counts = [share_of(self.cell(place)) for place in (one, other)]
        if None in counts:
            return None
        levels = [np.mean([pair[i].value for pair in pairs.values()]) / 100 for i in (0, 1)]
        return 100 * resolvable(*map(float, levels), min(counts)), min(counts), ()

    def _right(self, one: Place, other: Place, pair: Pair) -> tuple:
        """Return per image whether either run is right; None twice where that is not known."""
        metrics = one.column.source, other.column.source
        if not share_images(pair[0].run, pair[1].run):
            return None, None
        found = [self._images_of(*one) for one in zip(pair, metrics, strict=True)]
        known = all(part is not None for part in found) and len(found[0]) == len(found[1])
        return tuple(found) if known else (None, None)

    def _images_of(self, seed: SeedValue, metric: str) -> np.ndarray | None:
        """Return per image whether a run is right, read once: rows are compared with several."""
        key = (seed.run.run_id, metric)
        if key not in self._right_images:
            found = right_images(self._plan.results, seed.run, metric, seed.value)
            self._right_images[key] = found
        return self._right_images[key]

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


def _spread(
    pairs: Mapping[int, Pair],
    differences: Mapping[int, float],
    images: tuple[float, int, tuple[McNemar, ...]] | None,
) -> Measured:
    half, count, tests = images or (None, None, ())
    found = spread(differences, half)
    runs = tuple(dict.fromkeys(s.run.run_id for pair in pairs.values() for s in pair))
    interval = Interval.around(found.mean, found.half, bound=100)
    return Measured(interval, len(differences), count, tests, runs)
