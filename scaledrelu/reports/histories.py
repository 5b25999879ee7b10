"""The training of a finished run as curves: training loss and validation metric over its epochs.

Decides where a point lies: a validation value after so many finished epochs, a training loss at the
end of the updates that it is the mean of, at most one point an epoch. A run whose ``metrics.jsonl``
cannot be read has no curves, and says why.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scaledrelu.config.places import METRICS
from scaledrelu.reports.cells import UPSTREAM
from scaledrelu.runs.damage import RecordError
from scaledrelu.runs.evidence import read_metrics
from scaledrelu.runs.record import run_directory
from scaledrelu.runs.result import COLLAPSED, Outcome, Result
from scaledrelu.tables.plan import Plan, PlannedRun

LOSS = "train/loss"
UNDATED = "at the end: when is not recorded"  # the crash
DEAD_ALREADY = "dead already when first judged"


@dataclass(frozen=True, slots=True)
class Point:
    """A value after so many epochs and updates."""

    epochs: float
    step: int
    value: float


@dataclass(frozen=True, slots=True)
class History:
    """The curves of one run.

    Attributes:
        run: the run.
        metric: name of the validation metric, the run's headline.
        loss: mean training loss.
        validation: its values.
        crashed_at: epochs at the crash, of a collapse at the start of the dead stretch that it
            ended in; None for a run that held, or where it is not known.
        absent: why there are no curves; empty where there are.
    """

    run: PlannedRun
    metric: str
    loss: tuple[Point, ...] = ()
    validation: tuple[Point, ...] = ()
    crashed_at: float | None = None
    absent: str = ""

    @property
    def crashed(self) -> bool:
        """Whether the run ended as a crash."""
        return self.run.result is not None and self.run.result.outcome is Outcome.CRASH

    @property
    def kind(self) -> str:
        """How it crashed; empty for a run that held."""
        return str((self.run.result.crash or {}).get("kind", "")) if self.run.result else ""

    @property
    def doubt(self) -> str:
        """Why ``crashed_at`` need not be when a collapse began; empty where it is."""
        if self.kind != COLLAPSED:
            return ""
        judged, dead_from = self.run.result.judgement or {}, self.run.result.dead_from
        if dead_from is None:
            return UNDATED
        return DEAD_ALREADY if dead_from <= judged["judge_step"] - judged["window_steps"] else ""


def read_history(plan: Plan, run: PlannedRun, metric: str) -> History:
    """Return the curves of a run; none, with the reason, where there are none.

    Args:
        plan: the plan that the run belongs to.
        run: a planned run.
        metric: the validation metric.
    """
    if run.result is None:
        crashed = plan.crashed_upstream(run)
        return History(run, metric, absent=UPSTREAM if crashed else str(run.status))
    try:
        rows = read_metrics(run_directory(plan.results, run.run_id))
        if rows is None:
            raise RecordError(f"no {METRICS}")
        if not rows and run.result.outcome is not Outcome.CRASH:  # that may come before any record
            raise RecordError(f"{METRICS} damaged (no rows)")
        per_epoch = _steps_per_epoch(run)
        points = {name: tuple(_points(rows, name, per_epoch)) for name in (LOSS, metric)}
    except RecordError as error:
        return History(run, metric, absent=str(error))
    loss = tuple(_one_an_epoch(points[LOSS]))
    return History(run, metric, loss, points[metric], _crashed_at(run.result, per_epoch))


def _steps_per_epoch(run: PlannedRun) -> float:
    total = run.result.provenance.get("steps")
    if not isinstance(total, int) or total < 1:
        raise RecordError("the number of updates is not recorded")
    return total / run.config.run_epochs


def _crashed_at(result: Result, per_epoch: float) -> float | None:
    """Return the epochs that were done when a run crashed; None where nothing says it."""
    if result.dead_from is not None:
        return result.dead_from / per_epoch
    step = (result.crash or {}).get("step")
    return (step + 1) / per_epoch if isinstance(step, int) else None


def _points(rows: Sequence[Mapping[str, Any]], name: str, per_epoch: float) -> Iterator[Point]:
    """Yield the finite values of a name; ``nan`` and ``inf`` are written as words."""
    for row in rows:
        try:
            value = float(row.get(name, math.nan))
        except (TypeError, ValueError) as error:
            raise RecordError(f"{METRICS} damaged ({name} is not a number)") from error
        if math.isfinite(value):
            yield Point(row["step"] / per_epoch, row["step"], value)


def _one_an_epoch(points: Sequence[Point]) -> Iterator[Point]:
    """Yield one point for each epoch that has any: the mean over the updates behind its points."""
    before, weights, total = 0, 0, 0.0
    for number, point in enumerate(points):
        weights += point.step - before
        total += (point.step - before) * point.value
        before = point.step
        is_last = number + 1 == len(points)
        if is_last or math.ceil(points[number + 1].epochs) > math.ceil(point.epochs):
            if weights:
                yield Point(point.epochs, point.step, total / weights)
            weights, total = 0, 0.0
