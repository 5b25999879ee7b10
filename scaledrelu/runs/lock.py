"""One writer for each run directory: a lock that the system releases however its holder ends.

``attempt.json`` beside the lock names the process that holds it, and since when. The lock decides;
the file counts only on another machine, where the file system may not share locks.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from scaledrelu.errors import RunError
from scaledrelu.files import write_atomic
from scaledrelu.runs.damage import UNREADABLE

LOCK = "run.lock"
RANKS_LOCK = "ranks.lock"  # shared by the processes of a run that another one started
ATTEMPT = "attempt.json"
BEAT_S = 15.0  # how often a run shows that it is alive
SILENCE_S = 120.0  # a run on another machine that has been silent for so long is dead
PATIENCE_S = 1.0  # a mere check holds the lock for a moment
LOOK_S = 0.05  # how long a mere check waits for another one
_TAKEN = (errno.EAGAIN, errno.EACCES)
_TOO_LARGE = 2**31  # of a process id


class BusyError(RunError):
    """Another process is training the same run."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """The process that works on a run, or was killed while it did.

    Attributes:
        pid: process id on ``host``.
        host: node name.
        birth: the kernel's start time of that process, None where unknown; process ids are
            reused, births are not.
        boot: id of the kernel that it ran under, None where unknown; a restarted container has
            another host name and the same kernel.
        seen: last sign of life, in seconds since the epoch.
        slurm_job: number of the SLURM job around it, None without one.
    """

    pid: int
    host: str
    birth: str | None
    boot: str | None
    seen: float
    slurm_job: str | None = None

    @property
    def here(self) -> bool:
        """Whether the process ran on this kernel, which then knows whether it is alive."""
        return self.boot in (None, _boot_id())

    def __str__(self) -> str:
        job = f", SLURM job {self.slurm_job}" if self.slurm_job else ""
        return f"process {self.pid} on {self.host}{job}"


@contextlib.contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Hold the lock of a run directory and record there who trains the run.

    Raises:
        BusyError, RunError: see :func:`claim`.
    """
    with claim(folder), _attempt(folder):
        yield


@contextlib.contextmanager
def claim(folder: Path) -> Iterator[None]:
    """Hold the lock of a directory, which the system releases however this process ends.

    Raises:
        BusyError: if another process is working on it.
        RunError: if the lock is not a file of this folder.
    """
    with _open_lock(folder / LOCK) as stream:
        if _held_by_others(folder, stream):
            who = read_attempt(folder) or "another process"
            raise BusyError(f"{folder}: {who} is working on it; wait until it ends, or stop it")
        yield


@contextlib.contextmanager
def one_of_many(folder: Path) -> Iterator[None]:
    """Make the next attempt wait while this process of a run still saves.

    The parent that holds the lock may have been killed.
    """
    with _open_lock(folder / RANKS_LOCK) as stream:
        with contextlib.suppress(OSError):
            fcntl.flock(stream, fcntl.LOCK_SH)  # a mere check releases it at once
        yield


def is_busy(folder: Path) -> bool:
    """Whether some process is training this run now."""
    attempt = read_attempt(folder)
    for name, kind in ((LOCK, fcntl.LOCK_SH), (RANKS_LOCK, fcntl.LOCK_EX)):
        try:
            stream = _open_lock(folder / name, create=False)
        except (OSError, RunError):
            continue
        with stream:
            if _is_taken(stream, kind, LOOK_S):
                return True
    return attempt is not None and _lives_unseen(attempt, folder)


def read_attempt(run_dir: Path) -> Attempt | None:
    """Return who is, or was when killed, working on this run; None if unknown."""
    path = run_dir / ATTEMPT
    try:
        raw = json.loads(path.read_text())
        pid, birth, boot, job = raw["pid"], raw["birth"], raw.get("boot"), raw.get("slurm_job")
        host, seen = str(raw["host"]), path.stat().st_mtime
    except (OSError, *UNREADABLE):
        return None
    # A signal to 0, -1 or less would reach other processes.
    if type(pid) is not int or not 0 < pid < _TOO_LARGE:
        return None
    if not all(isinstance(text, str | None) for text in (birth, boot, job)):
        return None
    return Attempt(pid, host, birth, boot, seen, job)


def _held_by_others(folder: Path, stream: IO[bytes]) -> bool:
    """Take the lock; return whether another process holds it, or works where it is not shared."""
    if _is_taken(stream, fcntl.LOCK_EX, PATIENCE_S):
        return True
    attempt = read_attempt(folder)
    if attempt is not None and _lives_unseen(attempt, folder):
        return True
    with _open_lock(folder / RANKS_LOCK) as others:
        return _is_taken(others, fcntl.LOCK_EX, LOOK_S)


def _is_taken(stream: IO[bytes], kind: int, patience_s: float) -> bool:
    """Take a lock; return whether others hold it, and not just for the moment of a check."""
    deadline = time.monotonic() + patience_s
    while _try(stream, kind) is False:
        if time.monotonic() > deadline:
            return True
        time.sleep(0.01)
    return False


def _try(stream: IO[bytes], kind: int) -> bool | None:
    """Return whether a lock was free and is now held; None where the file system has no locks."""
    try:
        fcntl.flock(stream, kind | fcntl.LOCK_NB)
    except OSError as error:
        return False if error.errno in _TAKEN else None
    return True


def _lives_unseen(attempt: Attempt, folder: Path) -> bool:
    """Whether a process is alive although the lock seems free."""
    if not attempt.here:  # its locks may not reach this machine
        if attempt.slurm_job is not None and attempt.slurm_job == os.environ.get("SLURM_JOB_ID"):
            return False  # this job's own life before it was queued again
        return time.time() - attempt.seen < SILENCE_S
    if _locks_work(folder):
        return False
    return attempt.birth is not None and _start_time(attempt.pid) == attempt.birth


def _locks_work(folder: Path) -> bool:
    try:
        with _open_lock(folder / LOCK, create=False) as stream:
            return _try(stream, fcntl.LOCK_SH) is not None
    except FileNotFoundError:
        return True  # whoever trains holds one
    except (OSError, RunError):
        return False


@contextlib.contextmanager
def _attempt(folder: Path) -> Iterator[None]:
    """Record who works on a run, and every few seconds that it still does."""
    pid = os.getpid()
    attempt = {
        "pid": pid,
        "started": time.time(),  # for people
        "host": os.uname().nodename,
        "birth": _start_time(pid),
        "boot": _boot_id(),
        "slurm_job": os.environ.get("SLURM_JOB_ID"),
    }
    path, ended = folder / ATTEMPT, threading.Event()
    write_atomic(path, json.dumps(attempt) + "\n")
    threading.Thread(target=_heartbeat, args=(path, ended), daemon=True).start()
    try:
        yield
    finally:
        ended.set()
        path.unlink(missing_ok=True)


def stat_of(pid: int) -> list[str]:
    """Return what Linux says of a process, from its state on: fields 3 to 52 of proc_pid_stat(5).

    Raises:
        OSError: there is no such process, or no /proc.
    """
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _heartbeat(path: Path, ended: threading.Event) -> None:
    while not ended.wait(BEAT_S):
        with contextlib.suppress(OSError):
            os.utime(path)


def _open_lock(path: Path, *, create: bool = True) -> IO[bytes]:
    """Open a lock without following a link, which may lead elsewhere."""
    flags = os.O_RDWR | (os.O_CREAT if create else 0) | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.fdopen(os.open(path, flags, 0o666), "r+b")
    except FileNotFoundError:
        raise
    except OSError as error:
        reason = "a link" if path.is_symlink() else error.strerror
        raise RunError(f"{path}: cannot lock this run ({reason}); move this file away") from error


def _boot_id() -> str | None:
    """Return an id of this boot of this kernel; None where unknown."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None


def _start_time(pid: int) -> str | None:
    """Return the start time of a live process from /proc; None for the dead, zombies included."""
    try:
        fields = stat_of(pid)
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]
