"""The plan in words: what is done, missing, failed or crashed, and how long the rest may take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from scaledrelu.launch.cost import cost_text
from scaledrelu.launch.estimate import Estimate, time_left, total_text
from scaledrelu.launch.slots import is_small
from scaledrelu.runs.record import Saved, Status
from scaledrelu.tables.plan import Cell, Plan, PlannedRun
from scaledrelu.tables.table import Table

GPUS_OF_A_NODE = 8
RESUMABLE = "resumable"  # missing, with a checkpoint to continue from


def plan_text(
    plan: Plan,
    todo: Sequence[PlannedRun],
    *,
    n_jobs: int,
    estimate: Callable[[PlannedRun], Estimate],
    gpus: int = 0,
) -> str:
    """Return the plan as lines: totals, tables, rows with their runs, and what will be trained.

    Args:
        plan: what the tables need.
        todo: the runs that will be trained.
        n_jobs: runs at a time.
        estimate: expected duration of a whole run.
        gpus: number of GPUs that all runs share; 0 = as many as a node of the paper has.
    """
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
    after = sum(bool(run.upstream or run.artifact) for run in todo)
    if not todo:
        lines.append("nothing to train")
    else:
        has_cost = not all(is_small(run.config) for run in todo)
        left = [time_left(estimate(run), run.saved) for run in todo]
        time = total_text(left, n_jobs, cost_follows=has_cost)
        chained = f" ({after} start from other runs)" if after else ""
        lines.append(f"to train: {len(todo)} runs{chained}, {time}")
        if has_cost:
            lines.append(cost_text(todo, gpus=gpus or GPUS_OF_A_NODE, estimate=estimate))
    return "\n".join(lines)


def _table_lines(plan: Plan, table: Table, estimate: Callable[[PlannedRun], Estimate]) -> list[str]:
    cells = plan.cells_of(table)
    runs = plan.runs_of(table)
    head = f"{table.name}: {len(cells)} cells -> {len(runs)} runs ({_counts(runs)})"
    return [head, *(line for cell in cells for line in _cell_lines(plan, cell, estimate))]


def _cell_lines(plan: Plan, cell: Cell, estimate: Callable[[PlannedRun], Estimate]) -> list[str]:
    name = "base" if cell.row.is_baseline else f"{cell.row.number:>4}"
    if len(cell.table.metrics) > 1:
        name += f" {cell.column.name}"
    labels = "  ".join(cell.labels.values())
    lines = []
    for run_id in cell.run_ids:
        run = plan.runs[run_id]
        lines.append(f"  {name}  {labels}  -> {run_id}  {_state(run, estimate(run))}")
    return lines


def _state(run: PlannedRun, expected: Estimate) -> str:
    if run.status is Status.FAILED:
        goes_on = f"; {_where(run.saved)}" if run.saved else ""
        return f"failed: {run.reason}{goes_on}"
    if run.status is Status.DAMAGED:
        return f"damaged: {run.reason}"
    if run.status is not Status.MISSING:
        return str(run.status)
    expected = time_left(expected, run.saved)
    mark = "" if expected.measured else "~"
    seconds = None if expected.seconds is None else f"{mark}{expected.seconds:.0f}s"
    if run.saved is None:
        return "missing" if seconds is None else f"missing ({seconds})"
    return _where(run.saved) if seconds is None else f"{_where(run.saved)} ({seconds} left)"


def _where(saved: Saved) -> str:
    if saved.step is None:
        return f"{RESUMABLE} from its checkpoint"
    return f"{RESUMABLE} at step {saved.step} of {saved.total_steps}"


def _counts(runs: Iterable[PlannedRun]) -> str:
    counted = Counter(_word(run) for run in runs)
    return ", ".join(f"{counted[s]} {s}" for s in (*Status, RESUMABLE) if counted[s]) or "none"


def _word(run: PlannedRun) -> str:
    return RESUMABLE if run.status is Status.MISSING and run.saved else str(run.status)
