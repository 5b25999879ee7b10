"""Why a run failed, in one line, and which of its processes raised the error.

When one of several processes fails, the others fail right after it, in a collective. Every process
notes its own error in the run directory before it leaves the group; the first note that is not
about a lost connection is the run's reason.
"""

from __future__ import annotations

import contextlib
import json
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from scaledrelu.config.places import ROOT
from scaledrelu.engine.ranks import find_ranks
from scaledrelu.errors import ScaledReluError
from scaledrelu.files import write_atomic

PACKAGE = Path(__file__).resolve().parents[1]
DOING = {  # function -> what a run does in it; the innermost one counts
    "open_data": "opening the data",
    "build_task": "building the model",
    "load_initial": "loading the first weights",
    "build_evaluation": "building the evaluators",
    "embed_training_images": "computing features",
    "build_optimizer": "building the optimizer",
    "build": "building the run",
    "train": "training",
    "restore": "resuming",
    "save": "saving a checkpoint",
    "_evaluate_now": "evaluating",
    "collect_evidence": "gathering evidence",
    "_make_result": "writing the result",
}
LIBRARIES = {"site-packages", "dist-packages"}  # may lie in the checkout, or be where it lies
NOTE = "rank{rank}.error"
LOST = "lost its connection to another process, which left no error message (out of memory?)"
WAITED = (
    "waited longer than launch.timeout_s for another process, which had not failed (it may have "
    "compiled its networks, or its files are slow)"
)
ENDED_BY = {  # signal -> what it hints at; NCCL's threads abort a process that waited too long
    signal.SIGABRT: "its output says why; with NCCL often a wait longer than launch.timeout_s"
}
WAIT_S = 5.0  # a process writes its note before its connections close
# gloo raises plain RuntimeErrors: torch's Python types name NCCL and the store only.
OF_A_CONNECTION = ("gloo/transport", "closed by peer", "reset by peer", "nccl")
TOO_LONG = ("timed out waiting", "collective operation timeout")  # gloo, NCCL's watchdog


@dataclass(frozen=True, slots=True)
class Note:
    """One process's error: a line, its traceback (empty for user errors), and when."""

    rank: int
    reason: str
    trace: str
    time: float
    follows: bool  # it only lost its connection to a process that had ended


def whose_fault(codes: Sequence[tuple[int, int]], nproc: int, folder: Path) -> str:
    """Return the run's line: the process that raised the error, not the first that ended.

    Args:
        codes: (rank, exit code) of the processes that failed.
        nproc: number of processes of the run.
        folder: run directory, with the notes of the processes.
    """
    if note := first_note(folder, nproc):
        return _blamed(note.rank, nproc, note.reason, folder)
    if (rank := killed_first(codes)) is not None:
        number = signal.Signals(-dict(codes)[rank])
        reason = f"killed by {number.name} ({ENDED_BY.get(number, 'out of memory?')})"
        return _blamed(rank, nproc, reason, folder)
    if note := _first_wait(folder, nproc):
        return _blamed(note.rank, nproc, WAITED, folder)
    rank = min(rank for rank, _ in codes)
    return _blamed(rank, nproc, LOST, folder)


def cause(error: BaseException, folder: Path) -> tuple[str, str]:
    """Return the line and the traceback that this process records for a failed run.

    Under torchrun and srun every process gets here; one that only lost its connection looks for
    the note of the process that failed.

    Args:
        error: the error of this process.
        folder: run directory.
    """
    reason, trace = _describe(error)
    ranks = find_ranks()
    if ranks is None or ranks.size == 1:
        return reason, trace
    if not _follows_another(error):
        return _blamed(ranks.rank, ranks.size, reason, folder), trace
    if note := wait_for_note(folder, ranks.size):
        return _blamed(note.rank, ranks.size, note.reason, folder), note.trace
    if note := _first_wait(folder, ranks.size):
        return _blamed(note.rank, ranks.size, WAITED, folder), note.trace
    return _blamed(ranks.rank, ranks.size, f"{LOST} ({reason})", folder), trace


def _blamed(rank: int, size: int, reason: str, folder: Path) -> str:
    return f"process {rank} of {size} failed: {reason}; see {folder / f'rank{rank}.log'}"


def _describe(error: BaseException) -> tuple[str, str]:
    """Return an error's line and its traceback, which is left out for user errors."""
    if isinstance(error, ScaledReluError):
        return str(error), ""
    return in_one_line(error), "".join(traceback.format_exception(error))


def in_one_line(error: BaseException) -> str:
    """Return e.g. ``while training (engine/step.py:88): ValueError: shapes differ``.

    The place is the innermost one in the package or in code of one's own beside it; what the run
    was doing is known of the package alone.
    """
    doing, place = "", ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(PACKAGE):
            doing = DOING.get(frame.f_code.co_name, doing)
            place = f"{path.relative_to(PACKAGE)}:{line}"
        elif path.is_relative_to(ROOT) and not LIBRARIES & set(path.parts):
            place = f"{path.relative_to(ROOT)}:{line}"
    where = f"{f'while {doing}' if doing else 'in'} ({place}): " if place else ""
    return f"{where}{type(error).__name__}: {_first_line(error)}"


def _first_line(error: BaseException) -> str:
    """Return an error's first line, with the next one where it only announces that."""
    lines = [words for line in str(error).splitlines() if (words := line.strip())]
    return " ".join(lines[: 2 if lines[0].endswith(":") else 1]) if lines else "no message"


@contextlib.contextmanager
def noted(folder: Path) -> Iterator[None]:
    """Leave a note if this one of several processes fails."""
    try:
        yield
    except Exception as error:
        if ranks := find_ranks():
            write_note(folder, ranks.rank, error)
        raise


def _follows_another(error: BaseException) -> bool:
    """Whether an error only says that another process has ended."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(error, getattr(torch.distributed, "DistError", ())):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in text for words in OF_A_CONNECTION)


def write_note(folder: Path, rank: int, error: BaseException) -> None:
    """Write this process's error where the others and the parent find it; the first one is kept.

    Args:
        folder: run directory.
        rank: this process's rank.
        error: the error.
    """
    path = folder / NOTE.format(rank=rank)
    if path.exists():
        return
    reason, trace = _describe(error)
    note = {"reason": reason, "trace": trace, "time": time.time()}
    write_atomic(path, json.dumps({**note, "follows": _follows_another(error)}))


def clear_note(folder: Path, rank: int) -> None:
    """Remove the note of an earlier attempt of this rank.

    Args:
        folder: run directory.
        rank: the rank whose note is removed.
    """
    (folder / NOTE.format(rank=rank)).unlink(missing_ok=True)


def first_note(folder: Path, size: int) -> Note | None:
    """Return the earliest note that names a cause, or None if there is none.

    Args:
        folder: run directory.
        size: number of processes of the run.
    """
    notes = [note for note in _notes(folder, size) if not note.follows]
    return min(notes, key=lambda note: note.time, default=None)


def _first_wait(folder: Path, size: int) -> Note | None:
    """Return the earliest note of a process that waited too long, or None if there is none."""
    notes = [
        note
        for note in _notes(folder, size)
        if any(words in note.reason.lower() for words in TOO_LONG)
    ]
    return min(notes, key=lambda note: note.time, default=None)


def wait_for_note(folder: Path, size: int, *, limit_s: float = WAIT_S) -> Note | None:
    """Return :func:`first_note`, waiting a little: other hosts may write to the folder slowly.

    Args:
        folder: run directory.
        size: number of processes of the run.
        limit_s: seconds to wait at most.
    """
    end = time.monotonic() + limit_s
    while (note := first_note(folder, size)) is None and time.monotonic() < end:
        time.sleep(0.1)
    return note


def killed_first(failures: Sequence[tuple[int, int]]) -> int | None:
    """Return the rank that a signal ended, of (rank, exit code); None if none was.

    SIGTERM does not count: the parent sends it to the others once one has failed.
    """
    killed = [rank for rank, code in failures if code < 0 and code != -signal.SIGTERM]
    return min(killed, default=None)


def _notes(folder: Path, size: int) -> list[Note]:
    return [note for rank in range(size) if (note := _read(folder, rank))]


def _read(folder: Path, rank: int) -> Note | None:
    try:
        return Note(rank=rank, **json.loads((folder / NOTE.format(rank=rank)).read_text()))
    except (OSError, ValueError, TypeError):
        return None
