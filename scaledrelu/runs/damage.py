"""What is wrong with the files of a run, in one line, and what to do; nothing is thrown away.

Reads text and JSON and checks them; what they mean is decided elsewhere (``record.py``).
"""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

from scaledrelu.config.places import runs_root
from scaledrelu.errors import ScaledReluError
from scaledrelu.files import refused_reading

REDONE = ".redone"  # below the runs: results that were set aside to be made again
# Files with these suffixes in a run directory must be regular files; the second kind is written in
# place, so that a link would let a run write elsewhere.
FILES = (".json", ".jsonl", ".lock", ".log", ".npz", ".pt", ".txt", ".yaml")
WRITTEN_IN_PLACE = (".jsonl", ".lock", ".log")
FINISH = (
    "restore the file from a copy, or move it away and run the same command again, which finishes "
    "the run from its last checkpoint"
)
# What reading a damaged JSON file may raise.
UNREADABLE = (KeyError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError)


class RecordError(ScaledReluError):
    """A file in a run directory that cannot be read back, or that belongs to another run."""


def keep(run_dir: Path) -> str:
    """Say what to do with a record that may still be good: nothing of it is thrown away."""
    name = run_dir.name
    return (
        f"restore the file from a copy (published records hold one), or train the run again with "
        f"redo={name} (make: ARGS=redo={name}), which moves the folder to runs/{REDONE}"
    )


def in_short(error: BaseException) -> str:
    """Return an error's message as one short line."""
    said = f"no {error}" if isinstance(error, KeyError) else str(error)
    return " ".join(said.split())[:200] or type(error).__name__


def read_text(path: Path, *, advice: str) -> str | None:
    """Return the text of a file of a record, None if there is none.

    Args:
        path: the file.
        advice: what to do if it is damaged.

    Raises:
        RecordError: if it exists and is not text.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # reading a pipe would block
            raise RecordError(f"{path}: not a regular file; move it away")
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except UnicodeError as error:
        raise RecordError(f"{path}: damaged (not text); {advice}") from error
    except OSError as error:
        raise _unreadable(path, error) from error


def read_json(text: str) -> dict[str, Any]:
    """Return a JSON object; NaN and Infinity are not JSON.

    Raises:
        TypeError, ValueError, RecursionError: if it is not a JSON object.
    """
    return mapping_of(json.loads(text, parse_constant=_refuse), "it")


def check_runs(results: str | Path) -> None:
    """Refuse a folder of runs that may not be read: all of its runs would seem to be missing.

    Args:
        results: results folder; without runs it is fine.

    Raises:
        RecordError: naming what may not be read.
    """
    if line := refused_reading(runs_root(results)):
        raise RecordError(line)


def check_files(run_dir: Path) -> None:
    """Refuse a run directory in which anything but a regular file stands in a file's place.

    Raises:
        RecordError: naming it.
    """
    try:
        with os.scandir(run_dir) as entries:
            found = [e for e in entries if e.name.endswith(FILES) and not e.name.startswith(".")]
            odd = sorted(e.name for e in found if not e.is_file(follow_symlinks=False))
    except FileNotFoundError:
        return
    except NotADirectoryError as error:
        if not run_dir.parent.is_dir():  # there is no folder of runs, so no run either
            return
        raise RecordError(f"{run_dir}: is a file, not the folder of a run; move it away") from error
    except OSError as error:
        raise _unreadable(run_dir, error) from error
    for path in (run_dir / name for name in odd):
        if path.is_symlink() and path.name.endswith(WRITTEN_IN_PLACE):
            raise RecordError(f"{path}: is a link, but a run writes to it; move it away")
        if os.path.lexists(path) and not path.is_file():
            what = "a folder" if path.is_dir() else "a broken link or a special file"
            raise RecordError(f"{path}: is {what}, but must be a regular file; move it away")


def mapping_of(value: Any, what: str) -> dict[str, Any]:
    """Return a JSON object; raise a TypeError for anything else.

    Args:
        value: the value to check.
        what: its name in the error.
    """
    if not isinstance(value, dict):
        raise TypeError(f"{what} is a {type(value).__name__}, not a dict")
    return value


def _unreadable(path: Path, error: OSError) -> RecordError:
    line = refused_reading(path)
    return RecordError(line or f"{path}: cannot be read ({error.strerror})")


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
