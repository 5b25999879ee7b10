"""From settings to trained tables: plan, say it, launch what is missing, report, exit code."""

from __future__ import annotations

import errno
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from scaledrelu.config.launchers import SLURM
from scaledrelu.config.run import RunConfig, value_of
from scaledrelu.errors import ConfigError, RunError, nearest
from scaledrelu.launch.budget import Budget
from scaledrelu.launch.estimate import Estimator
from scaledrelu.launch.launch import TRAIN, Launcher
from scaledrelu.launch.overview import plan_text
from scaledrelu.launch.parallel import choose_launcher
from scaledrelu.launch.progress import Say
from scaledrelu.launch.slurm import SlurmLauncher
from scaledrelu.launch.waves import train_waves
from scaledrelu.reports.publish import publish
from scaledrelu.reports.report import write_reports
from scaledrelu.reports.verdicts_page import PROFILE, write_results_page
from scaledrelu.runs.mirrored import check_online
from scaledrelu.runs.record import Status, run_directory
from scaledrelu.tables.composer import Compose, Composer
from scaledrelu.tables.plan import Plan, PlannedRun
from scaledrelu.tables.planner import build_plan
from scaledrelu.tables.settings import Settings, default_jobs
from scaledrelu.tables.spec import load_table

REDO = ("none", "failed", "all")
EXIT_OK, EXIT_INCOMPLETE, EXIT_INTERRUPTED = 0, 1, 130
OCCUPIED = {errno.EEXIST, errno.EISDIR, errno.ELOOP, errno.ENOTDIR}
CANNOT_WRITE = OCCUPIED | {
    errno.EACCES,
    errno.EDQUOT,
    errno.ENAMETOOLONG,
    errno.ENOSPC,
    errno.EPERM,
    errno.EROFS,
}


def plan_tables(settings: Settings, *, compose: Compose | None = None) -> Plan:
    """Resolve the tables of some settings to runs.

    Raises:
        TableError, ConfigError: one line, naming the table and row or the key.
    """
    composer = compose or Composer(settings.results, conf_dir=settings.conf_dir)
    plan = build_plan(
        [load_table(name, settings.conf_dir) for name in settings.tables],
        profile=settings.profile,
        seeds=settings.seeds,
        results=settings.results,
        compose=composer,
        overrides=settings.overrides,
    )
    if isinstance(composer, Composer):
        composer.save()
    return plan


def runs_to_train(plan: Plan, redo: str) -> list[PlannedRun]:
    """Return what a sweep will train, parents before children.

    Args:
        plan: what the tables need.
        redo: none (only what never ran), failed (failures too), all, or one run id (and what
            ``failed`` would train). A damaged record is trained again with all or its id only.

    Raises:
        ConfigError: redo is none of these.
    """
    if redo not in REDO and redo not in plan.runs:
        allowed = [*REDO, *plan.runs]
        raise ConfigError(
            f"redo={redo}: neither of {', '.join(REDO)} nor a run of these tables"
            f"{nearest(redo, allowed)}"
        )
    chosen = []
    for run in plan.runs.values():
        if run.status is Status.RUNNING:
            continue
        if plan.crashed_upstream(run):
            continue
        again = redo in ("all", run.run_id)
        retry = run.status is Status.FAILED and redo != "none"
        if again or retry or run.status is Status.MISSING:
            chosen.append(run)
    return sorted(chosen, key=lambda run: run.wave)


def in_order(todo: Sequence[PlannedRun], first: Sequence[str]) -> list[PlannedRun]:
    """Return runs with those first whose configuration has all of some values; parents stay first.

    Args:
        todo: parents before children.
        first: ``field=value``, e.g. ``optimizer.label=AdamW``; nothing leaves the order alone.

    Raises:
        ConfigError: no run has such a field.
    """
    wanted = [item.partition("=")[::2] for item in first]
    for name, value in wanted:
        if todo and all(_field(run.config, name) is None for run in todo):
            raise ConfigError(f"first={name}={value}: no run to train has a field '{name}'")
    return sorted(
        todo,
        key=lambda run: (
            run.wave,
            any(str(_field(run.config, name)) != value for name, value in wanted),
        ),
    )


def _field(config: RunConfig, name: str) -> Any:
    try:
        return value_of(config, name)
    except KeyError:
        return None


def run_sweep(settings: Settings, say: Say, *, train: Sequence[str] = TRAIN) -> int:
    """Plan, train what is missing, write the reports.

    Args:
        settings: what to do.
        say: takes one line.
        train: the training command without its arguments.

    Returns:
        0 when every planned run has a result, 1 when some failed or are missing, 130 after Ctrl-C.

    Raises:
        ScaledReluError: one line: wrong settings or tables, or results that cannot be written.
    """
    started = time.monotonic()
    plan = plan_tables(settings)
    todo = in_order(runs_to_train(plan, settings.redo), settings.first)
    settings = choose_launcher(settings, [run.config for run in todo])
    jobs = settings.n_jobs or 1
    say(plan_text(plan, todo, n_jobs=jobs, estimate=Estimator(settings.results)))
    if settings.dry_run:
        return EXIT_OK
    if any(run.config.wandb.mode == "online" for run in todo):
        check_online()
    interrupted, budget = False, _budget(settings, started)
    with writing_to(settings.results):
        if todo:
            deadline = budget.deadline if budget else math.inf
            launcher = build_launcher(settings, say, train=train, deadline=deadline)
            interrupted = train_waves(plan, todo, launcher, say=say, budget=budget)
        plan = plan_tables(settings)
        for path in write_reports(plan, results=settings.results):
            say(f"wrote {path}")
    for line in budget.what_is_left(plan, todo) if budget else ():
        say(line)
    return _conclude(plan, settings, interrupted, say)


def _budget(settings: Settings, started: float) -> Budget | None:
    if settings.budget_s is None:
        return None
    jobs = settings.n_jobs or 1
    return Budget(settings.budget_s, started=started, n_jobs=jobs, results=settings.results)


def build_launcher(
    settings: Settings,
    say: Say,
    *,
    train: Sequence[str] = TRAIN,
    deadline: float = math.inf,
) -> Launcher:
    """Return what starts the runs of a sweep: processes of this machine, or SLURM jobs."""
    on_slurm = settings.launcher == SLURM
    arguments = list(settings.launcher_options)
    if on_slurm and not any(item.startswith("launch=") for item in settings.overrides):
        arguments.insert(0, "launch=slurm")
    return (SlurmLauncher if on_slurm else Launcher)(
        profile=settings.profile,
        results=settings.results,
        name=settings.launcher,
        n_jobs=settings.n_jobs or default_jobs(settings.launcher),
        say=say,
        train=tuple(train),
        arguments=tuple(arguments),
        deadline=deadline,
    )


def run_report(settings: Settings, say: Say) -> int:
    """Write the reports of what is done, and publish them where asked; trains nothing.

    Publishing mini's own tables also writes ``docs/results.md`` anew.

    Returns:
        0; a report with holes is still a report.

    Raises:
        TableError: nothing to publish, evidence that would shrink, or published tables of another
            version.
        RunError: the results folder takes no files.
    """
    with writing_to(settings.results):
        for path in write_reports(plan_tables(settings), results=settings.results):
            say(f"wrote {path}")
        if settings.publish:
            files = publish(
                settings.results, settings.profile, tables=settings.tables, force=settings.force
            )
            target = settings.results / "published" / settings.profile
            say(f"published {len(files)} files under {target}")
            page = _results_page(settings)
            if page:
                say(f"wrote {page}")
    return EXIT_OK


def _results_page(settings: Settings) -> Path | None:
    """Write what the published tables of the repository add up to, where they are its own."""
    if settings.profile != PROFILE:
        return None
    return write_results_page(settings.results, settings.conf_dir.parent)


@contextmanager
def writing_to(results: Path) -> Iterator[None]:
    """Turn what a read-only or full results folder causes inside the block into one line.

    Raises:
        RunError: which file, and why it cannot be written.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in CANNOT_WRITE:
            raise
        remedy = "make room or give write permission there"
        if error.errno in OCCUPIED:
            remedy = "move away what stands there instead of a folder or file of ours"
        raise RunError(  # the second name is that of the file, where the first is a temporary one
            f"{error.filename2 or error.filename or results}: cannot be written "
            f"({error.strerror}): {remedy}, or set results=FOLDER; what is done is kept"
        ) from error


def _conclude(plan: Plan, settings: Settings, interrupted: bool, say: Say) -> int:
    blocked = {name for name, run in plan.runs.items() if plan.crashed_upstream(run)}
    undone = sum(not run.status.done for name, run in plan.runs.items() if name not in blocked)
    if interrupted:
        say(f"interrupted; {undone} runs are left. The same command goes on where this stopped.")
        return EXIT_INTERRUPTED
    failed = [run for run in plan.runs.values() if run.status is Status.FAILED]
    damaged = [run for run in plan.runs.values() if run.status is Status.DAMAGED]
    for run in (*failed, *damaged):
        where = run_directory(settings.results, run.run_id)
        say(f"{run.status}: {run.run_id}: {run.reason} ({where})")
    for item in plan.artifacts.values():
        if item.status is Status.FAILED:
            say(f"failed: {item.artifact_id}: {item.reason}")
    if undone:
        others = undone - len(failed) - len(damaged)
        if failed or others:
            say(
                f"{len(failed)} runs failed and {others} have no result; the same command tries "
                "again"
            )
        if damaged:
            say(f"{len(damaged)} records are damaged: redo=<run id> sets one aside")
        return EXIT_INCOMPLETE
    return EXIT_OK
