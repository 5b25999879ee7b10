"""Artifacts in a plan: file trees that a script makes from a finished run, before others start."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from scaledrelu.config.artifacts import MANIFEST, Artifact, artifact_directory
from scaledrelu.config.compose import CONF_DIR
from scaledrelu.runs.ending import EXIT_BUSY, EXIT_FAILED, EXIT_OK
from scaledrelu.runs.lock import BusyError, claim
from scaledrelu.runs.process import stop_with_parent
from scaledrelu.runs.record import ERROR, Status, read_error, write_error

ROOT = CONF_DIR.parent


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


def make_artifact(artifact: Artifact, *, results: Path) -> int:
    """Run the script that makes an artifact, as the process of a launcher; return the exit status.

    Args:
        artifact: what to make; the run it is made from has finished.
        results: results folder.
    """
    folder = artifact_directory(results, artifact.artifact_id)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with claim(folder):
            return _make(artifact, folder, results)
    except BusyError:
        return EXIT_BUSY


def _make(artifact: Artifact, folder: Path, results: Path) -> int:
    if (folder / MANIFEST).exists():  # made by another process, a moment ago
        return EXIT_OK
    (folder / ERROR).unlink(missing_ok=True)
    arguments = artifact.arguments(results)
    sys.stdout.write(f"$ python {artifact.script} {' '.join(arguments)}\n")
    sys.stdout.flush()
    ended = subprocess.Popen(
        [sys.executable, str(ROOT / artifact.script), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=partial(stop_with_parent, os.getpid()),
    )
    printed, _ = ended.communicate()
    sys.stdout.write(printed)  # into the log of this process
    if ended.returncode == 0 and (folder / MANIFEST).exists():
        return EXIT_OK
    last = (printed.strip().splitlines() or ["it ended without a message"])[-1]
    write_error(folder, last.removeprefix("error: "), printed)
    return EXIT_FAILED


def forget_artifact(results: Path, artifact_id: str) -> None:
    """Let an artifact be made again: the run it was made from is trained again."""
    (artifact_directory(results, artifact_id) / MANIFEST).unlink(missing_ok=True)
