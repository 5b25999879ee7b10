"""Jobs in SLURM's hands: which have ended, how, and what becomes of them when a person stops.

The queue and the run directories are the truth: without accounting SLURM forgets a job minutes
after its end.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from scaledrelu.launch.executor import WORKED_ON, Event, Files, Job, What
from scaledrelu.launch.queue import ALIVE, cancel, ending_of, queued_jobs, read_job
from scaledrelu.runs.record import Status

QUEUE_POLL_S = 5.0  # SLURM's controller serves all users: ask rarely
STOP_LIMIT_S = 180.0  # a cancelled job may save for SLURM's KillWait, 30 s by default


@dataclass(frozen=True, slots=True)
class Sent:
    """A job in SLURM's hands."""

    job: Job
    job_id: str


class SentJobs:
    """The jobs of one command that have not ended.

    Args:
        files: the results folder.
    """

    def __init__(self, files: Files) -> None:
        self._files = files
        self._open: dict[str, Sent] = {}
        self._gone: set[str] = set()  # that the queue lacked once
        self._asked = 0.0

    def __len__(self) -> int:
        return len(self._open)

    def __contains__(self, name: str) -> bool:
        return name in self._open

    def add(self, job: Job, job_id: str) -> None:
        """Remember a job that SLURM has accepted.

        Args:
            job: the run or artifact.
            job_id: its number in the queue.
        """
        self._open[job.name] = Sent(job, job_id)

    def id_of(self, name: str) -> str | None:
        """Return the number of the job of a run or artifact, None if none is open."""
        sent = self._open.get(name)
        return None if sent is None else sent.job_id

    def is_open(self, job_id: str) -> bool:
        """Whether a job has not ended."""
        return any(sent.job_id == job_id for sent in self._open.values())

    def look(self) -> list[Event]:
        """Return which jobs have ended; asks SLURM every few seconds."""
        events = []
        for name in list(self._open):
            state = self._files.status(name)
            if state.done or (state is Status.FAILED and name in self._gone):
                events.append(self._settle(name, state))
        if time.monotonic() - self._asked < QUEUE_POLL_S:
            return events
        self._asked = time.monotonic()
        queued = queued_jobs(self._files.results)
        if queued is None:
            return events
        for name in [name for name in self._open if name not in queued]:
            # Two times: one that queues itself again may be missing once.
            if name in self._gone and ending_of(self._open[name].job_id).state not in ALIVE:
                events.append(self._conclude(name))
            self._gone.add(name)
        self._gone &= self._open.keys() - queued.keys()
        return events

    def stop(self, impatient: Callable[[], bool]) -> list[Event]:
        """Cancel what is queued, let what runs save, and wait for it.

        Args:
            impatient: whether a person does not want to wait for that any longer.
        """
        deadline = time.monotonic() + STOP_LIMIT_S
        while time.monotonic() < deadline and not impatient():
            queued = queued_jobs(self._files.results)
            if queued is not None:
                left = [job.job_id for name, job in queued.items() if name in self._open]
                if not left:
                    return [self._conclude(name) for name in list(self._open)]
                cancel(left)
            time.sleep(min(2.0, QUEUE_POLL_S))
        return []

    def _settle(self, name: str, state: Status) -> Event:
        del self._open[name]
        if state.done:
            return Event(name, What.DONE)
        return Event(name, What.FAILED, self._files.reason(name))

    def _conclude(self, name: str) -> Event:
        """Say of a job that is over whether it died, or saved and left."""
        state = self._files.status(name)
        if state.done or state in (Status.FAILED, Status.DAMAGED):
            return self._settle(name, state)
        sent = self._open.pop(name)
        if state is Status.RUNNING:
            return Event(name, What.WAITING, WORKED_ON)
        for upstream in sent.job.after:
            if self._files.status(upstream) is Status.CRASH:
                return Event(name, What.LEFT_OUT, f"upstream crashed ({upstream})")
        ended = ending_of(sent.job_id)
        if ended.left:
            return Event(name, What.STOPPED, f"SLURM job {sent.job_id} ended ({ended})")
        record = read_job(self._files.folder(name))
        reason = f"SLURM state {ended.state} before a result was written (job {sent.job_id})"
        self._files.blame(name, reason, f"log: {record.log}" if record else "")
        return Event(name, What.FAILED, reason)
