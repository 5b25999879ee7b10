"""Artifacts in a plan: file trees that a script makes before the runs that need them start."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from scaledrelu.config.artifacts import MANIFEST, Artifact, artifact_directory
from scaledrelu.runs.record import ERROR, Status, read_error


@dataclass(frozen=True, slots=True)
class PlannedArtifact:
    """One artifact: how to make it and what its folder says."""

    artifact: Artifact
    wave: int
    status: Status  # ok | failed | missing
    reason: str | None  # first line of error.txt

    @property
    def artifact_id(self) -> str:
        """The name of its folder."""
        return self.artifact.artifact_id


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
