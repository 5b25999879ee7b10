"""What a run leaves on disk and how it is read back: results and failures.

Decides the file names and the meaning of their presence; knows nothing of training. Imports no
torch, so that planning and reporting stay fast. ``result.json`` is written last and atomically:
its existence means "done". A missing result is never read as a crash.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

from scaledrelu.config.group import folder_name
from scaledrelu.config.places import CONFIG, RESULT, runs_root
from scaledrelu.engine.saved import Saved as Saved  # for those who may not look into engine/
from scaledrelu.engine.saved import read_saved as read_saved
from scaledrelu.files import write_atomic
from scaledrelu.runs.checkout import trained_elsewhere as trained_elsewhere  # of a result, as told
from scaledrelu.runs.damage import (
    FINISH,
    REDONE,
    UNREADABLE,
    RecordError,
    check_files,
    in_short,
    keep,
    read_json,
    read_text,
)
from scaledrelu.runs.lock import is_busy
from scaledrelu.runs.result import Result

ERROR = "error.txt"
LONGEST_REASON = 1000  # characters


class Status(StrEnum):
    """What a run directory says about its run."""

    OK = "ok"
    CRASH = "crash"
    FAILED = "failed"
    DAMAGED = "damaged"  # a record that cannot be trusted: only a person sets it aside
    RUNNING = "running"
    MISSING = "missing"

    @property
    def done(self) -> bool:
        """Whether a result exists; a crash is a result."""
        return self in (Status.OK, Status.CRASH)


def run_directory(results: str | Path, run_id: str) -> Path:
    """Return ``<results>/runs/<run_id>``: a function of the id, for all ranks and restarts.

    Args:
        results: results folder.
        run_id: the run's id.

    Raises:
        ConfigError: if the id is not a plain name.
    """
    return runs_root(results) / folder_name(run_id, what="run id")


def times_redone(results: str | Path, run_id: str) -> int:
    """Return how often a finished run was set aside to be trained again.

    Args:
        results: results folder.
        run_id: the run's id.
    """
    return len(list((runs_root(results) / REDONE).glob(f"{run_id}-r*")))


def write_result(run_dir: Path, result: Result, config: Mapping[str, Any]) -> None:
    """Store the canonical config, then the result; drop an older failure.

    Args:
        run_dir: the run directory.
        result: what happened.
        config: canonical config (what the run id hashes).
    """
    write_atomic(run_dir / CONFIG, json.dumps(config, indent=1, sort_keys=True) + "\n")
    write_atomic(run_dir / RESULT, result.to_json())
    (run_dir / ERROR).unlink(missing_ok=True)


def read_result(run_dir: Path) -> Result | None:
    """Return the result of a finished run, None when there is none.

    Raises:
        RecordError: when ``result.json`` exists and cannot be read.
    """
    path = run_dir / RESULT
    text = read_text(path, advice=FINISH)
    return None if text is None else Result.from_json(text, source=str(path))


def read_config(run_dir: Path) -> dict[str, Any] | None:
    """Return the stored canonical config, None when there is none.

    Raises:
        RecordError: when ``config.json`` exists and is not a JSON object.
    """
    path = run_dir / CONFIG
    text = read_text(path, advice=keep(run_dir))
    try:
        return None if text is None else read_json(text)
    except UNREADABLE as error:
        raise RecordError(f"{path}: damaged ({in_short(error)}); {keep(run_dir)}") from error


def finished_result(run_dir: Path, config: Mapping[str, Any]) -> Result | None:
    """Return the result of a finished run after checking what is stored, None if there is none.

    Args:
        run_dir: the run directory.
        config: canonical config that the run's id stands for.

    Raises:
        RecordError: if a file of the record cannot be read, is not a regular file, is missing, or
            belongs to another run.
    """
    check_files(run_dir)
    result = read_result(run_dir)
    if result is None:
        return None
    stored = read_config(run_dir)
    if stored is None:
        raise RecordError(
            f"{run_dir}: config.json is missing, so it is unknown which run {RESULT} belongs to; "
            f"{keep(run_dir)}"
        )
    if stored != config and stored != json.loads(json.dumps(config)):  # keys become text
        raise RecordError(
            f"{run_dir}: holds the result of another configuration with the same id; "
            f"{keep(run_dir)}"
        )
    if result.run_id != run_dir.name:
        raise RecordError(
            f"{run_dir / RESULT}: is the result of {result.run_id}, not of this run; "
            f"{keep(run_dir)}"
        )
    return result


def write_error(run_dir: Path, reason: str, traceback: str = "") -> None:
    """Record a failure: the first line is a one-line reason, the traceback follows.

    Args:
        run_dir: the run directory.
        reason: why it failed.
        traceback: details, on any number of lines.
    """
    first = " ".join(reason.split()) or "unknown failure"
    text = f"{first}\n{traceback}".encode("utf-8", "backslashreplace")  # names of files are bytes
    write_atomic(run_dir / ERROR, text)


def read_error(run_dir: Path) -> str | None:
    """Return the one-line reason of a recorded failure, None when there is none."""
    path = run_dir / ERROR
    try:
        first = path.read_bytes().partition(b"\n")[0].decode()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except UnicodeDecodeError:
        return f"{ERROR} is damaged (not text)"
    except OSError as error:
        return f"{ERROR} cannot be read ({error.strerror})"
    reason = "".join(letter if letter.isprintable() else " " for letter in first).strip()
    return reason[:LONGEST_REASON] or f"{ERROR} gives no reason"


def read_status(run_dir: Path) -> Status:
    """Return what the directory says: a result first, then a running attempt, then a failure.

    Raises:
        RecordError: when ``result.json`` exists and cannot be read.
    """
    result = read_result(run_dir)
    return unfinished_status(run_dir) if result is None else Status(result.outcome.value)


def unfinished_status(run_dir: Path) -> Status:
    """Return what a directory without a result says."""
    if is_busy(run_dir):
        return Status.RUNNING
    if (run_dir / ERROR).exists():
        return Status.FAILED
    return Status.MISSING
