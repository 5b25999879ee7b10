"""From settings to trained tables: plan, say it, launch what is missing, report, exit code."""

from __future__ import annotations

from collections.abc import Sequence

from scaledrelu.config.launchers import SLURM
from scaledrelu.errors import ConfigError, nearest
from scaledrelu.runs.record import Status, run_directory
from scaledrelu.tables.composer import Compose, Composer
from scaledrelu.tables.estimate import Estimator
from scaledrelu.tables.launch import TRAIN, Launcher
from scaledrelu.tables.overview import plan_text
from scaledrelu.tables.plan import Plan, PlannedRun
from scaledrelu.tables.planner import build_plan
from scaledrelu.tables.progress import Say
from scaledrelu.tables.publish import publish
from scaledrelu.tables.report import write_reports
from scaledrelu.tables.settings import Settings
from scaledrelu.tables.slurm import SlurmLauncher
from scaledrelu.tables.spec import load_table
from scaledrelu.tables.waves import train_waves

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
        launcher = build_launcher(settings, say, train=train)
        interrupted = train_waves(plan, todo, launcher, say=say)
    plan = plan_tables(settings)
    for path in write_reports(plan, results=settings.results):
        say(f"wrote {path}")
    return _conclude(plan, settings, interrupted, say)


def build_launcher(settings: Settings, say: Say, *, train: Sequence[str] = TRAIN) -> Launcher:
    """Return what starts the runs of a sweep: processes of this machine, or SLURM jobs."""
    on_slurm = settings.launcher == SLURM
    arguments = list(settings.launcher_options)
    if on_slurm and not any(item.startswith("launch=") for item in settings.overrides):
        arguments.insert(0, "launch=slurm")
    return (SlurmLauncher if on_slurm else Launcher)(
        profile=settings.profile,
        results=settings.results,
        name=settings.launcher,
        n_jobs=settings.n_jobs,
        say=say,
        train=tuple(train),
        arguments=tuple(arguments),
    )


def run_report(settings: Settings, say: Say) -> int:
    """Write the reports of what is done, and publish them where asked; trains nothing.

    Returns:
        0; a report with holes is still a report.

    Raises:
        TableError: nothing to publish, or evidence that would shrink.
    """
    for path in write_reports(plan_tables(settings), results=settings.results):
        say(f"wrote {path}")
    if settings.publish:
        files = publish(settings.results, settings.profile, force=settings.force)
        target = settings.results / "published" / settings.profile
        say(f"published {len(files)} files under {target}")
    return EXIT_OK


def _conclude(plan: Plan, settings: Settings, interrupted: bool, say: Say) -> int:
    blocked = {name for name, run in plan.runs.items() if plan.crashed_upstream(run)}
    undone = sum(not run.status.done for name, run in plan.runs.items() if name not in blocked)
    if interrupted:
        say(f"interrupted; {undone} runs are left. The same command goes on where this stopped.")
        return EXIT_INTERRUPTED
    failed = [run for run in plan.runs.values() if run.status is Status.FAILED]
    for run in failed:
        say(f"failed: {run.run_id}: {run.reason} ({run_directory(settings.results, run.run_id)})")
    damaged = [run for run in plan.runs.values() if run.status is Status.DAMAGED]
    for run in damaged:
        say(f"damaged: {run.run_id}: {run.reason} ({run_directory(settings.results, run.run_id)})")
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
            say(f"{len(damaged)} records are damaged: only redo=<run id> sets one aside")
        return EXIT_INCOMPLETE
    return EXIT_OK
