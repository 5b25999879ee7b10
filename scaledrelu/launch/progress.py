"""Lines that show the progress of a sweep."""

from __future__ import annotations

import time
from collections.abc import Mapping

from scaledrelu.config.artifacts import MANIFEST
from scaledrelu.errors import ScaledReluError
from scaledrelu.launch.executor import Event, Files, What
from scaledrelu.runs.record import read_result
from scaledrelu.runs.result import Outcome, Result
from scaledrelu.text import Say, duration

AGAIN = "run the same command again"


class Progress:
    """Prints ``[k/n] run_id outcome metric  elapsed ETA`` for every run that ends.

    Args:
        seconds: expected duration of each run; only the proportions matter, for the ETA.
        files: the results folder.
        say: prints one line.
        again: what to do to continue the sweep.
    """

    def __init__(
        self, seconds: Mapping[str, float], *, files: Files, say: Say, again: str = AGAIN
    ) -> None:
        self._waiting = dict(seconds)
        self._total, self._all_seconds = len(seconds), sum(seconds.values())
        self._files = files
        self._say, self._again = say, again
        self.left_out = 0  # jobs that were not started or submitted
        self._start = time.monotonic()
        self._first: float | None = None  # when the first run was started
        self._begun: dict[str, float] = {}  # run -> when it was started
        self._took = self._expected = 0.0  # seconds of the runs that were seen from start to end

    def see(self, event: Event) -> None:
        """Print a line about an event, if it is worth one."""
        self.left_out += event.what is What.LEFT_OUT
        if event.what is What.STARTED and event.name in self._waiting:
            self._begun[event.name] = now = time.monotonic()
            self._first = now if self._first is None else self._first
        elif event.what in (What.DONE, What.FAILED):
            self._say(self._line(event) if event.name in self._waiting else self._made(event))
        elif event.what is not What.STARTED and (event.reason or event.what is not What.LEFT_OUT):
            self._begun.pop(event.name, None)
            self._say(f"{event.name} {self._in_words(event)}")

    def _line(self, event: Event) -> str:
        now = time.monotonic()
        expected, begun = self._waiting.pop(event.name), self._begun.pop(event.name, None)
        if event.what is What.DONE and begun is not None:
            self._took += now - begun
            self._expected += expected
        done = self._total - len(self._waiting)
        clock = f"{duration(now - self._start)} ETA {duration(self._left(now))}"
        return f"[{done}/{self._total}] {event.name} {self._ending(event)}  {clock}"

    def _left(self, now: float) -> float:
        """Return the seconds until the last run ends: at the pace so far, other slots included."""
        pace = self._took / self._expected if self._expected else 0.0  # seconds per expected one
        open_ = {
            name: max(0.0, seconds - (now - self._begun[name]) / pace)
            if pace and name in self._begun
            else seconds
            for name, seconds in self._waiting.items()
        }
        rest = sum(open_.values())
        since = self._start if self._first is None else self._first
        together = (now - since) * rest / max(self._all_seconds - rest, 1e-9)
        return max(together, pace * max(open_.values(), default=0.0))

    def _ending(self, event: Event) -> str:
        if event.what is What.FAILED:
            return f"failed: {event.reason}"
        try:
            result = read_result(self._files.folder(event.name))
        except ScaledReluError as error:
            return f"failed: {error}"
        return "gone" if result is None else result_text(result)

    def _made(self, event: Event) -> str:
        if event.what is What.FAILED:
            return f"{event.name} failed: {event.reason}"
        folder = self._files.folder(event.name)
        return f"made {folder}" if (folder / MANIFEST).exists() else f"{event.name} is done"

    def _in_words(self, event: Event) -> str:
        told = f"{event.what}: {event.reason}" if event.reason else str(event.what)
        if event.what is What.DIED:
            return f"{told}; it will be tried again"
        return f"{told}; {self._again} to continue" if event.what is What.STOPPED else told


def result_text(result: Result) -> str:
    """Return outcome and headline metric of a run in a few words."""
    name = result.headline
    metrics = [f"{name} {result.metrics[name]:.1f}"] if name else []
    if result.outcome is Outcome.CRASH:
        metrics.insert(0, f"({(result.crash or {}).get('kind', 'unknown')})")
    return " ".join([str(result.outcome), *metrics])
