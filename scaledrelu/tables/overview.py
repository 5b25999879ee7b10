"""The plan in words: what is done, missing, failed or crashed, and how long the rest may take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from scaledrelu.runs.record import Status
from scaledrelu.tables.estimate import Estimate, total_text
from scaledrelu.tables.plan import Cell, Plan, PlannedRun
from scaledrelu.tables.spec import Table


def plan_text(
    plan: Plan,
    todo: Sequence[PlannedRun],
    *,
    n_jobs: int,
    estimate: Callable[[Mapping[str, Any]], Estimate],
) -> str:
    """Return the plan as lines: totals, tables, rows with their runs, and what will be trained."""
    seeds = "each table's own" if plan.seeds is None else ", ".join(map(str, plan.seeds))
    lines = [
        f"profile {plan.profile}, seeds {seeds}: {len(plan.cells)} cells, "
        f"{len(plan.runs)} distinct runs ({_counts(plan.runs.values())})"
    ]
    for table in plan.tables:
        lines += _table_lines(plan, table, estimate)
    lines += [
        f"{a.artifact_id} from {a.artifact.teacher_id or a.artifact.script}: {a.status}"
        for a in plan.artifacts.values()
    ]
    waves = len({run.wave for run in todo})
    if not todo:
        lines.append("nothing to train")
    else:
        time = total_text([estimate(run.config) for run in todo], n_jobs)
        plural = "s" if waves > 1 else ""
        lines.append(f"to train: {len(todo)} runs in {waves} wave{plural}, {time}")
    return "\n".join(lines)


def _table_lines(
    plan: Plan, table: Table, estimate: Callable[[Mapping[str, Any]], Estimate]
) -> list[str]:
    cells = plan.cells_of(table)
    runs = plan.runs_of(table)
    head = f"{table.name}: {len(cells)} cells -> {len(runs)} runs ({_counts(runs)})"
    return [head, *(line for cell in cells for line in _cell_lines(plan, cell, estimate))]


def _cell_lines(
    plan: Plan, cell: Cell, estimate: Callable[[Mapping[str, Any]], Estimate]
) -> list[str]:
    name = "base" if cell.row.is_baseline else f"{cell.row.number:>4}"
    if len(cell.table.metrics) > 1:
        name += f" {cell.column.name}"
    labels = "  ".join(cell.labels.values())
    lines = []
    for run_id in cell.run_ids:
        run = plan.runs[run_id]
        lines.append(f"  {name}  {labels}  -> {run_id}  {_state(run, estimate(run.config))}")
    return lines


def _state(run: PlannedRun, expected: Estimate) -> str:
    if run.status is Status.FAILED:
        return f"failed: {run.reason}"
    if run.status is Status.DAMAGED:
        return f"damaged: {run.reason}"
    if run.status is not Status.MISSING or expected.seconds is None:
        return str(run.status)
    return f"missing ({'' if expected.measured else '~'}{expected.seconds:.0f}s)"


def _counts(runs: Sequence[PlannedRun] | Any) -> str:
    counted = Counter(run.status for run in runs)
    return ", ".join(f"{counted[s]} {s}" for s in Status if counted[s]) or "none"
