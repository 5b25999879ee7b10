"""What a sweep may still start when its time is limited: only what can finish before the end.

A run takes as long as similar runs took, start-up included. Of a kind that has not been measured
yet one run is started, and the others wait for its result. At the deadline running runs save.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Sequence

from scaledrelu.launch.estimate import Estimator, time_left
from scaledrelu.launch.executor import Event, What
from scaledrelu.runs.record import Status, read_result, run_directory
from scaledrelu.tables.plan import Plan, PlannedRun
from scaledrelu.text import duration

START_S = 12.0  # from starting the first run to its first step and from its last to its record
CAUTION = 1.1  # factor on measured times
SAVE_S = 10.0  # kept free at the end, so that running runs can save and reports be written
SAVE_SHARE = 0.1  # but at most this share of the whole


class Budget:
    """Decides whether a run may still start.

    Args:
        seconds: time limit of the whole sweep.
        plan: what the tables need; its finished runs show how long others take.
        todo: the runs to train.
        started: when it began, on ``time.monotonic()``.
        estimate: says how long a run of the plan takes.
    """

    def __init__(
        self,
        seconds: float,
        plan: Plan,
        todo: Iterable[PlannedRun],
        *,
        started: float,
        estimate: Estimator,
    ) -> None:
        self._usable = seconds - min(SAVE_S, SAVE_SHARE * seconds)
        self.deadline = started + self._usable
        self._at_first = self.left  # when the first run was asked about
        self._asked = False
        self.left_out: dict[str, str] = {}  # run -> why it was not started
        self._plan, self._estimate = plan, estimate
        self._runs = {run.run_id: run for run in todo}
        self._start_s = START_S
        self._begun: dict[str, float] = {}

    @property
    def left(self) -> float:
        """Seconds until running runs must save."""
        return self.deadline - time.monotonic()

    def admits(self, name: str, running: Sequence[str]) -> bool:
        """Say whether a run can finish in time; artifacts may always start.

        Args:
            name: id of a run or artifact.
            running: ids of what is running now.
        """
        if not self._asked:
            self._at_first, self._asked = self.left, True
        if name not in self._runs:
            return self.left > 0
        trained = [other for other in running if other in self._runs]
        expected = self._expected(name)
        needed = self._needed(expected)
        if needed > self.left:
            self.left_out[name] = _too_long(expected, needed, self.left)
        elif expected is None and any(self._expected(other) is None for other in trained):
            self.left_out[name] = "no similar run has finished, so its duration is unknown"
        else:
            self.left_out.pop(name, None)
            return True
        return False

    def see(self, event: Event) -> None:
        """Learn from a run that starts or ends."""
        if event.what is What.STARTED:
            self._begun[event.name] = time.monotonic()
        elif event.what is What.DONE and event.name in self._begun and event.name in self._runs:
            self._learn(self._runs[event.name], time.monotonic() - self._begun.pop(event.name))

    def what_is_left(self, plan: Plan, todo: Sequence[PlannedRun], *, again: str) -> list[str]:
        """Return one line for each run without a result: where it stands, or why it did not start.

        Args:
            plan: made after the last run.
            todo: the runs that were to be trained.
            again: what to do to continue the sweep.
        """
        reasons: dict[str, list[str]] = {}
        for run in (plan.runs[item.run_id] for item in todo):
            if run.status is Status.MISSING:
                reasons.setdefault(self._why(run, again), []).append(run.run_id)
        return [f"{reason}: {', '.join(names)}" for reason, names in reasons.items()]

    def too_short_for(self, plan: Plan, todo: Sequence[PlannedRun]) -> str | None:
        """Return which limit to give if not even the shortest run fits this one, else None.

        Args:
            plan: made after the last run.
            todo: the runs that were to be trained.
        """
        left = [plan.runs[item.run_id] for item in todo]
        needs = [
            self._needed(time_left(run, self._estimate).seconds)
            for run in left
            if run.status is Status.MISSING and _may_start(plan, run)
        ]
        if not needs or min(needs) <= self._at_first:
            return None
        whole = min(needs) + self._usable - self._at_first
        seconds = math.ceil(min(whole / (1 - SAVE_SHARE), whole + SAVE_S)) + 1
        needed = duration(min(needs))
        return f"the shortest needs about {needed}: set budget_s={seconds} or more"

    def _needed(self, expected: float | None) -> float:
        """Return the seconds that have to be left for a run to start."""
        return self._start_s if expected is None else CAUTION * expected + self._start_s

    def _why(self, run: PlannedRun, again: str) -> str:
        if run.run_id in self.left_out:
            return f"not started: {self.left_out[run.run_id]}"
        if run.saved and run.saved.step is not None:
            where = f"at step {run.saved.step} of {run.saved.total_steps}"
            return f"the budget is used up; saved {where}: {again} to continue"
        return "not started, or stopped before its first checkpoint: the budget is used up"

    def _expected(self, name: str) -> float | None:
        return time_left(self._runs[name], self._estimate).seconds

    def _learn(self, run: PlannedRun, seconds: float) -> None:
        """Note how long a run trained, and what its start cost beyond that."""
        self._estimate = Estimator(self._plan.results, self._plan.runs)
        result = read_result(run_directory(self._plan.results, run.run_id))
        if result is not None:
            trained = result.seconds * (1 - (run.saved.share if run.saved else 0))
            self._start_s = max(1.0, seconds - trained)


def _may_start(plan: Plan, run: PlannedRun) -> bool:
    return run.upstream is None or plan.runs[run.upstream].status is Status.OK


def _too_long(expected: float | None, needed: float, left: float) -> str:
    what = "its start alone" if expected is None else "it"
    return f"{what} needs about {duration(needed)}, but only {duration(max(0.0, left))} are left"
