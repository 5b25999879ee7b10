"""Makes what runs need besides other runs: a script in a process, like the training of a run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import deque
from functools import partial
from pathlib import Path

from scaledrelu.config.artifacts import MANIFEST, Artifact, artifact_directory
from scaledrelu.config.places import ROOT
from scaledrelu.runs.ending import EXIT_BUSY, EXIT_FAILED, EXIT_OK
from scaledrelu.runs.lock import BusyError, claim
from scaledrelu.runs.process import stop_with_parent
from scaledrelu.runs.record import ERROR, write_error

KEPT_LINES = 1000  # last lines of the output of a script that failed


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
    status, printed = _run([artifact.script, *artifact.arguments(results)])
    if status == 0 and (folder / MANIFEST).exists():
        return EXIT_OK
    last = next((line for line in reversed(printed) if line.strip()), "it ended without a message")
    write_error(folder, last.strip().removeprefix("error: "), "".join(printed))
    return EXIT_FAILED


def _run(command: list[str]) -> tuple[int, deque[str]]:
    """Run one of our scripts, show its output, and return its exit status and its last lines."""
    _show(f"$ python {' '.join(command)}\n")
    script, *arguments = command
    printed: deque[str] = deque(maxlen=KEPT_LINES)
    with subprocess.Popen(
        [sys.executable, str(ROOT / script), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        preexec_fn=partial(stop_with_parent, os.getpid()),
    ) as process:
        for line in process.stdout:
            printed.append(line)
            _show(line)
    return process.returncode, printed


def _show(line: str) -> None:
    sys.stdout.write(line)  # the log of this process
    sys.stdout.flush()
