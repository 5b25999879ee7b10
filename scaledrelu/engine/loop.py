"""The one loop: fetch, schedule, update, observe, log, evaluate, save; independent of the task."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from scaledrelu.engine.checkpoint import RUN_ID, load_latest, save_checkpoint
from scaledrelu.engine.distributed import World
from scaledrelu.engine.divergence import Judge, Verdict
from scaledrelu.engine.ema import Ema
from scaledrelu.engine.logbook import Logbook, in_words
from scaledrelu.engine.saved import write_saved
from scaledrelu.engine.statistics import sync_buffers
from scaledrelu.engine.step import StepReport, Update
from scaledrelu.errors import CheckpointError
from scaledrelu.optim.params import set_lr, set_weight_decay
from scaledrelu.optim.schedule import CosineSchedule, LrSchedule
from scaledrelu.optim.state import load_state
from scaledrelu.tasks.base import Progress, Task

log = logging.getLogger(__name__)

COMMIT = "commit"  # of the code that saved; absent in checkpoints of older versions


class Loader(Protocol):
    """What feeds the loop: one list of groups per update."""

    steps_per_epoch: int

    def epoch(self, epoch: int, *, start_step: int = 0) -> Iterable[Sequence[Any]]:
        """Yield the groups of every update of one epoch from ``start_step`` on.

        Args:
            epoch: epoch of the run, from 0.
            start_step: updates of this epoch that are already done.
        """

    def close(self) -> None:
        """End the processes that it has started, if any."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What one evaluation found.

    Attributes:
        metrics: numbers for tables and for the choice of the best epoch.
        arrays: for the evidence file.
        observed: what the network looks like inside; only in the metrics file.
    """

    metrics: dict[str, float]
    arrays: dict[str, Tensor] = field(default_factory=dict)
    observed: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often things happen, in updates and epochs of the run."""

    log_every: int
    checkpoint_every: int
    evaluate_every_epochs: int
    evaluate_at_start: bool = False


@dataclass(frozen=True, slots=True)
class Training:
    """Everything one run trains with, built by ``runs/build.py``."""

    run_id: str  # its checkpoints name it
    task: Task
    update: Update
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler | None
    schedule: LrSchedule
    loader: Loader
    prepare: Callable[[Sequence[Any], Progress], list[Any]]
    evaluate: Callable[[Progress], Evaluation]
    headline: str  # the metric whose best value is kept, e.g. "val/top1"
    judge: Judge
    ema: Ema | None
    world: World
    pace: Pace
    weight_decay: CosineSchedule | None = None  # for the groups that decay; None = constant
    commit: str | None = None  # of the code that trains; None = unknown
    other_code: Callable[[str], str] = lambda _: ""  # a commit -> how this code may differ from it


class Updated(Protocol):
    """What an update works with and changes: a :class:`Training`, or the step of a benchmark."""

    update: Update
    optimizer: torch.optim.Optimizer
    schedule: LrSchedule
    weight_decay: CosineSchedule | None
    judge: Judge
    ema: Ema | None
    world: World


@dataclass(frozen=True, slots=True)
class Taken:
    """One update as it was taken.

    Attributes:
        lr: learning rate.
        report: what this rank's groups showed.
        loss: mean of all ranks.
        asked: how many ranks were asked to stop.
    """

    lr: float
    report: StepReport
    loss: Tensor
    asked: Tensor


@dataclass(slots=True)
class Cursor:
    """Where a run stands and what it has found so far; saved with every checkpoint."""

    step: int = 0
    seconds: float = 0.0
    loss_sum: float = 0.0
    loss_count: int = 0
    latest: dict[str, float] = field(default_factory=dict)
    best: dict[str, float] = field(default_factory=dict)
    start: dict[str, float] = field(default_factory=dict)
    arrays: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ending:
    """How a call of :func:`train` ended: finished (with or without a verdict) or interrupted."""

    cursor: Cursor
    verdict: Verdict | None
    interrupted: bool


def train(
    run: Training, *, folder: Path, logbook: Logbook, wants_stop: Callable[[], bool]
) -> Ending:
    """Train from the latest checkpoint in ``folder`` to the end, a crash or a request to stop.

    Args:
        run: what to train with.
        folder: run directory, shared by all ranks.
        logbook: metrics and console.
        wants_stop: whether this process was asked to stop; all ranks then stop at the same step.

    Returns:
        The ending; nothing is raised for a crash, which is a result.
    """
    cursor = restore(run, folder, logbook)
    per_epoch, total = run.loader.steps_per_epoch, run.schedule.total_steps
    if run.pace.evaluate_at_start and cursor.step == 0:
        cursor.start = _evaluate_now(run, Progress(0, total, 0, per_epoch)).metrics
        log.info("before training: %s", in_words(cursor.start))
    run.task.train()
    started = time.monotonic() - cursor.seconds
    loss_sum = torch.tensor(cursor.loss_sum, dtype=torch.float64, device=run.world.device)
    stop = torch.zeros((), dtype=torch.float64, device=run.world.device)
    while cursor.step < total:
        epoch, offset = divmod(cursor.step, per_epoch)
        for groups in run.loader.epoch(epoch, start_step=offset):
            t = Progress(cursor.step, total, epoch, per_epoch)
            taken = take_update(run, run.prepare(groups, t), t, wants_stop=wants_stop)
            stop += taken.asked
            loss_sum += taken.loss
            cursor.step += 1
            cursor.loss_count += 1
            if cursor.step % run.pace.log_every == 0 or cursor.step == total:
                cursor.seconds = time.monotonic() - started
                mean = float(loss_sum) / cursor.loss_count
                logbook.train(
                    t,
                    loss=mean,
                    lr=taken.lr,
                    grad_norm=float(taken.report.grad_norm),
                    seconds=cursor.seconds,
                    scale=_scale(run.scaler),
                    scalars=_agree_on_logs(run.world, taken.report.logs),
                )
                loss_sum.zero_()
                cursor.loss_count = 0
            if run.judge.due(cursor.step):
                run.judge.read(cursor.step)
                if run.judge.must_stop():
                    break
            if cursor.step % per_epoch == 0 and _evaluation_due(run, epoch, cursor.step == total):
                _evaluate(run, cursor, t, logbook, time.monotonic() - started)
            leaving = run.judge.due(cursor.step) and bool(stop)
            if leaving or cursor.step % run.pace.checkpoint_every == 0 or cursor.step == total:
                cursor.seconds, cursor.loss_sum = time.monotonic() - started, float(loss_sum)
                run.judge.read(cursor.step)
                if run.judge.must_stop():
                    break
                save(run, cursor, folder, logbook)
            if leaving and cursor.step < total:
                return Ending(cursor, run.judge.verdict, interrupted=True)
        if run.judge.must_stop():
            break
    run.judge.read(cursor.step)  # a run resumed after its last checkpoint skips the loop
    cursor.seconds = time.monotonic() - started
    return Ending(cursor, run.judge.verdict, interrupted=False)


def take_update(
    run: Updated, batches: Sequence[Any], t: Progress, *, wants_stop: Callable[[], bool]
) -> Taken:
    """Set the schedules, compute the gradient, let the judge see it, and change the weights.

    Args:
        run: its weights, optimizer, judge and averaged weights are changed.
        batches: one per local group, as the task gets them.
        t: where training stands.
        wants_stop: whether this process was asked to stop; asked once the gradient is computed.
    """
    lr = set_lr(run.optimizer, run.schedule, t.step)
    set_weight_decay(run.optimizer, run.weight_decay, t.step)
    report = run.update.gradients(batches, t)
    loss, judged, bad, asked = agree(run.world, report, wants_stop())
    run.judge.see_losses(t.step, judged, bad == 0)
    run.judge.see_update(t.step, report.grad_norm, lr)
    run.update.apply(run.judge.flag, t)
    if run.ema is not None:
        run.ema.update()
    return Taken(lr, report, loss, asked)


def restore(run: Training, folder: Path, logbook: Logbook) -> Cursor:
    """Load the newest checkpoint into the run, or start at step zero; trim the metrics to match.

    Args:
        run: the state is loaded into it.
        folder: run directory.
        logbook: its metrics are trimmed.

    Raises:
        CheckpointError: no checkpoint can be read, it is of another crash rule or of a network that
            other code made, or the ranks read different ones.
    """
    entries = ("task", "optimizer", "judge", "metrics_offset", "cursor")
    state, problem = None, ""
    try:
        state = load_latest(folder, entries=entries, run_id=run.run_id, set_aside=run.world.is_main)
    except CheckpointError as error:
        problem = str(error)
    _check_alike(run.world, None if state is None else state["cursor"]["step"], problem, folder)
    if state is None:
        logbook.rewind(0)
        return Cursor()
    cursor = Cursor(**state["cursor"])
    other = run.other_code(made) if (made := state.get(COMMIT)) else ""
    hint = f", saved {other}; to start anew move {folder} away" if other else ""
    with _told_of_other_code(folder, hint):
        run.task.load_state_dict(state["task"])
        load_state(run.optimizer, state["optimizer"])
    try:
        run.judge.load_state_dict(state["judge"])
    except CheckpointError as error:
        raise CheckpointError(f"{folder}: {error}") from error
    if run.scaler is not None:
        run.scaler.load_state_dict(state["scaler"])
    if run.ema is not None:
        run.ema.load_state_dict(state["ema"])
    logbook.rewind(state["metrics_offset"], step=cursor.step)
    log.info("resuming at step %d of %d%s", cursor.step, run.schedule.total_steps, hint)
    return cursor


@contextlib.contextmanager
def _told_of_other_code(folder: Path, hint: str) -> Iterator[None]:
    """Say of a state that does not fit whose code it is of, where that may be other code."""
    try:
        yield
    except (RuntimeError, ValueError) as error:
        lines = [line.strip() for line in str(error).splitlines()]
        if not hint or isinstance(error, torch.OutOfMemoryError) or not lines:
            raise
        raise CheckpointError(f"{folder}: {' '.join(lines[:2])}{hint}") from error


def _check_alike(world: World, step: int | None, problem: str, folder: Path) -> None:
    """Raise on every rank where one of them read no checkpoint, or another one."""
    found = world.gather((step, problem))
    if problems := [one for _, one in found if one]:
        raise CheckpointError(problem or problems[0])
    steps = [one for one, _ in found]
    if len(set(steps)) > 1:
        words = ["none" if each is None else f"step {each}" for each in steps]
        listed = ", ".join(f"{word} on rank {rank}" for rank, word in enumerate(words))
        raise CheckpointError(
            f"{folder}: the ranks read different checkpoints ({listed}); nothing was trained: see "
            "that every node can read this folder, and run the same command again"
        )


def save(run: Training, cursor: Cursor, folder: Path, logbook: Logbook) -> None:
    """Write a checkpoint on the main rank; every rank then has its running statistics.

    Args:
        run: its state is saved.
        cursor: where training stands.
        folder: run directory.
        logbook: its metrics are synced to disk first.
    """
    sync_buffers(run.task)
    if not run.world.is_main:
        return
    state = {
        RUN_ID: run.run_id,
        COMMIT: run.commit,
        "task": dict(run.task.state_dict()),
        "optimizer": run.optimizer.state_dict(),
        "judge": run.judge.state_dict(),
        "scaler": run.scaler.state_dict() if run.scaler is not None else None,
        "ema": run.ema.state_dict() if run.ema is not None else None,
        "metrics_offset": logbook.commit(),
        "cursor": {name: getattr(cursor, name) for name in Cursor.__slots__},
    }
    save_checkpoint(folder, state)
    write_saved(folder, step=cursor.step, total_steps=run.schedule.total_steps)


def agree(world: World, report: StepReport, stop: bool) -> Tensor:
    """Return (mean loss, judged part, non-finite ranks, ranks asked to stop), equal on all.

    Args:
        world: this process's place among all.
        report: what this rank's groups showed.
        stop: whether this process was asked to stop.
    """
    loss = report.loss
    asked = torch.full((), float(stop), dtype=loss.dtype, device=loss.device)
    values = torch.stack([loss, report.judged, (~report.finite).to(loss.dtype), asked]).double()
    if world.size > 1:
        values[:2] /= world.size
    return world.reduce_sum(values)


def _agree_on_logs(world: World, logs: dict[str, Tensor]) -> dict[str, float]:
    """Return the task's scalars of this step, mean over the ranks."""
    if not logs:
        return {}
    values = world.reduce_mean(torch.stack([value.double() for value in logs.values()]))
    return dict(zip(logs, values.tolist(), strict=True))


def _evaluation_due(run: Training, epoch: int, last: bool) -> bool:
    return last or (epoch + 1) % run.pace.evaluate_every_epochs == 0


def _evaluate(run: Training, cursor: Cursor, t: Progress, logbook: Logbook, seconds: float) -> None:
    found = _evaluate_now(run, t)
    cursor.latest = found.metrics
    cursor.arrays = _keep_largest(cursor.arrays, found.arrays)
    value = found.metrics[run.headline]
    if not cursor.best or math.isnan(cursor.best["value"]) or value > cursor.best["value"]:
        cursor.best = {"value": value, "epoch": t.epoch}
    logbook.evaluation(t, found.metrics, observed=found.observed, seconds=seconds)


def _evaluate_now(run: Training, t: Progress) -> Evaluation:
    sync_buffers(run.task)
    run.task.eval()
    with torch.no_grad():
        found = run.evaluate(t)
    run.task.train()
    return found


def _keep_largest(old: dict[str, Tensor], new: dict[str, Tensor]) -> dict[str, Tensor]:
    """Take the new arrays; for names that start with ``max/`` keep the largest value ever seen."""
    return {
        name: torch.maximum(value, old[name]) if name.startswith("max/") and name in old else value
        for name, value in new.items()
    }


def _scale(scaler: torch.amp.GradScaler | None) -> float | None:
    return float(scaler.get_scale()) if scaler is not None else None
