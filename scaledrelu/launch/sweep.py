"""From a plan to trained runs: what is to be trained, in which order, by which executor."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from scaledrelu.config.run import RunConfig, value_of
from scaledrelu.errors import ConfigError, RefusedError, nearest
from scaledrelu.files import writing_to
from scaledrelu.launch.budget import Budget
from scaledrelu.launch.estimate import Estimator, time_left
from scaledrelu.launch.executor import Event, Executor, Job, note_signals
from scaledrelu.launch.jobs import Train, files_of, jobs_of, write_plan
from scaledrelu.launch.local import LocalExecutor, anything
from scaledrelu.launch.obstacles import files_not_here, not_trusted, obstacles_here
from scaledrelu.launch.overview import plan_text
from scaledrelu.launch.progress import Progress
from scaledrelu.launch.slots import GPUS, Slot, slots_of
from scaledrelu.launch.slurm import SlurmExecutor
from scaledrelu.launch.slurm_options import check_options
from scaledrelu.launch.sweep_end import Launched, how_to_continue
from scaledrelu.runs.mirrored import ONLINE, check_online, mode_here
from scaledrelu.runs.record import Status, trained_elsewhere
from scaledrelu.tables.plan import Plan, PlannedRun
from scaledrelu.tables.planner import plan_tables
from scaledrelu.tables.setting_values import SLURM
from scaledrelu.tables.settings import Settings
from scaledrelu.text import Say

REDO = ("none", "failed", "all")
POLL_S = 1.0
ON_SLURM = ("launch=slurm", "launch.threads=0")  # a job itself sees how many cores it has
UNKNOWN_S = 20.0  # if no similar run has finished: beside others it counts as a short one


def launch_tables(
    settings: Settings, say: Say, *, train: Train, preload: Sequence[str]
) -> Launched | None:
    """Plan, and train what is missing; None if only the plan was asked for.

    Args:
        settings: what to do.
        say: prints one line.
        train: the function that the process of a run calls, see ``jobs.Train``.
        preload: modules that every such process needs.

    Raises:
        ScaledReluError: wrong settings or tables, runs that cannot be trained here, or results
            that cannot be written.
    """
    started = time.monotonic()
    check_options(settings.slurm)
    plan = plan_tables(_for_its_launcher(settings))
    _check_profile(plan)
    return launch_plan(plan, settings, say, train=train, preload=preload, started=started)


def launch_plan(
    plan: Plan,
    settings: Settings,
    say: Say,
    *,
    train: Train,
    preload: Sequence[str],
    started: float | None = None,
) -> Launched | None:
    """Train what is missing of a plan; None if only the plan was asked for.

    Args:
        plan: what is to be there in the end.
        settings: how it is launched; their tables have no effect here.
        say: prints one line.
        train: the function that the process of a run calls, see ``jobs.Train``.
        preload: modules that every such process needs.
        started: when the sweep began, on the monotonic clock; now if None.

    Raises:
        RefusedError: some of what is to be trained cannot be trained here; nothing is started.
        ScaledReluError: one line: wrong settings, or results that cannot be written.
    """
    started = time.monotonic() if started is None else started
    todo = in_order(plan, runs_to_train(plan, settings.redo), settings.first)
    slots = slots_of([run.config for run in todo], settings.n_jobs)
    estimate = Estimator(plan.results, plan.runs)
    say(_plan_text(plan, todo, slots, settings, estimate))
    if settings.dry_run:
        return None
    if obstacles := obstacles_here(todo, settings):
        raise RefusedError(obstacles)
    if any(mode_here(run.config.wandb.mode) == ONLINE for run in todo):
        check_online()
    budget = None
    if settings.budget_s is not None:
        budget = Budget(settings.budget_s, plan, todo, started=started, estimate=estimate)
    executor = _executor(settings, plan, slots, preload=preload, budget=budget)
    with writing_to(settings.results):
        write_plan(plan, todo)
        again = how_to_continue(settings.redo)
        progress = Progress(_seconds(todo, estimate), files=files_of(plan), say=say, again=again)
        jobs = jobs_of(plan, todo, train)
        stopped = _drive(executor, jobs, progress, say, budget=budget)
    submitted = bool(todo) and not (executor.waits or settings.wait)
    return Launched(tuple(todo), stopped, submitted, progress.left_out, budget, settings.redo)


def runs_to_train(plan: Plan, redo: str) -> list[PlannedRun]:
    """Return what a sweep will train, upstream runs first; runs of other processes are waited for.

    Args:
        plan: what the tables need.
        redo: none (only what never ran), failed (failures, too), all, or one run id (and what
            ``failed`` would train). A damaged record is trained again with all or its id only.

    Raises:
        ConfigError: redo is none of these.
    """
    if redo not in REDO and redo not in plan.runs:
        allowed = [*REDO, *plan.runs]
        raise ConfigError(
            f"redo={redo}: no such run in these tables{nearest(redo, allowed)}; allowed: "
            f"{', '.join(REDO)}, or a run id"
        )
    chosen = []
    for run in plan.runs.values():
        if plan.crashed_upstream(run):
            continue
        again = redo in ("all", run.run_id)
        retry = run.status is Status.FAILED and redo != "none"
        if again or retry or run.status in (Status.MISSING, Status.RUNNING):
            chosen.append(run)
    return sorted(chosen, key=lambda run: run.wave)


def in_order(plan: Plan, todo: Sequence[PlannedRun], first: Sequence[str]) -> list[PlannedRun]:
    """Return runs, those first whose configuration has all of some values, and what these need.

    Args:
        plan: what the runs belong to.
        todo: runs, upstream ones first; that order is kept.
        first: ``field=value``, e.g. ``optimizer.label=AdamW``; without any the order is kept.

    Raises:
        ConfigError: no run has such a field.
    """
    wanted = [item.partition("=")[::2] for item in first]
    for name, value in wanted:
        if todo and all(_field(run.config, name) is None for run in todo):
            raise ConfigError(
                f"first={name}={value}: no run to train has a field '{name}'; write e.g. "
                "first=[optimizer.label=AdamW]"
            )
    ahead: set[str | None] = set()
    for run in reversed(todo):  # a run before what it starts from
        fits = all(str(_field(run.config, name)) == value for name, value in wanted)
        if fits or run.run_id in ahead:
            artifact = plan.artifacts.get(run.artifact)
            ahead |= {run.run_id, run.upstream, artifact and artifact.artifact.teacher_id}
    return sorted(todo, key=lambda run: (run.run_id not in ahead, run.wave))


def _field(config: RunConfig, name: str) -> Any:
    try:
        return value_of(config, name)
    except KeyError:
        return None


def _drive(
    executor: Executor,
    jobs: Sequence[Job],
    progress: Progress,
    say: Say,
    *,
    budget: Budget | None,
) -> bool:
    """Report events until every job is settled; return whether a person interrupted."""

    def tell(events: Iterable[Event]) -> None:
        for event in events:
            if budget is not None:
                budget.see(event)
            progress.see(event)

    with note_signals() as asked:
        try:
            tell(executor.submit(jobs))
            while executor.open_jobs and not asked:
                if budget is not None and budget.left < 0:
                    tell(executor.stop(lambda: bool(asked)))
                    break
                tell(executor.poll(POLL_S))
            if asked and (executor.waits or signal.SIGHUP not in asked):
                say("stopping: running runs save first (Ctrl-C again to kill them)")
                patience = len(asked)
                tell(executor.stop(lambda: len(asked) > patience))
        finally:
            executor.close()
    return bool(asked)


def _check_profile(plan: Plan) -> None:
    """Refuse a table that says at which profiles alone it is trained, at any other.

    Raises:
        ConfigError: naming the table and its profiles.
    """
    for table in plan.tables:
        if table.only_at and plan.profile not in table.only_at:
            raise ConfigError(
                f"tables=[{table.name}]: is trained at profile {' or '.join(table.only_at)} only, "
                f"not at {plan.profile}; write profile={table.only_at[0]} (make: "
                f"PROFILE={table.only_at[0]})"
            )


def _for_its_launcher(settings: Settings) -> Settings:
    """Return the settings that runs are planned with: those of SLURM jobs add ``launch=slurm``."""
    if settings.launcher != SLURM or any(o.startswith("launch=") for o in settings.overrides):
        return settings
    return replace(settings, overrides=(*ON_SLURM, *settings.overrides))


def _executor(
    settings: Settings,
    plan: Plan,
    slots: Sequence[Slot],
    *,
    preload: Sequence[str],
    budget: Budget | None,
) -> Executor:
    files = files_of(plan)
    if settings.launcher == SLURM:
        return SlurmExecutor(files, settings.slurm, n_jobs=settings.n_jobs, wait=settings.wait)
    admit = budget.admits if budget else anything
    return LocalExecutor(files, slots, preload=preload, admit=admit)


def _plan_text(
    plan: Plan,
    todo: Sequence[PlannedRun],
    slots: Sequence[Slot],
    settings: Settings,
    estimate: Estimator,
) -> str:
    """Return the plan in words, with the runs at a time and the GPUs that will be used."""
    jobs, gpus = len(slots), {g for slot in slots for g in slot.get(GPUS, "").split(",")} - {""}
    count = len(gpus)
    if settings.launcher == SLURM:
        jobs = settings.n_jobs or max(1, len(todo))
        per_node, nodes = (int(settings.slurm.get(k, 1)) for k in ("gpus_per_node", "nodes"))
        count = per_node * nodes * (settings.n_jobs or 1)
    text = plan_text(plan, todo, n_jobs=jobs, estimate=estimate, gpus=count)
    refused = not_trusted(todo) if settings.dry_run else []
    unnoticed = [] if todo else _other_code(plan)
    return "\n".join([text, *unnoticed, *refused, *files_not_here(todo, settings)])


def _other_code(plan: Plan) -> list[str]:
    """Return a line about one run that other code than this may have trained, if any was."""
    by_commit = {
        run.result.provenance.get("commit"): run for run in plan.runs.values() if run.result
    }
    for commit, run in by_commit.items():
        if commit and (differs := trained_elsewhere(commit)):
            again = f"redo={run.run_id} trains it again"
            return [f"edited code is not noticed: {run.run_id} was {differs}; {again}"]
    return []


def _seconds(todo: Sequence[PlannedRun], estimate: Estimator) -> dict[str, float]:
    """Return the expected duration of each run."""
    return {run.run_id: time_left(run, estimate).seconds or UNKNOWN_S for run in todo}
