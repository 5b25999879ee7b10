"""Pieces of work that share a limited time: each a process with its own limit and its own log.

A piece that takes too long is ended with all its processes, and the next one starts.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from scaledrelu.runs.lock import stat_of

POLL_S = 0.1
GRACE_S = 10.0  # between asking a piece to stop and killing it; part of its limit
GRACE_SHARE = 0.2  # but at most this share of the limit
LEFT_S = 5.0  # a piece with less than this is not started

Show = Callable[[str], None]  # takes text


class Ended(StrEnum):
    """How a piece ended."""

    OK = "ok"
    FAILED = "failed"
    OVER = "over time"


@dataclass(frozen=True, slots=True)
class Piece:
    """One piece of work.

    Attributes:
        name: name in the summary and of the log file.
        command: what to start.
        environment: variables added to this process's.
        good: exit statuses that are not failures.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    good: frozenset[int] = frozenset({0})


@dataclass(frozen=True, slots=True)
class Report:
    """How a piece ended."""

    name: str
    ended: Ended
    status: int | None  # exit status; None if the process was killed
    seconds: float
    log: Path


@dataclass(frozen=True, slots=True)
class Started:
    """A piece that runs, since when, and where it prints to."""

    piece: Piece
    process: subprocess.Popen[bytes]
    since: float
    log: Path


@dataclass(slots=True)
class Clock:
    """The time left of a budget."""

    budget: float
    started: float

    @property
    def left(self) -> float:
        """Seconds until everything must be over."""
        return self.budget - (time.monotonic() - self.started)


def attempt(piece: Piece, limit_s: float, *, clock: Clock, folder: Path, show: Show) -> Report:
    """Run a piece, or report that there is no time for it.

    Args:
        piece: what to run.
        limit_s: seconds that it may take.
        clock: the time left of all pieces.
        folder: folder of the log.
        show: prints text.
    """
    if limit_s < min(LEFT_S, 0.01 * clock.budget):
        return Report(piece.name, Ended.OVER, None, 0.0, folder / f"{piece.name}.log")
    show(f"\n== {piece.name}: {limit_s:.0f} s at most ==\n")
    return run_piece(piece, limit_s=limit_s, folder=folder, show=show)


def run_piece(piece: Piece, *, limit_s: float, folder: Path, show: Show) -> Report:
    """Run a piece for at most ``limit_s`` seconds and show what it prints as it comes.

    Args:
        piece: what to run.
        limit_s: seconds, the time to stop included.
        folder: folder of the log.
        show: prints text.
    """
    return end_piece(start_piece(piece, folder), limit_s=limit_s, show=show)


def start_piece(piece: Piece, folder: Path) -> Started:
    """Start a piece, which then runs beside this process until ``end_piece``.

    Args:
        piece: what to run.
        folder: folder of the log.
    """
    log = folder / f"{piece.name}.log"
    folder.mkdir(parents=True, exist_ok=True)
    since = time.monotonic()
    with log.open("wb") as stream:
        process = subprocess.Popen(
            piece.command,
            env={**os.environ, **piece.environment},
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return Started(piece, process, since, log)


def end_piece(started: Started, *, limit_s: float, show: Show) -> Report:
    """Wait for a piece and show what it prints as it comes.

    Near the end it gets SIGTERM, so that it can save, and at the end SIGKILL, and so do all
    processes below it.

    Args:
        started: the piece.
        limit_s: seconds since its start, the time to stop included.
        show: prints text.
    """
    piece, process, since = started.piece, started.process, started.since
    with started.log.open("rb") as printed:
        try:
            over = _wait(process, since + limit_s, limit_s, lambda: _show(printed.read(), show))
        finally:  # an interruption leaves no processes behind
            _kill(process, _below(process.pid))
        _show(printed.read(), show)
    good = process.returncode in piece.good
    ended = Ended.OVER if over else Ended.OK if good else Ended.FAILED
    status = process.returncode if process.returncode >= 0 else None
    return Report(piece.name, ended, status, time.monotonic() - since, started.log)


def _wait(
    process: subprocess.Popen[bytes], end: float, limit_s: float, look: Callable[[], None]
) -> bool:
    """Wait for a process; return whether it had to be asked to stop."""
    asked = False
    while process.poll() is None and time.monotonic() < end:
        if not asked and time.monotonic() > end - grace_s(limit_s):
            asked = True
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        time.sleep(POLL_S)
        look()
    return asked or process.poll() is None


def grace_s(limit_s: float) -> float:
    """Return how many seconds before its limit a piece is asked to stop."""
    return min(GRACE_S, GRACE_SHARE * limit_s)


def _kill(process: subprocess.Popen[bytes], below: Sequence[int]) -> None:
    """End a process, its group and those below it that have left the group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    for pid in below:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


def _below(pid: int) -> list[int]:
    """Return the processes that descend from one; empty where there is no /proc."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            parent = int(stat_of(int(entry.name))[1])
            children.setdefault(parent, []).append(int(entry.name))
    found, waiting = [], [pid]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def _show(content: bytes, show: Show) -> None:
    if content:
        show(content.decode(errors="replace"))
