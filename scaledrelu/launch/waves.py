"""Trains a plan in the order its parts depend on each other: runs, artifacts made from them, runs.

Nothing starts from a run that crashed, failed or is missing.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Sequence
from pathlib import Path

from scaledrelu.config.artifacts import MANIFEST, artifact_directory
from scaledrelu.config.overrides import group_options
from scaledrelu.launch.budget import Budget
from scaledrelu.launch.estimate import Estimator, time_left
from scaledrelu.launch.experiments import write_experiment
from scaledrelu.launch.launch import ROOT, Launcher, OutOfTimeError
from scaledrelu.launch.progress import Progress, Say
from scaledrelu.runs.attempt import clear_attempt
from scaledrelu.runs.damage import REDONE, RecordError
from scaledrelu.runs.record import (
    ERROR,
    Outcome,
    Status,
    read_result,
    run_directory,
    runs_root,
    times_redone,
)
from scaledrelu.tables.artifacts import PlannedArtifact, forget_artifact, make_artifact
from scaledrelu.tables.plan import Plan, PlannedRun

UNKNOWN_S = 20.0  # where no run like it has finished: among others it counts as a short one


def train_waves(
    plan: Plan,
    todo: Sequence[PlannedRun],
    launcher: Launcher,
    *,
    say: Say,
    budget: Budget | None = None,
) -> bool:
    """Train some runs of a plan and make the artifacts they need.

    Args:
        plan: what the tables need.
        todo: the runs to train; finished ones among them are put aside first.
        launcher: trains runs that do not depend on each other.
        say: takes one line.
        budget: leaves out what cannot finish in time.

    Returns:
        Whether a person interrupted.
    """
    groups = list(group_options(plan.conf_dir))
    for run in todo:
        tables = plan.tables_of(run.run_id)
        write_experiment(run, results=plan.results, groups=groups, tables=tables)
    making = _artifacts_to_make(plan, todo)
    estimate = Estimator(plan.results)
    seconds = {
        run.run_id: time_left(estimate(run.config), run.saved).seconds or UNKNOWN_S for run in todo
    }
    progress = Progress(seconds, results=plan.results, say=say)
    previous = _sigterm_as_interrupt()
    try:
        for wave in sorted({item.wave for item in (*todo, *making)}):
            for item in making:
                if item.wave == wave and _startable(plan, item.artifact.upstream, item, say):
                    _make(item, plan, launcher, say, budget)
            ready = [run for run in todo if run.wave == wave and _ready(plan, run, say)]
            for batch in budget.batches(ready) if budget else filter(None, [ready]):
                for run in batch:
                    _clear(run, plan.results)
                launcher.wave([run.run_id for run in batch], progress)
    except KeyboardInterrupt:
        return True
    except OutOfTimeError:
        return False
    finally:
        if previous is not None:
            signal.signal(signal.SIGTERM, previous)
    return False


def _artifacts_to_make(plan: Plan, todo: Sequence[PlannedRun]) -> list[PlannedArtifact]:
    """Return the artifacts that are missing, or whose teacher is trained again."""
    again = {run.run_id for run in todo}
    making = []
    for name in dict.fromkeys(run.artifact for run in todo if run.artifact):
        item = plan.artifacts[name]
        if again.intersection(item.artifact.upstream):
            forget_artifact(plan.results, name)
        if not _made(plan.results, name):
            making.append(item)
    return making


def _make(
    item: PlannedArtifact, plan: Plan, launcher: Launcher, say: Say, budget: Budget | None
) -> None:
    make_artifact(
        item.artifact,
        results=plan.results,
        root=ROOT,
        log=launcher.log,
        say=say,
        timeout_s=max(0.0, budget.left) if budget else None,
    )


def _ready(plan: Plan, run: PlannedRun, say: Say) -> bool:
    if not _startable(plan, plan.upstream_of(run), run, say):
        return False
    if run.artifact is None or _made(plan.results, run.artifact):
        return True
    say(f"{run.run_id} left out: it needs {run.artifact}, which has not been made")
    return False


def _startable(
    plan: Plan, upstream: Sequence[str], item: PlannedRun | PlannedArtifact, say: Say
) -> bool:
    """Whether every run that something starts from has finished without a crash."""
    name = item.run_id if isinstance(item, PlannedRun) else item.artifact_id
    for above in upstream:
        try:
            result = read_result(run_directory(plan.results, above))
        except RecordError as error:
            say(f"{name} left out: it starts from {above}, which is damaged: {error}")
            return False
        if result is None:
            say(f"{name} left out: it starts from {above}, which has no result")
            return False
        if result.outcome is Outcome.CRASH:
            say(f"{name} left out: upstream crashed ({above})")
            return False
    return True


def _made(results: Path, artifact_id: str) -> bool:
    return (artifact_directory(results, artifact_id) / MANIFEST).exists()


def _clear(run: PlannedRun, results: Path) -> None:
    """Put a finished run aside before it is trained again; forget old failures."""
    folder = run_directory(results, run.run_id)
    if run.status.done or run.status is Status.DAMAGED:
        kept = runs_root(results) / REDONE
        kept.mkdir(parents=True, exist_ok=True)
        number = times_redone(results, run.run_id) + 1
        while os.path.lexists(kept / f"{run.run_id}-r{number}"):  # somebody deleted an older one
            number += 1
        folder.rename(kept / f"{run.run_id}-r{number}")
    (folder / ERROR).unlink(missing_ok=True)
    clear_attempt(folder)


def _sigterm_as_interrupt() -> signal.Handlers | None:
    """Treat a polite kill of the sweep as Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        return None

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    return signal.signal(signal.SIGTERM, interrupt)
