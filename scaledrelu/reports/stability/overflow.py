"""Would half precision have overflowed, and does that tell which runs crash?

Every evaluation watches the same few validation images: the largest output of any layer, and the
largest product of a query and a key as fp16 would form it in the attention of 2021 (recipes
section 2). Between two evaluations, on other images and in training mode, values may be larger.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from scaledrelu.config.places import EVIDENCE, METRICS
from scaledrelu.reports.statistics import kendall_tau_b
from scaledrelu.runs.damage import RecordError
from scaledrelu.runs.evidence import read_arrays, read_metrics
from scaledrelu.runs.record import run_directory
from scaledrelu.runs.result import NON_FINITE, Outcome, Result
from scaledrelu.tables.plan import Plan, PlannedRun
from scaledrelu.tables.table import Table

LIMIT = 65504.0  # largest finite number of fp16
KINDS = ("activation", "score")
EITHER = "either"
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Largest:
    """The largest magnitude of one kind that a run was seen with.

    Attributes:
        value: None where no evaluation was made; infinity where it was not a number.
        series: steps done -> value at that evaluation; empty in records of older versions.
    """

    value: float | None
    series: Mapping[int, float]

    @property
    def is_over(self) -> bool | None:
        """Whether fp16 would have overflowed; None where not recorded."""
        return None if self.value is None else self.value > LIMIT

    @property
    def first_over(self) -> int | None:
        """Steps done at the first evaluation that saw an overflow."""
        return next((step for step, value in self.series.items() if value > LIMIT), None)


@dataclass(frozen=True, slots=True)
class Watched:
    """One finished run: how it ended, and the largest values that it was seen with.

    Attributes:
        run: the run.
        crashed: whether it crashed.
        judged: mean training loss of its last window; infinity where a loss was not finite.
        died_at: first step of the crash; of a collapse the first step of the dead stretch.
        largest: activation and score.
        damage: which file of its record cannot be read, and why; what it says is left out.
    """

    run: PlannedRun
    crashed: bool
    judged: float | None
    died_at: int | None
    largest: Mapping[str, Largest]
    damage: str

    def is_over(self, kind: str) -> bool | None:
        """Whether a kind, or either, would have overflowed; None where not recorded."""
        found = [self.largest[one].is_over for one in (KINDS if kind == EITHER else (kind,))]
        return None if None in found else any(found)

    def first_over(self, kind: str) -> int | None:
        """Steps done at the first evaluation that saw an overflow of a kind, or of either."""
        kinds = KINDS if kind == EITHER else (kind,)
        steps = [self.largest[one].first_over for one in kinds]
        return min((step for step in steps if step is not None), default=None)

    @property
    def has_series(self) -> bool:
        """Whether it is known when the values were what."""
        return all(self.largest[kind].series for kind in KINDS)

    @property
    def unknown(self) -> str:
        """What stands in place of a value that it does not say."""
        return "damaged" if self.damage else "not recorded"


@dataclass(frozen=True, slots=True)
class Prediction:
    """How well an overflow tells crashes, over the runs of one method where it is known.

    Attributes:
        kind: ``activation``, ``score`` or ``either``.
        over_crash: runs with an overflow that crashed, and so on.
        tau: Kendall's tau-b of the largest value with the judged loss; None for ``either``.
        num_ranked: runs that the order is over.
        before: crashed runs in which the overflow was seen before the death, among ``timed``.
        timed: crashed runs that say when.
    """

    kind: str
    over_crash: int
    over_held: int
    under_crash: int
    under_held: int
    tau: float | None
    num_ranked: int
    before: int
    timed: int

    @property
    def total(self) -> int:
        """Runs counted."""
        return self.over_crash + self.over_held + self.under_crash + self.under_held

    @property
    def right(self) -> int:
        """Runs that "an overflow means a crash, no overflow means none" gets right."""
        return self.over_crash + self.under_held

    @property
    def constant(self) -> int:
        """What the better constant guess gets right: that all crash, or that none does."""
        crashed = self.over_crash + self.under_crash
        return max(crashed, self.total - crashed)


def watch_runs(plan: Plan, table: Table) -> list[Watched]:
    """Return the finished runs of a table, those that others start from included.

    Args:
        plan: the plan that the table belongs to.
        table: the table.
    """
    runs = (run for run in plan.runs_of(table) if run.result is not None)
    return [_watched(run, run.result, run_directory(plan.results, run.run_id)) for run in runs]


def predict(watched: Sequence[Watched], kind: str) -> Prediction | None:
    """Count overflows by crashes; None where no run says whether there was one.

    Args:
        watched: finished runs of one method, whose judged losses can be compared.
        kind: ``activation``, ``score`` or ``either``.
    """
    known = [(run, over) for run in watched if (over := run.is_over(kind)) is not None]
    if not known:
        return None
    told = [(over, run.crashed) for run, over in known]
    ranked = [
        (run.largest[kind].value, run.judged)
        for run, _ in known
        if kind != EITHER and run.judged is not None
    ]
    timed = [run for run, _ in known if run.crashed and run.has_series]
    early = [r for r in timed if (first := r.first_over(kind)) is not None and first <= r.died_at]
    return Prediction(
        kind=kind,
        over_crash=told.count((True, True)),
        over_held=told.count((True, False)),
        under_crash=told.count((False, True)),
        under_held=told.count((False, False)),
        tau=kendall_tau_b(*zip(*ranked, strict=True)) if len(ranked) > 1 else None,
        num_ranked=len(ranked),
        before=len(early),
        timed=len(timed),
    )


def _watched(run: PlannedRun, result: Result, folder: Path) -> Watched:
    crash, judgement = result.crash or {}, result.judgement or {}
    non_finite = crash.get("kind") == NON_FINITE
    series, lost_rows = _or_damage(lambda: _series(folder), {kind: {} for kind in KINDS})
    maxima, lost_arrays = _or_damage(lambda: _maxima(folder), {})
    largest = {}
    for kind in KINDS:
        seen = [*([maxima[kind]] if kind in maxima else []), *series[kind].values()]
        largest[kind] = Largest(max(seen, default=None), series[kind])
    return Watched(
        run=run,
        crashed=result.outcome is Outcome.CRASH,
        judged=math.inf if non_finite else judgement.get("last_mean"),
        died_at=crash.get("step") if result.dead_from is None else result.dead_from,
        largest=largest,
        damage=", ".join(filter(None, (lost_rows, lost_arrays))),
    )


def _or_damage(read: Callable[[], Found], nothing: Found) -> tuple[Found, str]:
    """Return what a file says and no damage, or nothing and what is wrong with the file."""
    try:
        return read(), ""
    except RecordError as error:
        return nothing, str(error)


def _series(folder: Path) -> dict[str, dict[int, float]]:
    rows = read_metrics(folder) or []
    names = {kind: f"largest/{kind}" for kind in KINDS}
    return {
        kind: {row["step"]: _number(row[name], METRICS, name) for row in rows if name in row}
        for kind, name in names.items()
    }


def _maxima(folder: Path) -> dict[str, float]:
    names = {f"max.{kind}": kind for kind in KINDS}
    found = read_arrays(folder, names) or {}
    return {names[name]: _number(value, EVIDENCE, name) for name, value in found.items()}


def _number(value: Any, file: str, name: str) -> float:
    """Return a magnitude; one that was no longer a number counts as infinite."""
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise RecordError(f"{file} damaged ({name} is not a number)") from error
    return number if math.isfinite(number) else math.inf
