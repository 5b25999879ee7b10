"""What the folders of a plan's runs and artifacts say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scaledrelu.config.artifacts import MANIFEST, Artifact, artifact_directory
from scaledrelu.runs.damage import RecordError
from scaledrelu.runs.record import (
    ERROR,
    Result,
    Saved,
    Status,
    finished_result,
    read_error,
    read_saved,
    run_directory,
    unfinished_status,
)
from scaledrelu.tables.plan import PlannedArtifact


@dataclass(frozen=True, slots=True)
class Seen:
    """What a run's directory says; see `PlannedRun`."""

    status: Status
    reason: str | None = None
    result: Result | None = None
    saved: Saved | None = None


def inspect_run(results: Path, name: str, science: Mapping[str, Any]) -> Seen:
    """Return what a run's directory says, after comparing the configuration stored in it.

    A damaged record, or one of another config, is a state: it affects its own cells only.

    Args:
        results: results folder.
        name: run id.
        science: the scientific part of its configuration; what is stored must be the same.
    """
    folder = run_directory(results, name)
    try:
        result = finished_result(folder, science)
    except RecordError as error:
        # The run's id stands beside it; reports do not print local paths.
        reason = str(error).replace(f"{folder}/", "").replace(f"{folder}: ", "")
        return Seen(Status.DAMAGED, reason, saved=read_saved(folder))
    if result is not None:
        return Seen(Status(result.outcome.value), result=result)
    status = unfinished_status(folder)
    reason = read_error(folder) if status is Status.FAILED else None
    return Seen(status, reason, saved=read_saved(folder))


def inspect_artifact(results: Path, artifact: Artifact, *, wave: int) -> PlannedArtifact:
    """Return a planned artifact with the state of its folder.

    Args:
        results: results folder.
        artifact: how it is made.
        wave: position in the order of dependencies; runs of later waves need it.
    """
    folder = artifact_directory(results, artifact.artifact_id)
    if (folder / MANIFEST).exists():
        return PlannedArtifact(artifact, wave, Status.OK, None)
    if (folder / ERROR).exists():
        return PlannedArtifact(artifact, wave, Status.FAILED, read_error(folder))
    return PlannedArtifact(artifact, wave, Status.MISSING, None)
