"""SLURM's answers: which jobs wait or run, how one ended, and the record of a run's job."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from scaledrelu.config.identity import RUN_ID
from scaledrelu.files import write_atomic
from scaledrelu.runs.damage import UNREADABLE
from scaledrelu.runs.ending import EXIT_BUSY, EXIT_INTERRUPTED

JOB = "job.json"
FIELDS = "%i|%T|%r|%k|%j"  # id, state, reason, comment, name
LEFT_ALONE = ("CANCELLED", "COMPLETED", "PREEMPTED", "TIMEOUT")  # saved and left: not a failure
ALIVE = (
    "PENDING", "CONFIGURING", "RUNNING", "SUSPENDED", "COMPLETING", "REQUEUED", "REQUEUE_HOLD",
    "REQUEUE_FED", "RESIZING", "RESV_DEL_HOLD", "SIGNALING", "SPECIAL_EXIT", "STAGE_OUT", "STOPPED",
)  # fmt: skip
UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class QueuedJob:
    """A job in SLURM's queue."""

    job_id: str
    state: str  # PENDING, RUNNING, ...
    reason: str = ""  # why it waits: Resources, Dependency, BeginTime, ...

    @property
    def leaving(self) -> bool:
        """Whether it has stopped training."""
        return self.state == "COMPLETING"

    def __str__(self) -> str:
        if self.state == "PENDING":
            why = "" if self.reason in ("", "None") else f", {self.reason}"
            return f"queued  (job {self.job_id}{why})"
        return f"{'ending' if self.leaving else 'starting'}  (job {self.job_id})"


@dataclass(frozen=True, slots=True)
class JobEnd:
    """How a job ended: a state of SLURM's, ``unknown`` if it has forgotten, and an exit status."""

    state: str
    exit_status: int = 0

    @property
    def left(self) -> bool:
        """Whether it saved and left, which is no failure."""
        return self.state in LEFT_ALONE or self.exit_status in (EXIT_BUSY, EXIT_INTERRUPTED)

    def __str__(self) -> str:
        return "the run saved" if self.exit_status == EXIT_INTERRUPTED else self.state


@dataclass(frozen=True, slots=True)
class JobRecord:
    """The last job of a run or artifact, kept in its directory."""

    job_id: str
    name: str
    log: str


def queued_jobs(results: Path) -> dict[str, QueuedJob] | None:
    """Return the jobs that work for a results folder, by the run or artifact of each.

    Returns:
        None where SLURM does not answer.
    """
    printed = _ask("squeue", "--me", "--noheader", "--array", "--format", FIELDS)
    if printed is None:
        return None
    found = {}
    for line in printed.splitlines():
        if line.count("|") < 4:  # a part of some other job's comment
            continue
        job_id, state, reason, comment, name = line.split("|", 4)
        target = re.search(rf"{RUN_ID.pattern}$", name)
        if target and comment == comment_of(results):
            job = QueuedJob(job_id, state, reason)
            if not job.leaving or target[0] not in found:  # one that leaves may have a successor
                found[target[0]] = job
    return found


def comment_of(results: Path) -> str:
    """Return the comment of the jobs of a results folder, which separates it from others."""
    return f"results {results.absolute()}".replace("|", "_")


def ending_of(job_id: str) -> JobEnd:
    """Return how a job ended, from the controller or, minutes later, from the accounting."""
    shown = _ask("scontrol", "show", "job", job_id, "--oneliner") or ""
    state = re.search(r"\bJobState=(\w+)", shown)
    status = re.search(r"\bExitCode=(\d+):", shown)
    if not state:
        shown = _ask("sacct", "-nXP", "-o", "State,ExitCode", "-j", job_id) or ""
        state, status = re.match(r"(\w+)", shown), re.search(r"\|(\d+):", shown)
    return JobEnd(state[1] if state else UNKNOWN, int(status[1]) if status else 0)


def cancel(job_ids: Sequence[str]) -> None:
    """Cancel jobs: SLURM sends SIGTERM, so that running ones save, and SIGKILL later."""
    for at in range(0, len(job_ids), 200):  # the length of a command line is limited
        _ask("scancel", *job_ids[at : at + 200])


def write_job(folder: Path, record: JobRecord) -> None:
    """Store the job of a run or artifact in its directory.

    Args:
        folder: directory of the run or artifact.
        record: its last job.
    """
    write_atomic(folder / JOB, json.dumps(asdict(record)) + "\n")


def read_job(folder: Path) -> JobRecord | None:
    """Return the last job of a run; None if it never had one, or its record is damaged."""
    try:
        raw = json.loads((folder / JOB).read_text())
        return JobRecord(str(raw["job_id"]), str(raw["name"]), str(raw["log"]))
    except (OSError, *UNREADABLE):
        return None


def _ask(*command: str) -> str | None:
    """Return what a SLURM command prints, None if it fails or does not answer."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout if done.returncode == 0 else None
