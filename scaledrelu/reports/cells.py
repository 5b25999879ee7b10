"""What the finished runs of one cell add up to, over its seeds; no seed is dropped in silence."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from scaledrelu.reports.statistics import Estimate, estimate
from scaledrelu.runs.record import Status
from scaledrelu.runs.result import Outcome, Result
from scaledrelu.tables.plan import Cell, Plan, PlannedRun
from scaledrelu.tables.table import MISSING

UPSTREAM = "upstream crashed"  # it starts from a run that crashed, and cannot start
TEACHER = "teacher crashed"  # of its label maps, which are missing


@dataclass(frozen=True, slots=True)
class SeedValue:
    """One run of a cell."""

    run: PlannedRun
    status: Status  # a run that is still going has no result yet: missing
    value: float | None  # what the table prints; of a crashed run, what it ended at
    why: str  # crash kind or first line of the failure
    num_judged: float | None = None  # things the value is a mean over, where that is reported
    last: float | None = None  # at the last epoch
    best: float | None = None  # at the best epoch
    sizes: Mapping[str, int] = field(default_factory=dict)  # images per split, classes
    remarks: tuple[str, ...] = ()  # what its loss did on the way and left again; replaced images
    judged_loss: float | None = None  # mean training loss that the crash rule saw last
    limit: float | None = None  # above which that loss is a crash


@dataclass(frozen=True, slots=True)
class CellValue:
    """All runs of one cell and what they say together."""

    cell: Cell
    seeds: tuple[SeedValue, ...]

    def count(self, status: Status) -> int:
        """Return how many runs ended like this."""
        return sum(seed.status is status for seed in self.seeds)

    @property
    def finished(self) -> tuple[SeedValue, ...]:
        """The runs with a result; a crash is a result."""
        return tuple(seed for seed in self.seeds if seed.status.done)

    @property
    def num_failed(self) -> int:
        """How many runs failed or left a record that is damaged."""
        return self.count(Status.FAILED) + self.count(Status.DAMAGED)

    @property
    def status(self) -> Status:
        """Crash if more than half of the finished runs crashed, else ok; failed, missing if none.

        Whether a row counts as a crash beside the paper rests on this; the numbers do not.
        """
        finished, n_crash = len(self.finished), self.count(Status.CRASH)
        if finished:
            return Status.CRASH if 2 * n_crash > finished else Status.OK
        return Status.FAILED if self.num_failed else Status.MISSING

    @property
    def all_seeds(self) -> Estimate | None:
        """Over every finished run that has a value, crashed ones with what they ended at."""
        return estimate(list(self.values.values()))

    @property
    def held(self) -> Estimate | None:
        """Over the runs that did not crash."""
        return estimate([s.value for s in self.seeds if s.status is Status.OK])

    @property
    def last_epoch(self) -> Estimate | None:
        """Over every finished run, at the last epoch."""
        return estimate([s.last for s in self.seeds if s.last is not None])

    @property
    def best_epoch(self) -> Estimate | None:
        """Over every finished run, at its best epoch."""
        return estimate([s.best for s in self.seeds if s.best is not None])

    @property
    def values(self) -> Mapping[int, float]:
        """Seed -> value, of every finished run that has one."""
        return {s.run.seed: s.value for s in self.seeds if s.value is not None}

    @property
    def num_without_value(self) -> int:
        """How many crashed runs were never judged: they are in no mean."""
        return len(self.finished) - len(self.values)

    @property
    def value(self) -> float | None:
        """The mean over all finished seeds; None where none has a value."""
        return self.all_seeds.mean if self.all_seeds else None

    @property
    def paper(self) -> float | str:
        """What the paper printed: a number, ``crash`` or ``missing``."""
        return self.cell.row.paper[self.cell.column.name]

    @property
    def is_misprint(self) -> bool:
        """Whether what the paper printed is implausible: no target, corrected or not."""
        return self.cell.column.name in self.cell.row.misprints

    @property
    def is_comparable(self) -> bool:
        """Whether the row is one of the table and has something of the paper beside it."""
        return not (self.cell.row.is_baseline or self.is_misprint or self.paper == MISSING)

    @property
    def doubt(self) -> str:
        """What stands in brackets behind the paper's value; empty for one that is a target."""
        name, row = self.cell.column.name, self.cell.row
        if name in row.corrected:
            return f"corrected from {row.corrected[name]:.{self.cell.column.digits}f}"
        return "misprint" if self.is_misprint else ""

    @property
    def target(self) -> float | None:
        """The paper's number; None where it printed none, or one that is not a target."""
        return None if isinstance(self.paper, str) or self.is_misprint else self.paper


def cell_notes(cell: Cell) -> list[str]:
    """Return what a reader has to know of a row beside its numbers."""
    notes = [*filter(None, (cell.row.block_note, cell.row.note))]
    if cell.row.is_reference:
        notes.append("the paper's baseline, which the other rows of its block are compared with")
    config = cell.composed.config
    if "token_weight" in config.task and not config.data.has_labels:
        notes.append("trained without token labels")
    if cell.upstream and cell.row.released_weights:
        elsewhere = ", ".join(cell.row.released_weights)
        notes.append(
            f"starts from our own pre-training; profile {elsewhere}: from released weights"
        )
    return notes


def read_cell(plan: Plan, cell: Cell) -> CellValue:
    """Read the results of a cell's runs; one without the cell's metric has failed here only.

    Args:
        plan: the plan that the cell is part of.
        cell: the cell.
    """
    seeds = [_read_seed(plan, cell, plan.runs[run_id]) for run_id in cell.run_ids]
    return CellValue(cell, tuple(seeds))


def _read_seed(plan: Plan, cell: Cell, run: PlannedRun) -> SeedValue:
    if crashed := plan.crashed_upstream(run):
        # Where training starts from a crashed run the row crashed; missing label maps are a hole.
        teachers = plan.artifacts[run.artifact].artifact.upstream if run.artifact else ()
        if crashed in teachers:
            return SeedValue(run, Status.MISSING, None, f"{TEACHER} ({crashed})")
        return SeedValue(run, Status.CRASH, None, f"{UPSTREAM} ({crashed})")
    if run.result is None:
        status = Status.MISSING if run.status is Status.RUNNING else run.status
        return SeedValue(run, status, None, run.reason or "")
    result = run.result
    crashed = result.outcome is Outcome.CRASH
    printed = cell.column.source
    if run.config.evaluation.report == "best" and not crashed:
        printed += "_best"
    value, judgement = _metric(result, printed), result.judgement or {}
    if value is None and not crashed:
        found = ", ".join(sorted(result.metrics)) or "none"
        why = f"no finite metric '{printed}' (found: {found}): correct the table if it is misspelt"
        return SeedValue(run, Status.FAILED, None, why)
    return SeedValue(
        run=run,
        status=run.status,
        value=value,
        why=str((result.crash or {}).get("kind", "unknown kind")) if crashed else "",
        num_judged=_metric(result, cell.column.judged_on[0]) if cell.column.judged_on else None,
        last=_metric(result, cell.column.source),
        best=_metric(result, f"{cell.column.source}_best"),
        sizes=result.data,
        remarks=tuple(filter(None, (str(judgement.get("remark") or ""), result.replaced))),
        judged_loss=_finite(judgement.get("last_mean")),
        limit=_finite(judgement.get("limit")),
    )


def _metric(result: Result, name: str) -> float | None:
    return _finite(result.metrics.get(name))


def _finite(value: Any) -> float | None:
    return value if isinstance(value, int | float) and math.isfinite(value) else None
