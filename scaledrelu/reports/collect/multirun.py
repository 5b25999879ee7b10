"""The table that a multirun ends with: its jobs as they were asked for, and what became of them."""

from __future__ import annotations

import os
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from scaledrelu.errors import ConfigError
from scaledrelu.reports.collect.rows import Row, is_done, read_rows
from scaledrelu.reports.collect.table import grid, headlines, outcome_text, run_cells
from scaledrelu.runs.ending import Ended
from scaledrelu.runs.multirun import Ending, how_to_continue, read_endings, varying
from scaledrelu.runs.record import Status

RESULTS = "results"


def multirun_text(folder: Path, results: str | Path) -> str:
    """Return one line for each job of a multirun, how many failed, and how to see it again.

    Jobs whose overrides are different words for one run have a line that says so.

    Args:
        folder: the multirun's folder.
        results: results folder.

    Raises:
        ConfigError: it is no such folder, or none of its jobs has ended.
    """
    endings = endings_of(folder)
    table = _table(endings, _rows_of(endings, results))
    lines = [table, *_same_runs(endings), _counts(endings, folder)]
    return "\n".join([*lines, f"this table again: {_again(folder, results)}"])


def results_of(folder: Path | None) -> str:
    """Return the results folder that a multirun lies in; "results" where it lies elsewhere.

    Args:
        folder: the multirun's folder; None if there is no multirun.
    """
    if folder is None:
        return RESULTS
    place = Path(os.path.abspath(folder)).parent  # as conf/train.yaml makes it
    return _short(place.parents[1]) if place.parts[-2:] == ("runs", ".hydra") else RESULTS


def endings_of(folder: Path) -> list[Ending]:
    """Return how the jobs of a multirun ended.

    Raises:
        ConfigError: it is no such folder, or none of its jobs has ended.
    """
    if found := read_endings(folder):
        return found
    raise ConfigError(
        f"--multirun {folder}: not the folder of a multirun, or none of its jobs has ended; a "
        "multirun names its folder at its end"
    )


def _rows_of(endings: Sequence[Ending], results: str | Path) -> dict[str, Row]:
    try:
        rows = read_rows(results, only={ending.run_id for ending in endings})
    except ConfigError:  # all were refused: nothing was written
        return {}
    return {row["run_id"]: row for row in rows}


def _table(endings: Sequence[Ending], rows: Mapping[str, Row]) -> str:
    metrics = [name for one in headlines(rows.values()) for name in (one, f"{one}_best")]
    lines = []
    for ending, asked in zip(endings, varying(endings), strict=True):
        row = rows.get(ending.run_id)
        found = run_cells(row, [*metrics, "seconds"]) if row else ["-"] * (len(metrics) + 1)
        lines.append([ending.run_id or "-", asked, *found, _how(ending, row)])
    return grid(["run", "asked for", *metrics, "seconds", "outcome"], lines)


def _how(ending: Ending, row: Row | None) -> str:
    # A result may be that of a later command, or damaged since.
    if row is not None and (is_done(row) or row["outcome"] == Status.DAMAGED):
        return outcome_text(row)
    return f"{ending.ended}: {ending.reason}" if ending.reason else str(ending.ended)


def _same_runs(endings: Sequence[Ending]) -> list[str]:
    count = Counter(ending.run_id for ending in endings if ending.run_id)
    several = [f"{name} ({number} jobs)" for name, number in count.items() if number > 1]
    return [f"the same run: {', '.join(several)}"] if several else []


def _counts(endings: Sequence[Ending], folder: Path) -> str:
    count = Counter(ending.ended for ending in endings)
    bad, stopped = count[Ended.FAILED] + count[Ended.REFUSED], count[Ended.INTERRUPTED]
    text = f"{bad} of {len(endings)} runs failed"
    if stopped:
        text += f", {stopped} interrupted ({how_to_continue(folder)})"
    if count[Ended.BUSY]:
        text += f", {count[Ended.BUSY]} trained by other processes"
    return text


def _again(folder: Path, results: str | Path) -> str:
    words = ["python", "scripts/collect.py", "--multirun", _short(folder)]
    if _short(Path(results)) != results_of(folder):
        words += ["--results", _short(Path(results))]
    return shlex.join(words)


def _short(path: Path) -> str:
    """Return a path as it is typed here."""
    path, here = Path(os.path.abspath(path)), Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
