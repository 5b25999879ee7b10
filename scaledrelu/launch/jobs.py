"""From a plan to jobs: what each process does, what it needs, and what is prepared first."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path

from scaledrelu.config.artifacts import MANIFEST, artifact_directory
from scaledrelu.config.places import runs_root
from scaledrelu.config.run import RunConfig
from scaledrelu.config.stored import CONFIG_YAML
from scaledrelu.launch.artifacts import make_artifact
from scaledrelu.launch.executor import Files, Job
from scaledrelu.runs.damage import REDONE
from scaledrelu.runs.lock import claim
from scaledrelu.runs.planned import PlanWriter
from scaledrelu.runs.record import Status, run_directory, times_redone
from scaledrelu.tables.plan import Plan, PlannedArtifact, PlannedRun
from scaledrelu.tables.printed import printed_of, with_printed

Train = Callable[..., int]  # (results, run id, changes=...) -> exit status; can be pickled


def jobs_of(plan: Plan, todo: Sequence[PlannedRun], train: Train) -> list[Job]:
    """Return the jobs that train some runs and make what these need, upstream ones first.

    Args:
        plan: what the tables need.
        todo: the runs to train; finished ones among them are set aside right before they start.
        train: the function that the process of a run calls.
    """
    files, captions, printed = files_of(plan), captions_of(plan), printed_of(plan)
    jobs: dict[str, Job] = {}
    for run in todo:
        item = plan.artifacts[run.artifact] if run.artifact else None
        if item is not None and item.artifact_id not in jobs:
            redo = any(name in jobs for name in item.artifact.upstream)
            if redo or not _manifest_of(item, plan).exists():
                jobs[item.artifact_id] = _artifact_job(item, plan, captions, redo=redo)
        again = run.status.done or run.status is Status.DAMAGED
        replaces = files.mark(run.run_id) if again else None
        config = with_printed(run.config, printed.get(run.run_id))
        jobs[run.run_id] = Job(
            name=run.run_id,
            work=partial(train, plan.results, run.run_id, changes=trust_of(run.config)),
            prepare=partial(make_ready, run, files, config, replaces=replaces),
            after=tuple(filter(None, (run.upstream, run.artifact))),
            caption=f"{captions.get(run.run_id, 'run')}-{run.run_id}",
            groups=run.config.num_groups,
            replaces=replaces,
            requeue=run.config.launch.requeue,
        )
    return list(jobs.values())


def write_plan(plan: Plan, todo: Sequence[PlannedRun]) -> None:
    """Write the file of every run to train, except finished ones, whose file is still in use.

    Args:
        plan: what the tables need.
        todo: the runs to train.

    Raises:
        OSError: the results folder cannot be written.
    """
    writer, printed = PlanWriter(), printed_of(plan)
    for run in todo:
        if not run.status.done and run.status not in (Status.DAMAGED, Status.RUNNING):
            config = with_printed(run.config, printed.get(run.run_id))
            folder = run_directory(plan.results, run.run_id)
            writer.write(config, folder, planned_as=_in_words(run))


def files_of(plan: Plan) -> Files:
    """Return the run directories and artifacts of a plan."""
    return Files(plan.results, frozenset(plan.artifacts))


def make_ready(run: PlannedRun, files: Files, config: RunConfig, *, replaces: int | None) -> None:
    """Set aside a result that is to be made again, and make sure that the run has its file.

    Args:
        run: the planned run.
        files: the results folder.
        config: its configuration, with what its tables say of it.
        replaces: mark of the directory to set aside, if it is still there, see ``Files.mark``.

    Raises:
        BusyError: another process trains the run.
        OSError: the results folder cannot be written.
    """
    folder = files.folder(run.run_id)
    if replaces is not None and files.mark(run.run_id) == replaces:
        _set_aside(folder, files, replaces)
    if not (folder / CONFIG_YAML).exists():
        PlanWriter().write(config, folder, planned_as=_in_words(run))


def _set_aside(folder: Path, files: Files, replaces: int) -> None:
    kept = runs_root(files.results) / REDONE
    kept.mkdir(parents=True, exist_ok=True)
    with claim(folder) if folder.is_dir() else nullcontext():
        if files.mark(folder.name) != replaces:  # another sweep has done it, a moment ago
            return
        number = times_redone(files.results, folder.name) + 1
        while os.path.lexists(kept / f"{folder.name}-r{number}"):  # an older one was deleted
            number += 1
        folder.rename(kept / f"{folder.name}-r{number}")


def _artifact_job(
    item: PlannedArtifact, plan: Plan, captions: Mapping[str, str], *, redo: bool
) -> Job:
    """Return the job that makes an artifact; again where what it is made from is trained again."""
    files = files_of(plan)
    forget = partial(_manifest_of(item, plan).unlink, missing_ok=True)
    return Job(
        name=item.artifact_id,
        work=partial(make_artifact, item.artifact, results=plan.results),
        prepare=forget if redo else _nothing,
        after=item.artifact.upstream,
        caption=f"{captions.get(item.artifact_id, 'make')}-{item.artifact_id}",
        replaces=files.mark(item.artifact_id) if redo else None,
    )


def _manifest_of(item: PlannedArtifact, plan: Plan) -> Path:
    return artifact_directory(plan.results, item.artifact_id) / MANIFEST


def _in_words(run: PlannedRun) -> str:
    profile = run.config.profile.name
    return " ".join((*run.overrides, f"profile={profile}", f"seed={run.seed}"))


def _nothing() -> None:
    pass


def captions_of(plan: Plan) -> dict[str, str]:
    """Return ``<table>-<row>`` of what first needs each run and artifact."""
    found: dict[str, str] = {}
    for cell in plan.cells:
        row = cell.row.number or "base"
        for run_id in cell.run_ids:
            run = plan.runs[run_id]
            for name in filter(None, (run_id, run.artifact, *plan.upstream_of(run))):
                found.setdefault(name, f"{cell.table.name}-{row}")
    return found


def trust_of(config: RunConfig) -> tuple[str, ...]:
    """Return, as an override, the trusted modules, which a stored configuration cannot decide."""
    return (f"trust=[{','.join(config.trust)}]",) if config.trust else ()
