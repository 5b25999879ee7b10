"""Who works on a run right now, and whether the sweep behind it wants to stop.

A job writes ``attempt.json`` when it starts and removes it when it ends, so that a file that is
left behind names a process that died without a word.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

from scaledrelu.files import write_atomic

ATTEMPT = "attempt.json"
SILENCE_S = 1800.0  # a run on another machine that writes nothing for so long is taken for dead
_TOO_LARGE = 2**31  # of a process id
STOP_FILE_VARIABLE = "SCALEDRELU_STOP_FILE"


@dataclass(frozen=True, slots=True)
class Attempt:
    """The process that works on a run: left behind only when it died without a word.

    Attributes:
        pid: process id on ``host``.
        started: seconds since the epoch.
        host: node name.
        birth: the kernel's start time of that process, None where unknown; process ids are
            reused after a reboot, births are not.
        seen: last time (seconds since the epoch) that anything in the run directory changed.
    """

    pid: int
    started: float
    host: str
    birth: str | None
    seen: float

    @property
    def here(self) -> bool:
        """Whether the process belongs to this machine."""
        return self.host == os.uname().nodename

    @property
    def alive(self) -> bool:
        """Whether the process still lives; on another machine: whether it wrote lately."""
        if not self.here:
            return time.time() - self.seen < SILENCE_S
        if self.birth is not None:
            return _birth(self.pid) == self.birth
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True


def write_attempt(run_dir: str | Path, *, pid: int, started: float) -> None:
    """Say that a process works on this run now (``started`` in seconds since the epoch)."""
    attempt = {"pid": pid, "started": started, "host": os.uname().nodename, "birth": _birth(pid)}
    write_atomic(Path(run_dir) / ATTEMPT, json.dumps(attempt) + "\n")


def clear_attempt(run_dir: str | Path) -> None:
    """Say that no process works on this run any more."""
    (Path(run_dir) / ATTEMPT).unlink(missing_ok=True)


def read_attempt(run_dir: str | Path) -> Attempt | None:
    """Return who works, or worked when it died, on this run; None if nobody or unreadable."""
    folder = Path(run_dir)
    try:
        raw = json.loads((folder / ATTEMPT).read_text())
        pid, birth = raw["pid"], raw["birth"]
        started, host = float(raw["started"]), str(raw["host"])
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None
    # A signal to 0, -1 or less reaches other processes than the one that is meant.
    if type(pid) is not int or not 0 < pid < _TOO_LARGE or not isinstance(birth, str | None):
        return None
    return Attempt(pid, started, host, birth, _last_change(folder))


def _last_change(folder: Path) -> float:
    """Return when anything in a folder changed last; files that vanish meanwhile do not count."""
    seen = 0.0
    for path in folder.iterdir():
        with contextlib.suppress(OSError):
            seen = max(seen, path.lstat().st_mtime)
    return seen


def stop_requested() -> bool:
    """Whether the sweep that started this process asked for no further runs to start."""
    path = os.environ.get(STOP_FILE_VARIABLE)
    return bool(path) and Path(path).exists()


def _birth(pid: int) -> str | None:
    """Return the start time of a live process from /proc; None for the dead, zombies included."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]
