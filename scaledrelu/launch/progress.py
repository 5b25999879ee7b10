"""Lines that tell how far a sweep is, read from the run directories while others write them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from scaledrelu.errors import ScaledReluError
from scaledrelu.runs.record import (
    ERROR,
    RESULT,
    Outcome,
    Result,
    read_error,
    read_result,
    run_directory,
)
from scaledrelu.text import duration

Say = Callable[[str], None]


class Progress:
    """Prints ``[k/n] run_id outcome metric  elapsed ETA`` once for every begun run that ends.

    Args:
        seconds: how long each run may take; only the proportions count, and they make the ETA.
        results: results folder.
        say: takes one line.
    """

    def __init__(self, seconds: Mapping[str, float], *, results: Path, say: Say) -> None:
        self._waiting = dict(seconds)
        self._begun: set[str] = set()
        self._total, self._all_seconds = len(seconds), sum(seconds.values())
        self._results = results
        self._say = say
        self._start = time.monotonic()

    def begin(self, run_ids: Iterable[str]) -> None:
        """Watch these runs from now on: what their directories hold belongs to this sweep."""
        self._begun.update(run_ids)

    def update(self) -> None:
        """Look once; safe to call as often as one likes."""
        for run_id in [name for name in self._waiting if name in self._begun]:
            folder = run_directory(self._results, run_id)
            if (folder / RESULT).exists() or (folder / ERROR).exists():
                del self._waiting[run_id]
                self._say(self._line(run_id, folder))

    def _line(self, run_id: str, folder: Path) -> str:
        done = self._total - len(self._waiting)
        elapsed = time.monotonic() - self._start
        open_seconds = sum(self._waiting.values())
        left = elapsed * open_seconds / max(self._all_seconds - open_seconds, 1e-9)
        clock = f"{duration(elapsed)} ETA {duration(left)}"
        return f"[{done}/{self._total}] {run_id} {_ending(folder)}  {clock}"


def _ending(folder: Path) -> str:
    try:
        result = read_result(folder)
    except ScaledReluError as error:
        return f"failed: {error}"
    return f"failed: {read_error(folder)}" if result is None else result_text(result)


def result_text(result: Result) -> str:
    """Return outcome and headline metric of a run in a few words."""
    headlines = sorted(name for name in result.metrics if f"{name}_best" in result.metrics)
    metrics = [f"{name} {result.metrics[name]:.1f}" for name in headlines]
    if result.outcome is Outcome.CRASH:
        metrics.insert(0, f"({(result.crash or {}).get('kind', 'unknown')})")
    return " ".join([str(result.outcome), *metrics])
