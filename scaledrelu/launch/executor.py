"""What gets a plan run: jobs, what happens to them, and the protocol of their executors.

Two implementations: ``local.py`` has slots on this machine, ``slurm.py`` a cluster's queue. Neither
knows tables; both read from files how a job ended.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from scaledrelu.config.artifacts import MANIFEST, artifact_directory
from scaledrelu.runs.damage import RecordError
from scaledrelu.runs.record import (
    Status,
    read_error,
    read_status,
    run_directory,
    unfinished_status,
    write_error,
)

WORKED_ON = "another process is working on it"


@dataclass(frozen=True, slots=True)
class Job:
    """One process to start: it trains a run or makes an artifact.

    Attributes:
        name: run id or artifact id.
        work: what the process does; can be pickled; returns the exit status (``runs/ending.py``).
        prepare: called right before it starts or is submitted; BusyError: another process has it.
        after: runs and artifacts that it needs.
        caption: ``<table>-<row>-<run id>``, its name in a queue.
        groups: groups of one update, which must divide over the tasks of a job; 0 for artifacts.
        replaces: the directory to set aside first, see :meth:`Files.mark`.
        requeue: its SLURM job queues itself again where its time is up before the run can save.
    """

    name: str
    work: Callable[[], int]
    prepare: Callable[[], None]
    after: tuple[str, ...] = ()
    caption: str = ""
    groups: int = 0
    replaces: int | None = None
    requeue: bool = False


class What(StrEnum):
    """What can happen to a job."""

    STARTED = "started"
    QUEUED = "queued"
    ADOPTED = "queued already"
    WAITING = "waiting"  # another process is working on it
    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"  # saved and left; the same command continues it
    DIED = "died"  # killed without a message; it is tried once more
    LEFT_OUT = "left out"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a job."""

    name: str
    what: What
    reason: str = ""


class Executor(Protocol):
    """Starts jobs and reports what becomes of them."""

    waits: bool  # whether its jobs end when this process does, so that one has to wait for them

    @property
    def open_jobs(self) -> int:
        """Number of jobs that this process has to stay for."""
        ...

    def submit(self, jobs: Sequence[Job]) -> list[Event]:
        """Take jobs, upstream ones first."""
        ...

    def poll(self, timeout_s: float) -> list[Event]:
        """Return what happened since, waiting at most so long for something to happen."""
        ...

    def stop(self, impatient: Callable[[], bool]) -> list[Event]:
        """Let running jobs save and end, start nothing more, and return what became of them.

        Args:
            impatient: whether a person does not want to wait for that any longer.
        """
        ...

    def close(self) -> None:
        """Free what the executor itself uses."""
        ...


@dataclass(frozen=True, slots=True)
class Files:
    """The run directories and artifacts of a results folder, by name.

    Attributes:
        results: the folder.
        artifacts: the names that belong to artifacts.
    """

    results: Path
    artifacts: frozenset[str] = frozenset()

    def folder(self, name: str) -> Path:
        """Return the directory of a run or artifact."""
        find = artifact_directory if name in self.artifacts else run_directory
        return find(self.results, name)

    def status(self, name: str) -> Status:
        """Return how far a run or artifact has come."""
        folder = self.folder(name)
        if name in self.artifacts:
            return Status.OK if (folder / MANIFEST).exists() else unfinished_status(folder)
        try:
            return read_status(folder)
        except RecordError:
            return Status.DAMAGED

    def mark(self, name: str) -> int | None:
        """Return a mark that distinguishes a run's directory from a later one; None without one."""
        try:
            return self.folder(name).lstat().st_ino
        except OSError:
            return None

    def reason(self, name: str) -> str:
        """Return why a run or artifact failed."""
        return read_error(self.folder(name)) or "no result"

    def blame(self, name: str, reason: str, details: str = "") -> None:
        """Record why one of our jobs failed, unless a process works on it or it is done.

        Args:
            name: id of the run or artifact.
            reason: why it failed, in one line.
            details: further lines.
        """
        if self.status(name) in (Status.MISSING, Status.FAILED):
            write_error(self.folder(name), reason, details)


@contextmanager
def note_signals() -> Iterator[list[int]]:
    """Note signals that ask a launcher to stop: Ctrl-C, SIGTERM, a lost terminal.

    Nothing is raised: an exception in the middle of an answer would lose it. Under nohup the
    terminal may go.
    """
    asked: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    known = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    numbers = [number for number in known if signal.getsignal(number) != signal.SIG_IGN]
    before = {n: signal.signal(n, lambda number, _: asked.append(number)) for n in numbers}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
