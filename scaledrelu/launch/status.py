"""How far each run of a plan is, in one line: from its files first, then from SLURM."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scaledrelu.config.places import METRICS, TIMING
from scaledrelu.launch.jobs import captions_of
from scaledrelu.launch.progress import result_text
from scaledrelu.launch.queue import (
    UNKNOWN,
    QueuedJob,
    ending_of,
    queued_jobs,
    read_job,
)
from scaledrelu.runs.lock import read_attempt
from scaledrelu.runs.record import Status, run_directory
from scaledrelu.tables.plan import Plan, PlannedRun
from scaledrelu.text import duration

TAIL = 8192  # bytes at the end of a file that hold its last rows
Queue = Mapping[str, QueuedJob]


@dataclass(frozen=True, slots=True)
class Speed:
    """How far and how fast a run is; None where unknown."""

    step: int | None
    epoch: int | None  # from 1
    loss: float | None
    images_per_s: float | None
    seconds: float | None


def status_lines(plan: Plan) -> Iterator[str]:
    """Yield ``run_id  table-row  state`` for every run of a plan, in its order."""
    folders = {name: run_directory(plan.results, name) for name in plan.runs}
    open_runs = [name for name, run in plan.runs.items() if not run.status.done]
    has_jobs = any(read_job(folders[name]) for name in open_runs)
    queue = queued_jobs(plan.results) if has_jobs else {}
    captions = captions_of(plan)
    wide = max(map(len, plan.runs), default=0)
    for name, run in plan.runs.items():
        state = _state(plan, run, folders[name], queue)
        yield f"{name:{wide}}  {captions.get(name, '-'):12}  {state}"


def _state(plan: Plan, run: PlannedRun, folder: Path, queue: Queue | None) -> str:
    queued = queue.get(run.run_id) if queue else None
    match run.status:
        case Status.OK | Status.CRASH:
            return result_text(run.result)
        case Status.DAMAGED:
            return f"damaged: {run.reason}"
        case Status.RUNNING:
            who = read_attempt(folder)
            return f"running  {_in_words(_speed_of(folder), run)}{f'  ({who})' if who else ''}"
    if queued is not None:
        return str(queued)
    if run.status is Status.FAILED:
        return f"failed: {run.reason}"
    if (crashed := plan.crashed_upstream(run)) is not None:
        return f"not trained: upstream crashed ({crashed})"
    return _left_or_died(folder, run, ask=queue is not None)


def _left_or_died(folder: Path, run: PlannedRun, *, ask: bool) -> str:
    where = ""
    if run.saved is not None:
        where = " from its checkpoint"
        if run.saved.step is not None:
            where = f" at step {run.saved.step} of {run.saved.total_steps}"
    if ask and (job := read_job(folder)) is not None:  # a silent SLURM would keep us for minutes
        ended = ending_of(job.job_id)
        if not ended.left and ended.state != UNKNOWN:
            return f"died: SLURM job {job.job_id} ended in state {ended.state}; log {job.log}"
    return f"stopped; will continue{where}" if where else "missing"


def _speed_of(folder: Path) -> Speed:
    """Return progress and speed from the last rows of a run's own files."""
    rows = _last_rows(folder / METRICS)
    trained = next((row for row in reversed(rows) if "train/loss" in row), {})
    timing = next(iter(reversed(_last_rows(folder / TIMING))), {})
    epoch = trained.get("epoch")
    return Speed(
        step=_number(timing.get("step")),
        epoch=None if _number(epoch) is None else epoch + 1,
        loss=_number(trained.get("train/loss")),
        images_per_s=_number(timing.get("images_per_s")),
        seconds=_number(timing.get("seconds")),
    )


def _in_words(speed: Speed, run: PlannedRun) -> str:
    """Return e.g. ``epoch 12/30  350 images/s  ETA 3m 20s  loss 1.234``."""
    epochs = run.config.run_epochs
    words = [f"epoch {speed.epoch or 1}/{epochs}"]
    if speed.images_per_s is not None:
        words.append(f"{speed.images_per_s:.0f} images/s")
    share = _share(speed, run, epochs)
    if share and speed.seconds is not None:
        words.append(f"ETA {duration(speed.seconds * (1 - share) / share)}")
    if speed.loss is not None:
        words.append(f"loss {speed.loss:.3f}")
    return "  ".join(words)


def _share(speed: Speed, run: PlannedRun, epochs: int) -> float:
    """Return the share of a run that is done."""
    if speed.step is not None and run.saved is not None and run.saved.total_steps:
        return min(1.0, speed.step / run.saved.total_steps)
    return (speed.epoch - 1) / epochs if speed.epoch else 0.0


def _last_rows(path: Path) -> list[dict[str, Any]]:
    """Return the complete rows at the end of a JSON-lines file that may be growing."""
    try:
        with path.open("rb") as stream:
            stream.seek(max(0, os.path.getsize(path) - TAIL))
            lines = stream.read().split(b"\n")
    except OSError:
        return []
    rows = []
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            rows.append(row)
    return rows


def _number(value: Any) -> Any:
    return value if type(value) in (int, float) else None
