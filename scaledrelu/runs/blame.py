"""Which process of a run met the error, and which only lost its connection to it.

When one of several processes fails, the others fail right after it, in a collective. Every process
notes its own error in the run directory before it leaves the group; the first note that is not
about a lost connection is the run's reason.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scaledrelu.runs.files import write_atomic

NOTE = "rank{rank}.error"
WAIT_S = 5.0  # a process writes its note before its connections close
# gloo raises plain RuntimeErrors: torch's Python types name NCCL and the store only.
OF_A_CONNECTION = ("gloo/transport", "closed by peer", "reset by peer", "nccl")


@dataclass(frozen=True, slots=True)
class Note:
    """One process's error: a line, its traceback (empty for what a user can fix), and when."""

    rank: int
    reason: str
    trace: str
    time: float
    follows: bool  # the process only lost its connection to one that had left


def follows_another(error: BaseException) -> bool:
    """Whether an error only says that another process has left the group."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(error, getattr(torch.distributed, "DistError", ())):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in text for words in OF_A_CONNECTION)


def write_note(folder: Path, rank: int, error: BaseException, *, reason: str, trace: str) -> None:
    """Leave this process's error where the others and the parent find it; the first one stays."""
    path = folder / NOTE.format(rank=rank)
    if path.exists():
        return
    note = {
        "reason": reason,
        "trace": trace,
        "time": time.time(),
        "follows": follows_another(error),
    }
    write_atomic(path, json.dumps(note))


def clear_note(folder: Path, rank: int) -> None:
    """Remove what an earlier attempt of this rank left."""
    (folder / NOTE.format(rank=rank)).unlink(missing_ok=True)


def first_note(folder: Path, size: int) -> Note | None:
    """Return the earliest note that names a cause, or None where no process left one."""
    notes = [note for rank in range(size) if (note := _read(folder, rank)) and not note.follows]
    return min(notes, key=lambda note: note.time, default=None)


def wait_for_note(folder: Path, size: int, *, limit_s: float = WAIT_S) -> Note | None:
    """Return :func:`first_note`, waiting a little: other hosts write to the same folder slowly."""
    end = time.monotonic() + limit_s
    while (note := first_note(folder, size)) is None and time.monotonic() < end:
        time.sleep(0.1)
    return note


def killed_first(failures: Sequence[tuple[int, int]]) -> int | None:
    """Return the rank that a signal ended, of (rank, exit code); None if none was.

    SIGTERM does not count: the parent sends it to the others once one has failed.
    """
    killed = [rank for rank, code in failures if code < 0 and code != -15]
    return min(killed, default=None)


def _read(folder: Path, rank: int) -> Note | None:
    try:
        return Note(rank=rank, **json.loads((folder / NOTE.format(rank=rank)).read_text()))
    except (OSError, ValueError, TypeError):
        return None
