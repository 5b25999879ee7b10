"""What the finished runs of one cell add up to, over its seeds."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass

from scaledrelu.errors import TableError
from scaledrelu.runs.record import Outcome, Result, Status, read_result, run_directory
from scaledrelu.tables.plan import Cell, Plan, PlannedRun


@dataclass(frozen=True, slots=True)
class SeedValue:
    """One run of a cell."""

    run: PlannedRun
    status: Status  # a run that is still going has no result yet: missing
    value: float | None  # a crashed run: what it ended at, if it was evaluated
    why: str  # crash kind or first line of the failure
    over: float | None = None  # how many things the value is a mean over, where that is reported


@dataclass(frozen=True, slots=True)
class CellValue:
    """All runs of one cell and what they say together."""

    cell: Cell
    seeds: tuple[SeedValue, ...]

    def count(self, status: Status) -> int:
        """Return how many runs ended like this."""
        return sum(seed.status is status for seed in self.seeds)

    @property
    def status(self) -> Status:
        """Crash if most finished runs crashed, ok if others finished, else failed or missing."""
        n_ok, n_crash = self.count(Status.OK), self.count(Status.CRASH)
        if n_ok + n_crash:
            return Status.CRASH if 2 * n_crash > n_ok + n_crash else Status.OK
        return Status.FAILED if self.count(Status.FAILED) else Status.MISSING

    @property
    def value(self) -> float | None:
        """Mean of the runs that did not crash; None unless the cell is ok."""
        return statistics.fmean(self._values(Status.OK)) if self.status is Status.OK else None

    @property
    def std(self) -> float | None:
        """Sample standard deviation of the same runs; None for fewer than two."""
        values = self._values(Status.OK)
        return statistics.stdev(values) if self.value is not None and len(values) > 1 else None

    @property
    def last_value(self) -> float | None:
        """Mean of what the crashed runs ended at; None if none was evaluated."""
        values = self._values(Status.CRASH)
        return statistics.fmean(values) if values else None

    @property
    def paper(self) -> float | str:
        """What the paper printed: a number, ``crash`` or ``missing``."""
        return self.cell.row.paper[self.cell.column.name]

    @property
    def is_misprint(self) -> bool:
        """Whether what the paper printed is implausible: no target, corrected or not."""
        return self.cell.column.name in self.cell.row.misprints

    @property
    def doubt(self) -> str:
        """What stands in brackets behind the paper's value; empty for one that is a target."""
        name, row = self.cell.column.name, self.cell.row
        if name in row.corrected:
            return f"corrected from {row.corrected[name]:.{self.cell.column.digits}f}"
        return "misprint" if self.is_misprint else ""

    @property
    def delta(self) -> float | None:
        """Ours minus the paper's, where both are numbers and the paper's is no misprint."""
        if self.value is None or isinstance(self.paper, str) or self.is_misprint:
            return None
        return self.value - self.paper

    def _values(self, status: Status) -> list[float]:
        return [s.value for s in self.seeds if s.status is status and s.value is not None]


def cell_notes(cell: Cell) -> list[str]:
    """Return what a reader has to know of a row beside its numbers."""
    notes = [cell.row.note] if cell.row.note else []
    config = cell.composed.config
    if config["method"] == "volo" and config["data"]["token_labels"] == "none":
        notes.append("trained without token labels")
    if cell.above and cell.row.external:
        elsewhere = ", ".join(cell.row.external)
        notes.append(
            f"starts from our own pre-training; profile {elsewhere}: from released weights"
        )
    return notes


def read_cell(plan: Plan, cell: Cell) -> CellValue:
    """Read the results of a cell's runs; one without the cell's metric has failed here only."""
    seeds = [_read_seed(plan, cell, plan.runs[run_id]) for run_id in cell.run_ids]
    return CellValue(cell, tuple(seeds))


def _read_seed(plan: Plan, cell: Cell, run: PlannedRun) -> SeedValue:
    if crashed := plan.crashed_upstream(run):
        # Where training starts from a crashed run the row crashed; missing label maps are a hole.
        teachers = plan.artifacts[run.artifact].artifact.upstream if run.artifact else ()
        status = Status.MISSING if crashed in teachers else Status.CRASH
        return SeedValue(run, status, None, f"upstream crashed ({crashed})")
    if not run.status.done:
        shown = {Status.RUNNING: Status.MISSING, Status.DAMAGED: Status.FAILED}
        status = shown.get(run.status, run.status)
        return SeedValue(run, status, None, run.reason or "")
    result = read_result(run_directory(plan.results, run.run_id))
    if result is None:
        raise TableError(f"{run.run_id}: its result disappeared while the report was written")
    over = _metric(result, cell.column.over[0]) if cell.column.over else None
    if result.outcome is Outcome.CRASH:
        kind = str((result.crash or {}).get("kind", "unknown kind"))
        return SeedValue(run, run.status, _metric(result, cell.column.source), kind, over)
    printed = cell.column.source
    if run.config["evaluation"]["report"] == "best":
        printed += "_best"
    value = _metric(result, printed)
    if value is None:
        found = ", ".join(sorted(result.metrics)) or "none"
        why = f"no finite metric '{printed}' (found: {found}): correct the table if it is misspelt"
        return SeedValue(run, Status.FAILED, None, why)
    return SeedValue(run, run.status, value, "", over)


def _metric(result: Result, name: str) -> float | None:
    value = result.metrics.get(name)
    return value if value is not None and math.isfinite(value) else None
