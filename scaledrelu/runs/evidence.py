"""What a run recorded on the way, read back: the rows of its metrics, arrays of its evidence.

Says what is damaged in a few words without a path, for a report; what follows, callers decide.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaledrelu.config.places import EVIDENCE, METRICS
from scaledrelu.runs.damage import UNREADABLE, RecordError, in_short, read_text

if TYPE_CHECKING:
    import numpy as np

# What reading a damaged archive may raise.
NO_ARCHIVE = (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError)


def read_metrics(folder: Path) -> list[dict[str, Any]] | None:
    """Return the rows of ``metrics.jsonl``, each with its step and epoch; None if there is none.

    Args:
        folder: run directory.

    Raises:
        RecordError: it cannot be read, or a line of it is damaged.
    """
    try:
        text = read_text(folder / METRICS, advice="")
    except RecordError as error:
        raise RecordError(f"{METRICS} cannot be read") from error
    if text is None:
        return None
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            row = json.loads(line)
            rows.append({**row, "step": int(row["step"]), "epoch": int(row["epoch"])})
        except UNREADABLE as error:
            raise RecordError(f"{METRICS} damaged in line {number} ({in_short(error)})") from error
    return rows


def read_arrays(folder: Path, names: Iterable[str]) -> dict[str, np.ndarray] | None:
    """Return those of some arrays that ``evidence.npz`` holds, by name; None if there is no file.

    Args:
        folder: run directory.
        names: names of arrays.

    Raises:
        RecordError: it is damaged.
    """
    import numpy as np

    try:
        if not (folder / EVIDENCE).is_file():
            return None
        with np.load(folder / EVIDENCE, allow_pickle=False) as stored:
            return {name: stored[name] for name in names if name in stored}
    except NO_ARCHIVE as error:
        raise RecordError(f"{EVIDENCE} damaged") from error
