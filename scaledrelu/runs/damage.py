"""What is wrong with the files of a run, in one line, and what to do: never throw a result away.

Reads text and JSON with suspicion; what they mean is decided elsewhere (``record.py``).
"""

from __future__ import annotations

import json
import math
import os
import stat
from pathlib import Path
from typing import Any

from scaledrelu.errors import ScaledReluError

REDONE = ".redone"  # below the runs: results that were put aside to be made again
# What stands in a run directory by these suffixes is a plain file; the second kind is written in
# place, so that a link would let a run write elsewhere.
FILES = (".json", ".jsonl", ".lock", ".log", ".npz", ".pt", ".txt", ".yaml")
WRITTEN_IN_PLACE = (".jsonl", ".lock", ".log")
FINISH = (
    "restore the file from a copy, or move it away: the same command then ends the run again from "
    "its last checkpoint"
)
# What reading and taking apart a damaged JSON file raises.
UNREADABLE = (KeyError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError)


class RecordError(ScaledReluError):
    """A run directory holds a file that cannot be read back, or that belongs to something else."""


def keep(run_dir: str | Path) -> str:
    """Say what to do with a record that may be good: nothing of it is ever thrown away."""
    name = Path(run_dir).name
    return (
        f"restore the file from a copy (published records hold one), or let redo={name} of a sweep "
        f"(make: ARGS=redo={name}) put the folder aside under runs/{REDONE} and train the run again"
    )


def in_short(error: BaseException) -> str:
    """Return what an error says, in one short line."""
    said = f"no {error}" if isinstance(error, KeyError) else str(error)
    return " ".join(said.split())[:200] or type(error).__name__


def read_text(path: Path, *, advice: str) -> str | None:
    """Return the text of a file of a record, None when there is none.

    Args:
        path: of the file.
        advice: what to do when it is damaged.

    Raises:
        RecordError: when it is there and is no text.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would be waited for
            raise RecordError(f"{path}: no plain file; move it away")
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except UnicodeError as error:
        raise RecordError(f"{path}: damaged (not text); {advice}") from error
    except OSError as error:
        raise RecordError(f"{path}: cannot be read ({error.strerror})") from error


def read_json(text: str) -> dict[str, Any]:
    """Return a JSON object; NaN and Infinity are not JSON.

    Raises:
        TypeError, ValueError, RecursionError: if it is none.
    """
    return mapping_of(json.loads(text, parse_constant=_refuse), "it")


def check_files(run_dir: str | Path) -> None:
    """Refuse a run directory in which something else stands where a plain file belongs.

    Raises:
        RecordError: naming it.
    """
    run_dir = Path(run_dir)
    try:
        with os.scandir(run_dir) as entries:
            found = [e for e in entries if e.name.endswith(FILES) and not e.name.startswith(".")]
            odd = sorted(e.name for e in found if not e.is_file(follow_symlinks=False))
    except FileNotFoundError:
        return
    except NotADirectoryError as error:
        if not run_dir.parent.is_dir():  # there is no place for results at all, and so none here
            return
        raise RecordError(f"{run_dir}: no folder of a run (it is a file)") from error
    except OSError as error:
        raise RecordError(f"{run_dir}: no folder of a run ({error.strerror})") from error
    for path in (run_dir / name for name in odd):
        if path.is_symlink() and path.name.endswith(WRITTEN_IN_PLACE):
            raise RecordError(f"{path}: a link, where a run writes; move it away")
        if os.path.lexists(path) and not path.is_file():
            what = "a folder" if path.is_dir() else "a link that leads nowhere or an odd file"
            raise RecordError(f"{path}: {what}, where a plain file belongs; move it away")


def mapping_of(value: Any, what: str) -> dict[str, Any]:
    """Return a JSON object; raise a TypeError for anything else."""
    return _of_type(value, dict, what)


def text_of(value: Any, what: str) -> str:
    """Return a string; raise a TypeError for anything else."""
    return _of_type(value, str, what)


def numbers_of(values: Any, what: str) -> dict[str, float]:
    """Return a JSON object of numbers; raise a TypeError for anything else."""
    return {name: _number(value, name) for name, value in mapping_of(values, what).items()}


def counts_of(values: Any, what: str) -> dict[str, int]:
    """Return a JSON object of whole numbers from 0 on; raise an error for anything else."""
    found = mapping_of(values, what)
    for name, value in found.items():
        if type(value) is not int or value < 0:
            raise TypeError(f"{name} of {what} is {value!r}, not a number of things")
    return found


def finite_of(value: Any, what: str) -> float:
    """Return a finite number; raise a TypeError or ValueError for anything else."""
    number = _number(value, what)
    if not math.isfinite(number):
        raise ValueError(f"{what} is {number}")
    return number


def _of_type(value: Any, kind: type, what: str) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"{what} is a {type(value).__name__}, not a {kind.__name__}")
    return value


def _number(value: Any, what: str) -> float:
    """Return a number of JSON, or one of the three that JSON has no words for."""
    if type(value) not in (int, float) and value not in ("nan", "inf", "-inf"):
        raise TypeError(f"{what} is a {type(value).__name__}, not a number")
    return float(value)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
