"""From settings to trained tables: plan, say it, launch what is missing, report, exit code."""

from __future__ import annotations

import signal
import threading
from collections.abc import Sequence
from pathlib import Path

from scaledrelu.config.overrides import group_options
from scaledrelu.errors import ConfigError, nearest
from scaledrelu.runs.attempt import clear_attempt
from scaledrelu.runs.record import ERROR, REDONE, Status, run_directory, runs_root, times_redone
from scaledrelu.tables.composer import Compose, Composer
from scaledrelu.tables.estimate import Estimator
from scaledrelu.tables.experiments import write_experiment
from scaledrelu.tables.launch import TRAIN, Launcher
from scaledrelu.tables.overview import plan_text
from scaledrelu.tables.plan import Plan, PlannedRun, build_plan
from scaledrelu.tables.progress import Progress, Say
from scaledrelu.tables.publish import publish
from scaledrelu.tables.report import write_reports
from scaledrelu.tables.settings import Settings
from scaledrelu.tables.spec import load_table

REDO = ("none", "failed", "all")
EXIT_OK, EXIT_INCOMPLETE, EXIT_INTERRUPTED = 0, 1, 130


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
            ``failed`` would train).

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
        again = redo in ("all", run.run_id)
        retry = run.status is Status.FAILED and redo != "none"
        if again or retry or run.status is Status.MISSING:
            chosen.append(run)
    return sorted(chosen, key=lambda run: run.wave)


def run_sweep(settings: Settings, say: Say, *, train: Sequence[str] = TRAIN) -> int:
    """Plan, train what is missing, write the reports.

    Args:
        settings: what to do.
        say: takes one line.
        train: the training command without its arguments.

    Returns:
        0 when every planned run has a result, 1 when some failed or are missing, 130 after Ctrl-C.
    """
    plan = plan_tables(settings)
    todo = runs_to_train(plan, settings.redo)
    say(plan_text(plan, todo, n_jobs=settings.n_jobs, estimate=Estimator(settings.results)))
    if settings.dry_run:
        return EXIT_OK
    interrupted = False
    if todo:
        launcher = Launcher(
            profile=settings.profile,
            results=settings.results,
            name=settings.launcher,
            n_jobs=settings.n_jobs,
            say=say,
            train=tuple(train),
        )
        interrupted = _train(plan, todo, launcher, settings, say)
    plan = plan_tables(settings)
    for path in write_reports(plan, results=settings.results):
        say(f"wrote {path}")
    return _conclude(plan, settings, interrupted, say)


def run_report(settings: Settings, say: Say) -> int:
    """Write the reports of what is done, and publish them where asked; trains nothing.

    Returns:
        0; a report with holes is still a report.

    Raises:
        TableError: a finished run without its metric, or evidence that would shrink.
    """
    for path in write_reports(plan_tables(settings), results=settings.results):
        say(f"wrote {path}")
    if settings.publish:
        files = publish(settings.results, settings.profile, force=settings.force)
        target = settings.results / "published" / settings.profile
        say(f"published {len(files)} files under {target}")
    return EXIT_OK


def _train(
    plan: Plan, todo: Sequence[PlannedRun], launcher: Launcher, settings: Settings, say: Say
) -> bool:
    """Launch wave after wave; return whether a person interrupted."""
    groups = list(group_options(settings.conf_dir))
    for run in todo:
        _clear(run, settings.results)
        write_experiment(
            run, results=settings.results, groups=groups, tables=plan.tables_of(run.run_id)
        )
    progress = Progress([run.run_id for run in todo], results=settings.results, say=say)
    previous = _sigterm_as_interrupt()
    try:
        for wave in sorted({run.wave for run in todo}):
            ready = [run.run_id for run in todo if run.wave == wave and _ready(run, settings, say)]
            if ready:
                launcher.wave(ready, progress)
    except KeyboardInterrupt:
        return True
    finally:
        if previous is not None:
            signal.signal(signal.SIGTERM, previous)
    return False


def _ready(run: PlannedRun, settings: Settings, say: Say) -> bool:
    if run.parent is None or (run_directory(settings.results, run.parent) / "result.json").exists():
        return True
    say(f"{run.run_id} left out: it starts from {run.parent}, which has no result")
    return False


def _clear(run: PlannedRun, results: Path) -> None:
    """Put a finished run aside before it is trained again; forget old failures."""
    folder = run_directory(results, run.run_id)
    if run.status.done:
        kept = runs_root(results) / REDONE
        kept.mkdir(parents=True, exist_ok=True)
        folder.rename(kept / f"{run.run_id}-r{times_redone(results, run.run_id) + 1}")
    (folder / ERROR).unlink(missing_ok=True)
    clear_attempt(folder)


def _conclude(plan: Plan, settings: Settings, interrupted: bool, say: Say) -> int:
    states = [run.status for run in plan.runs.values()]
    undone = sum(not state.done for state in states)
    if interrupted:
        say(f"interrupted; {undone} runs are left. The same command goes on where this stopped.")
        return EXIT_INTERRUPTED
    failed = [run for run in plan.runs.values() if run.status is Status.FAILED]
    for run in failed:
        say(f"failed: {run.run_id}: {run.reason} ({run_directory(settings.results, run.run_id)})")
    if undone:
        others = undone - len(failed)
        say(f"{len(failed)} runs failed and {others} have no result; the same command tries again")
        return EXIT_INCOMPLETE
    return EXIT_OK


def _sigterm_as_interrupt() -> signal.Handlers | None:
    """Treat a polite kill of the sweep as Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        return None

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    return signal.signal(signal.SIGTERM, interrupt)
