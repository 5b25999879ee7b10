"""What gets a plan run: jobs, what happens to them, and the protocol of whoever starts them.

Two implementations: ``local.py`` has slots on this machine, ``slurm.py`` a cluster's queue. Neither
knows tables; both read from files how a job ended.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from scaledrelu.config.artifacts import MANIFEST, artifact_directory, artifacts_root
from scaledrelu.runs.damage import RecordError
from scaledrelu.runs.lock import is_busy
from scaledrelu.runs.record import (
    ERROR,
    RESULT,
    Outcome,
    read_error,
    read_result,
    run_directory,
    write_error,
)

Say = Callable[[str], None]  # takes one line
Mark = tuple[int, int]  # what tells a result from one that took its place


@dataclass(frozen=True, slots=True)
class Job:
    """One process to start: it trains a run or makes an artifact.

    Attributes:
        name: run id or artifact id.
        work: what the process does; can be pickled; returns the exit status (``runs/ending.py``).
        prepare: called right before it starts or is submitted; BusyError: another process has it.
        after: runs and artifacts that it starts from.
        caption: ``<table>-<row>-<run id>``, its name in a queue.
        processes: that share its groups on one machine (``launch.nproc``).
        groups: of one update, which divide over all its processes; 0 where there are none.
        replaces: the result that it is to be trained again for, see :meth:`Files.mark`.
    """

    name: str
    work: Callable[[], int]
    prepare: Callable[[], None]
    after: tuple[str, ...] = ()
    caption: str = ""
    processes: int = 1
    groups: int = 0
    replaces: Mark | None = None


class What(StrEnum):
    """What can happen to a job."""

    STARTED = "started"
    QUEUED = "queued"
    ADOPTED = "queued already"
    WAITING = "waiting"  # another process works on it
    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"  # saved and left; the same command goes on
    DIED = "died"  # killed without a message; it is tried again
    LEFT_OUT = "left out"

    @property
    def final(self) -> bool:
        """Whether the job needs no more attention of this sweep."""
        return self in (What.DONE, What.FAILED, What.STOPPED, What.LEFT_OUT)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a job."""

    name: str
    what: What
    reason: str = ""


class Executor(Protocol):
    """Starts jobs and tells what becomes of them."""

    waits: bool  # whether its jobs end when this process does, so that one has to wait for them

    @property
    def open_jobs(self) -> int:
        """How many jobs are not settled yet."""
        ...

    def submit(self, jobs: Sequence[Job]) -> list[Event]:
        """Take jobs, those first that others start from."""
        ...

    def poll(self, timeout_s: float) -> list[Event]:
        """Return what happened since, waiting at most so long for something to happen."""
        ...

    def stop(self) -> list[Event]:
        """Let what runs save and end, and start nothing more; return what became of it."""
        ...

    def close(self) -> None:
        """Free what the executor itself uses."""
        ...


class State(StrEnum):
    """What the files of a run or artifact say, whoever made them."""

    DONE = "done"
    CRASHED = "crashed"
    FAILED = "failed"
    DAMAGED = "damaged"
    BUSY = "busy"
    MISSING = "missing"


FINISHED = (State.DONE, State.CRASHED)


@dataclass(frozen=True, slots=True)
class Files:
    """The run directories and artifacts of a results folder, looked at by name."""

    results: Path

    def folder(self, name: str) -> Path:
        """Return the directory of a run or artifact."""
        artifact = artifact_directory(self.results, name)
        return artifact if artifact.is_dir() else run_directory(self.results, name)

    def state(self, name: str) -> State:
        """Return how far a run or artifact has come."""
        folder = self.folder(name)
        if folder.parent == artifacts_root(self.results):
            done = (folder / MANIFEST).exists()
            result = None
        else:
            try:
                result = read_result(folder)
            except RecordError:
                return State.DAMAGED
            done = result is not None
        if done:
            return State.CRASHED if result and result.outcome is Outcome.CRASH else State.DONE
        if is_busy(folder):
            return State.BUSY
        return State.FAILED if (folder / ERROR).exists() else State.MISSING

    def mark(self, name: str) -> Mark | None:
        """Return what tells the result of a run from a later one; None where there is none."""
        try:
            found = (self.folder(name) / RESULT).stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns

    def reason(self, name: str) -> str:
        """Return why a run or artifact failed."""
        return read_error(self.folder(name)) or "no result"

    def blame(self, name: str, reason: str, details: str = "") -> None:
        """Write down why a job of ours failed, unless a process works on it or it is done."""
        if self.state(name) in (State.MISSING, State.FAILED):
            write_error(self.folder(name), reason, details)
