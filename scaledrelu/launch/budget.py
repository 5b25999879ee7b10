"""What a sweep may still start when its time is limited: only what can finish before the end.

A run takes as long as those like it took, start-up included. Of a kind that nobody has measured yet
one run is started, and the others wait for what it shows. At the deadline running ones save.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from scaledrelu.launch.estimate import Estimator, time_left
from scaledrelu.runs.record import Status, read_result, run_directory
from scaledrelu.tables.plan import Plan, PlannedRun
from scaledrelu.text import duration

START_S = 12.0  # from launching a run to its first step and from its last to its record: a guess
CAUTION = 1.1  # on measured times
SAVE_S = 10.0  # kept free at the end, so that running runs can save and reports be written
SAVE_SHARE = 0.1  # but no more of the whole than this


class Budget:
    """Chooses batch after batch of runs until nothing more fits.

    Args:
        seconds: of the whole sweep.
        started: when it began, on ``time.monotonic()``.
        n_jobs: runs at a time, so the most in a batch.
        results: results folder, where finished runs tell how long they took.
    """

    def __init__(self, seconds: float, *, started: float, n_jobs: int, results: Path) -> None:
        self.deadline = started + seconds - min(SAVE_S, SAVE_SHARE * seconds)
        self.left_out: dict[str, str] = {}  # run -> why it was not started
        self._n_jobs, self._results = n_jobs, results
        self._start_s = START_S

    @property
    def left(self) -> float:
        """Seconds until running runs must save."""
        return self.deadline - time.monotonic()

    def batches(self, ready: Sequence[PlannedRun]) -> Iterator[list[PlannedRun]]:
        """Yield runs to train at a time; the caller trains them before it asks again."""
        waiting = list(ready)
        while chosen := self._choose(waiting):
            before = time.monotonic()
            yield chosen
            self._learn(chosen, time.monotonic() - before)
            waiting = [run for run in waiting if run not in chosen]

    def what_is_left(self, plan: Plan, todo: Sequence[PlannedRun]) -> list[str]:
        """Return lines: where runs that have no result stand, or why they never began.

        Args:
            plan: made after the last batch.
            todo: what was to be trained.
        """
        reasons: dict[str, list[str]] = {}
        for run in (plan.runs[item.run_id] for item in todo):
            if run.status is Status.MISSING:
                reasons.setdefault(self._why(run), []).append(run.run_id)
        return [f"{reason}: {', '.join(names)}" for reason, names in reasons.items()]

    def _why(self, run: PlannedRun) -> str:
        if run.run_id in self.left_out:
            return f"not started: {self.left_out[run.run_id]}"
        if run.saved and run.saved.step is not None:
            where = f"at step {run.saved.step} of {run.saved.total_steps}"
            return f"the budget is spent; saved {where}, and the same command goes on there"
        return "not started, or stopped before its first checkpoint: the budget is spent"

    def _choose(self, waiting: Sequence[PlannedRun]) -> list[PlannedRun]:
        estimate, chosen, unmeasured = Estimator(self._results), [], False
        for run in waiting:
            if len(chosen) == self._n_jobs:
                break
            expected = time_left(estimate(run.config), run.saved).seconds
            needed = self._start_s if expected is None else CAUTION * expected + self._start_s
            if needed > self.left:
                self.left_out[run.run_id] = _too_long(expected, needed, self.left)
            elif expected is None and unmeasured:
                self.left_out[run.run_id] = "no run like it has finished, so its time is not known"
            else:
                unmeasured |= expected is None
                self.left_out.pop(run.run_id, None)
                chosen.append(run)
        return chosen

    def _learn(self, batch: Sequence[PlannedRun], seconds: float) -> None:
        """Note what starting costs: the time of a batch beyond that of its longest run."""
        results = [read_result(run_directory(self._results, run.run_id)) for run in batch]
        if all(results):
            trained = max(
                result.seconds * (1 - (run.saved.share if run.saved else 0))
                for run, result in zip(batch, results, strict=True)
            )
            self._start_s = max(1.0, seconds - trained)


def _too_long(expected: float | None, needed: float, left: float) -> str:
    what = "even its start" if expected is None else "it"
    return f"{what} needs about {duration(needed)}, {duration(max(0.0, left))} are left"
