"""The plan in words: what is done, missing, failed or crashed, and what the rest may cost.

Time; and of runs that are not small GPU-hours and disk, too: measured where a run like it has
finished here, else at the speeds that were published for a GPU. Torch-free.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from scaledrelu.config.run import RunConfig
from scaledrelu.cost.hours import HOUR, Cost, Hours, cost_of, ours, total
from scaledrelu.cost.records import FOLDER, Records, read_records
from scaledrelu.cost.speed import Basis
from scaledrelu.cost.work import parameters
from scaledrelu.errors import DataError
from scaledrelu.launch.estimate import Estimate, time_left, total_text
from scaledrelu.launch.slots import is_small
from scaledrelu.runs.record import Saved, Status
from scaledrelu.tables.plan import Cell, Plan, PlannedRun
from scaledrelu.tables.table import Table
from scaledrelu.text import duration, ranged

GPUS_OF_A_NODE = 8
RESUMABLE = "resumable"  # missing, with a checkpoint to continue from
BYTES = 4
CHECKPOINTS = 2  # last.pt and the one before
GB = 1e9
NO_LOADER = "nobody has counted the images of these runs, or measured their loader"
NO_SPEED = "no speed of a GPU is published (make gpu measures one)"


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
        left = [time_left(run, estimate) for run in todo]
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
        lines.append(f"  {name}  {labels}  -> {run_id}  {_state(run, estimate)}")
    return lines


def _state(run: PlannedRun, estimate: Callable[[PlannedRun], Estimate]) -> str:
    if run.status is Status.FAILED:
        goes_on = f"; {_where(run.saved)}" if run.saved else ""
        return f"failed: {run.reason}{goes_on}"
    if run.status is Status.DAMAGED:
        return f"damaged: {run.reason}"
    if run.status is not Status.MISSING:
        return str(run.status)
    expected = time_left(run, estimate)
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


def cost_text(
    todo: Sequence[PlannedRun],
    *,
    gpus: int,
    estimate: Callable[[PlannedRun], Estimate],
    bench: Path = FOLDER,
) -> str:
    """Return what training some runs on GPUs costs, in a few lines.

    Args:
        todo: the runs.
        gpus: number of GPUs that they share.
        estimate: duration of a whole run, where a similar one has finished here.
        bench: folder of published speeds.
    """
    disk = sum(disk_bytes(run.config) for run in todo) / GB
    known, costs, derived, (records, damage) = [], [], [], _published(bench)
    for run in todo:
        found = estimate(run)
        if found.measured and found.seconds is not None:
            hours = found.seconds * run.config.launch.nproc / HOUR
            known.append(_left(Hours(hours, hours, hours), run.saved))
        elif records and (cost := cost_of(run.config, ours(records), records)):
            known.append(_left(cost.hours, run.saved))
            costs.append(cost)
            derived.append(run.config)
    if not known:
        why = damage or (NO_LOADER if records else NO_SPEED)
        return f"cost: GPU-hours unknown, {why}; disk {disk:,.1f} GB"
    hours, unknown = total(known), len(todo) - len(known)
    rest = f" and {unknown} runs of unknown length" if unknown else ""
    wall = duration(hours.likely * HOUR / gpus)
    amount, machines = ranged(hours.low, hours.likely, hours.high), "GPUs" if gpus > 1 else "GPU"
    lines = [f"cost: {amount} GPU-hours{rest}, {wall} on {gpus} {machines}; disk {disk:,.1f} GB"]
    if len(known) > len(costs):
        lines.append(f"  {len(known) - len(costs)} of {len(todo)} runs: measured here")
    if costs:
        lines.append(_basis(records, costs, _loaders(derived, records), len(todo)))
    elif damage:
        lines.append(f"  {damage}")
    return "\n".join(lines)


def disk_bytes(config: RunConfig) -> float:
    """Return what the checkpoints of a run take: weights, two moments, an average, a teacher."""
    copies = 3.0 + (1.0 if config.ema else 0.0) + (1.0 if config.augment.multi_crop else 0.0)
    return CHECKPOINTS * BYTES * copies * parameters(config)


def _published(bench: Path) -> tuple[Records | None, str | None]:
    """Return what is published, or what is wrong with it: a sweep trains all the same."""
    try:
        return read_records(bench), None
    except DataError as error:
        return None, str(error)


def _left(hours: Hours, saved: Saved | None) -> Hours:
    share = 1.0 - (saved.share if saved else 0.0)
    return Hours(share * hours.low, share * hours.likely, share * hours.high)


def _loaders(configs: Sequence[RunConfig], records: Records) -> str:
    """Return how many processes load the images of a GPU; nothing where images lie ready."""
    counts = {ours(records).workers(config) for config in configs} - {0}
    if not counts:
        return ""
    fewest = f"{min(counts)} to " if len(counts) > 1 else ""
    which = "process" if counts == {1} else "processes"
    return f" and of {fewest}{max(counts)} loader {which} per GPU"


def _basis(records: Records, costs: Sequence[Cost], loaders: str, number: int) -> str:
    measured = sum(cost.basis is Basis.MEASURED for cost in costs)
    waiting = sum(cost.by_loader for cost in costs)
    return (
        f"  {len(costs)} of {number} runs: at speeds of an {records.card}{loaders}, {measured} "
        f"measured, {len(costs) - measured} derived; {waiting} wait for their loader "
        "(docs/performance.md)"
    )
