"""What a plan costs beyond time: GPU-hours, wall time and disk; torch-free.

Measured where a run like it has finished here, else at the speeds that were published for a GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from scaledrelu.config.run import RunConfig
from scaledrelu.cost.hours import HOUR, Cost, Hours, cost_of, ours, total
from scaledrelu.cost.records import FOLDER, Records, read_records
from scaledrelu.cost.speed import Basis
from scaledrelu.cost.work import parameters
from scaledrelu.errors import DataError
from scaledrelu.launch.estimate import Estimate
from scaledrelu.runs.record import Saved
from scaledrelu.tables.plan import PlannedRun
from scaledrelu.text import duration, ranged

BYTES = 4
CHECKPOINTS = 2  # last.pt and the one before
GB = 1e9
NO_LOADER = "nobody has counted the images of these runs, or measured their loader"
NO_SPEED = "no speed of a GPU is published (make gpu measures one)"


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
