"""Runs on a cluster: one SLURM job each, which runs without this process.

A job that is queued already is adopted, never submitted twice. What starts from another run waits
for its job and checks itself whether that left a result. What SLURM does not accept yet, because
the number of jobs is limited, is submitted later: by this command if it waits, else by the next
one.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from scaledrelu.errors import ConfigError, RunError
from scaledrelu.launch.executor import WORKED_ON, Event, Files, Job, What
from scaledrelu.launch.queue import QueuedJob, cancel, queued_jobs
from scaledrelu.launch.sent import QUEUE_POLL_S, SentJobs
from scaledrelu.launch.slurm_options import check_slurm, options_of
from scaledrelu.launch.submission import (
    RefusedError,
    has_work,
    jobs_folder,
    keep_record,
    submit_job,
)
from scaledrelu.runs.lock import BusyError, claim
from scaledrelu.runs.record import Status

FULL_S = 60.0  # pause when SLURM accepts no more jobs and none of ours ends
PORTION = 50  # jobs to submit before checking for a request to stop
TOO_MANY = re.compile(r"Submit\w*Limit|temporarily")  # of one person, of a group, or of all


class SlurmExecutor:
    """Submits jobs.

    Args:
        files: the results folder.
        options: options of all jobs; those below ``artifacts`` are for artifacts only.
        n_jobs: jobs at a time; None = as many as SLURM starts.
        wait: stay until all jobs have ended.

    Raises:
        ConfigError: an unknown option, no submitit, or no SLURM.
    """

    waits = False

    def __init__(
        self,
        files: Files,
        options: Mapping[str, Any],
        *,
        n_jobs: int | None = None,
        wait: bool = False,
    ) -> None:
        check_slurm(options)
        if "%" in str(files.results.absolute()):
            raise ConfigError(
                f"results={files.results}: must not contain %, which SLURM replaces in the name of "
                "a log; choose another folder"
            )
        self._files = replace(files, results=files.results.absolute())
        self._options, self._n_jobs, self._wait = options, n_jobs, wait
        self._unsent: dict[str, Job] = {}
        self._sent = SentJobs(self._files)
        self._order: list[str] = []  # numbers of all jobs, ended ones too
        self._held: set[str] = set()  # runs whose obstacle was told
        self._pause_until, self._is_full = 0.0, False

    @property
    def open_jobs(self) -> int:
        """Number of jobs that this process has to wait for."""
        return len(self._unsent) + (len(self._sent) if self._wait else 0)

    def submit(self, jobs: Sequence[Job]) -> list[Event]:
        """Take jobs; the first of them are submitted, the next at each poll.

        Raises:
            ConfigError: groups that do not divide over the tasks of a job.
            RunError: see :meth:`poll`.
        """
        for job in jobs:
            options_of(job, self._options)
        self._unsent |= {job.name: job for job in jobs}
        return self._send()

    def poll(self, timeout_s: float) -> list[Event]:
        """Submit what is left; if all is, return which jobs have ended.

        Raises:
            RunError: SLURM does not answer, or refuses a job while none of ours is queued.
        """
        if events := self._send():
            return events
        time.sleep(min(timeout_s, QUEUE_POLL_S))
        events = self._sent.look() if self._wait else []
        if events:
            self._pause_until = 0.0  # there may be room for others
        return events

    def stop(self, impatient: Callable[[], bool]) -> list[Event]:
        """Submit nothing more and cancel what is queued; see :meth:`SentJobs.stop`."""
        self._unsent.clear()
        return self._sent.stop(impatient)

    def close(self) -> None:
        """Do nothing: nothing is held open."""

    def _send(self) -> list[Event]:
        """Submit or adopt some jobs; of several commands one at a time, or all would submit."""
        if not self._unsent or time.monotonic() < self._pause_until:
            return []
        folder = jobs_folder(self._files)
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(BusyError), claim(folder):
            return self._send_portion()
        return []

    def _send_portion(self) -> list[Event]:
        queued = queued_jobs(self._files.results)
        if queued is None and not (self._wait and len(self._sent)):
            raise RunError(f"squeue does not answer; {self._left()}; try again later")
        pause_s, events = QUEUE_POLL_S, self._adopt(queued or {})
        for job in [] if queued is None else list(self._unsent.values()):
            if len(events) >= PORTION:
                return events
            try:
                events += self._consider(job)
            except RefusedError as refusal:
                events += self._refused(job, refusal)
                pause_s = FULL_S
                break
        self._pause_until = time.monotonic() + pause_s
        if not self._wait:
            events += [Event(name, What.LEFT_OUT) for name in self._unsent]
            self._unsent.clear()
        return events

    def _adopt(self, queued: Mapping[str, QueuedJob]) -> list[Event]:
        """Take on what is queued already, before any other job asks which n_jobs are before it."""
        events, alive = [], [name for name in self._unsent if name in queued]
        for name in sorted(alive, key=lambda name: int(queued[name].job_id)):
            job, one = self._unsent[name], queued[name]
            if one.leaving:
                continue
            if has_work(one.job_id, self._files):
                keep_record(job, one.job_id, self._files)
                events.append(self._taken(job, one.job_id, What.ADOPTED, f"job {one.job_id}"))
            else:
                cancel([one.job_id])
        return events

    def _consider(self, job: Job) -> list[Event]:
        """Submit or hold a job that is not queued.

        Raises:
            RefusedError: SLURM does not take it.
        """
        state = self._files.status(job.name)
        if state.done and self._files.mark(job.name) != job.replaces:  # by another process
            del self._unsent[job.name]
            return [Event(job.name, What.DONE)]
        if (obstacle := self._obstacle(job, state)) is not None:
            return self._hold(job, obstacle)
        after = self._waits_for(job)
        record = submit_job(job, self._options, files=self._files, after=after)
        where = f"job {record.job_id}, log {record.log}"
        return [self._taken(job, record.job_id, What.QUEUED, where)]

    def _taken(self, job: Job, job_id: str, what: What, where: str) -> Event:
        del self._unsent[job.name]
        self._sent.add(job, job_id)
        self._order.append(job_id)
        return Event(job.name, what, where)

    def _obstacle(self, job: Job, state: Status) -> str | None:
        """Return why a job is not to be submitted now; None if it is, and make it ready then."""
        for name in job.after:
            if name in self._unsent:
                return f"it needs {name}, which is not submitted yet"
            if name not in self._sent and self._files.status(name) is Status.RUNNING:
                return f"it needs {name}, which another process is working on"
        try:
            if state is not Status.RUNNING:
                job.prepare()
                return None
        except BusyError:
            pass
        return WORKED_ON

    def _hold(self, job: Job, reason: str) -> list[Event]:
        """Leave a job for later, and say that once."""
        if job.name in self._held:
            return []
        self._held.add(job.name)
        return [Event(job.name, What.WAITING, reason)]

    def _refused(self, job: Job, refusal: RefusedError) -> list[Event]:
        """Leave the rest for later if it may be too many only.

        Raises:
            RunError: none of ours is queued, and nothing says that there are too many jobs.
        """
        if not len(self._sent) and not TOO_MANY.search(str(refusal)):
            raise RunError(f"SLURM refuses {job.name} ({refusal}); {self._left()}") from refusal
        if self._is_full:
            return []
        self._is_full = True
        when = "as others end" if self._wait else "by a later command when others have ended"
        reason = f"SLURM accepts no more jobs now ({refusal}); the rest is submitted {when}"
        return [Event(job.name, What.WAITING, reason)]

    def _left(self) -> str:
        return f"jobs not submitted: {len(self._unsent)}"

    def _waits_for(self, job: Job) -> list[str]:
        """Return the jobs that must have ended first: those it needs, and n_jobs before."""
        found = list(filter(None, map(self._sent.id_of, job.after)))
        if self._n_jobs is not None and len(self._order) >= self._n_jobs:
            before = self._order[-self._n_jobs]
            found += [before] if self._sent.is_open(before) else []
        return list(dict.fromkeys(found))
