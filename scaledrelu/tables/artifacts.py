"""Artifacts in a plan: file trees that a script makes from a finished run, before others start."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from scaledrelu.config.artifacts import MANIFEST, Artifact, artifact_directory
from scaledrelu.launch.progress import Say
from scaledrelu.runs.record import ERROR, Status, read_error, write_error


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
    """Return an artifact with what its folder says."""
    folder = artifact_directory(results, artifact.artifact_id)
    if (folder / MANIFEST).exists():
        return PlannedArtifact(artifact, wave, Status.OK, None)
    if (folder / ERROR).exists():
        return PlannedArtifact(artifact, wave, Status.FAILED, read_error(folder))
    return PlannedArtifact(artifact, wave, Status.MISSING, None)


def make_artifact(
    artifact: Artifact,
    *,
    results: Path,
    root: Path,
    log: Path,
    say: Say,
    timeout_s: float | None = None,
) -> bool:
    """Run the script that makes an artifact; return whether it is there now.

    Args:
        artifact: what to make; the run it is made from has finished.
        results: results folder.
        root: folder that holds ``scripts/``.
        log: file that takes what the script prints.
        say: takes one line.
        timeout_s: the script is ended after so many seconds; that is no failure of the artifact.
    """
    folder = artifact_directory(results, artifact.artifact_id)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ERROR).unlink(missing_ok=True)
    arguments = artifact.arguments(results)
    say(f"$ python {artifact.script} {' '.join(arguments)}")
    log.parent.mkdir(parents=True, exist_ok=True)
    try:
        ended = subprocess.run(
            [sys.executable, str(root / artifact.script), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout_s,
        )
    except subprocess.TimeoutExpired:
        say(f"{artifact.artifact_id}: stopped, the budget is spent")
        return False
    with log.open("a") as file:
        file.write(ended.stdout)
    if ended.returncode == 0 and (folder / MANIFEST).exists():
        say(f"made {folder}")
        return True
    last = (ended.stdout.strip().splitlines() or ["it ended without a word"])[-1]
    write_error(folder, last.removeprefix("error: "), ended.stdout)
    say(f"{artifact.artifact_id} failed: {last.removeprefix('error: ')}")
    return False


def forget_artifact(results: Path, artifact_id: str) -> None:
    """Let an artifact be made again: the run it was made from is trained again."""
    (artifact_directory(results, artifact_id) / MANIFEST).unlink(missing_ok=True)
