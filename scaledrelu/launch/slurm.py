"""Runs on a cluster: one SLURM job for each, submitted through submitit; then SLURM goes on alone.

A job that is queued already is adopted, never submitted twice. What starts from another run waits
for its job and looks itself whether that left a result. The queue and the run directories are the
truth: without accounting SLURM forgets a job minutes after its end.
"""

from __future__ import annotations

import logging
import os
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from scaledrelu.config.compose import CONF_DIR
from scaledrelu.errors import ConfigError, RunError
from scaledrelu.launch.executor import FINISHED, Event, Files, Job, State, What
from scaledrelu.launch.queue import (
    ALIVE,
    LEFT_ALONE,
    JobRecord,
    cancel,
    comment_of,
    ending_of,
    queued_jobs,
    read_job,
    write_job,
)
from scaledrelu.launch.slurm_options import SHARED, check_slurm, options_of
from scaledrelu.runs.ending import EXIT_FAILED
from scaledrelu.runs.lock import BusyError
from scaledrelu.tables.typed import as_list

log = logging.getLogger(__name__)

QUEUE_POLL_S = 5.0  # SLURM's controller serves all users: ask rarely
STOP_LIMIT_S = 180.0  # a cancelled job may save for SLURM's KillWait, 30 s by default


@dataclass(frozen=True, slots=True)
class ClusterWork:
    """What a job does: refuse an upstream run without a result, then do the work of the run.

    Attributes:
        files: the results folder, by its absolute path.
        job: run or artifact.
        work: what the process does; returns the exit status.
        after: runs and artifacts that it needs.
    """

    files: Files
    name: str
    work: Callable[[], int]
    after: tuple[str, ...]

    def __call__(self) -> None:
        """Do the work, and exit with a status that SLURM can see."""
        if cpus := os.environ.get("SLURM_CPUS_PER_TASK"):
            os.environ.setdefault("OMP_NUM_THREADS", cpus)
        for name in self.after:
            state = self.files.state(name)
            if state is State.CRASHED:
                log.warning("%s is not trained: upstream crashed (%s)", self.name, name)
                return
            if state is not State.DONE:
                if os.environ.get("SLURM_PROCID", "0") == "0":
                    reason = f"upstream failed: {name}: {self.files.reason(name)}"
                    self.files.blame(self.name, reason)
                sys.exit(EXIT_FAILED)
        if status := self.work():
            sys.exit(status)


class SlurmExecutor:
    """Submits jobs.

    Args:
        files: the results folder.
        options: options of all jobs; those below ``artifacts`` are for artifacts only.
        n_jobs: jobs at a time; None = as many as SLURM starts.

    Raises:
        ConfigError: an unknown option, no submitit, or no SLURM.
    """

    waits = False

    def __init__(
        self, files: Files, options: Mapping[str, Any], *, n_jobs: int | None = None
    ) -> None:
        check_slurm(options)
        if "%" in str(files.results.absolute()):
            raise ConfigError(
                f"results={files.results}: must not contain %, which SLURM replaces in the name of "
                "a log; choose another folder"
            )
        self._files = replace(files, results=files.results.absolute())
        self._options, self._n_jobs = options, n_jobs
        self._jobs: dict[str, str] = {}  # open ones: name -> job id
        self._gone: set[str] = set()  # jobs that were missing in the queue once
        self._asked = 0.0

    @property
    def open_jobs(self) -> int:
        """Number of jobs that have not ended."""
        return len(self._jobs)

    def submit(self, jobs: Sequence[Job]) -> list[Event]:
        """Submit what is not queued already.

        Raises:
            ConfigError: groups that do not divide over the tasks of a job.
            RunError: SLURM refuses a job, or does not answer.
        """
        for job in jobs:
            options_of(job, self._options)
        queued = queued_jobs(self._files.results)
        if queued is None:
            raise RunError("squeue does not answer, so nothing was submitted; try again later")
        events, submitted = [], []
        for job in jobs:
            if job.name in queued and not queued[job.name].leaving:
                self._jobs[job.name] = queued[job.name].job_id
                events.append(Event(job.name, What.ADOPTED, f"job {queued[job.name].job_id}"))
                continue
            try:
                job.prepare()
            except BusyError as error:
                events.append(Event(job.name, What.WAITING, str(error)))
                continue
            if self._files.state(job.name) is State.BUSY:
                events.append(Event(job.name, What.WAITING, "another process is working on it"))
                continue
            try:
                record = self._submit(job, self._waits_for(job, submitted))
            except Exception as error:
                raise RunError(
                    f"{len(submitted)} jobs were submitted, then {job.name} was refused: "
                    f"{_last_line(error)}; run the same command again to submit the others"
                ) from error
            self._jobs[job.name] = record.job_id
            submitted.append(record.job_id)
            events.append(Event(job.name, What.QUEUED, f"job {record.job_id}, log {record.log}"))
        return events

    def poll(self, timeout_s: float) -> list[Event]:
        """Return which jobs ended; asks SLURM every few seconds."""
        time.sleep(min(timeout_s, QUEUE_POLL_S))
        events = []
        for name in list(self._jobs):
            state = self._files.state(name)
            if state in FINISHED or (state is State.FAILED and name in self._gone):
                events.append(self._settle(name, state))
        if time.monotonic() - self._asked < QUEUE_POLL_S:
            return events
        self._asked = time.monotonic()
        queued = queued_jobs(self._files.results)
        if queued is None:
            return events
        for name in [name for name in self._jobs if name not in queued]:
            # Two times: a job that queues itself again may be missing once.
            if name in self._gone and ending_of(self._jobs[name]) not in ALIVE:
                events.append(self._conclude(name))
            self._gone.add(name)
        self._gone &= self._jobs.keys() - queued.keys()
        return events

    def stop(self, impatient: Callable[[], bool] = lambda: False) -> list[Event]:
        """Cancel queued jobs, let running ones save, and wait for them.

        Args:
            impatient: whether a person does not want to wait for that any longer.
        """
        deadline = time.monotonic() + STOP_LIMIT_S
        while time.monotonic() < deadline and not impatient():
            queued = queued_jobs(self._files.results) or {}
            left = [job.job_id for name, job in queued.items() if name in self._jobs]
            if not left:
                return [self._conclude(name) for name in list(self._jobs)]
            cancel(left)
            time.sleep(min(2.0, QUEUE_POLL_S))
        return []

    def close(self) -> None:
        """Do nothing: nothing is held open."""

    def _waits_for(self, job: Job, submitted: Sequence[str]) -> list[str]:
        """Return the jobs that must have ended first: those it needs, and n_jobs before."""
        found = [self._jobs[name] for name in job.after if name in self._jobs]
        if self._n_jobs is not None and len(submitted) >= self._n_jobs:
            found.append(submitted[-self._n_jobs])
        return list(dict.fromkeys(found))

    def _submit(self, job: Job, after: Sequence[str]) -> JobRecord:
        from submitit import AutoExecutor

        options = options_of(job, self._options)
        setup = [
            "export SLURM_KILL_BAD_EXIT=1",  # a task that dies ends the others
            f"export PYTHONPATH={shlex.quote(str(CONF_DIR.parent))}${{PYTHONPATH:+:$PYTHONPATH}}",
        ]
        if "cpus_per_task" in options:  # srun of SLURM 22.05 and later gives one otherwise
            setup.append(f"export SRUN_CPUS_PER_TASK={options['cpus_per_task']}")
        options["setup"] = [*setup, *as_list(options.get("setup"))]
        extra = {"requeue": True, **options.get("additional_parameters", {})}
        if after:
            extra["dependency"] = "afterany:" + ":".join(after)
        options["additional_parameters"] = extra
        options["comment"] = comment_of(self._files.results)
        named = {k if k in SHARED else f"slurm_{k}": value for k, value in options.items()}
        executor = AutoExecutor(self._files.results / "runs" / ".slurm" / "%j", cluster="slurm")
        executor.update_parameters(name=job.caption, stderr_to_stdout=True, **named)
        work = ClusterWork(self._files, job.name, job.work, job.after)
        submitted = executor.submit(work)
        record = JobRecord(submitted.job_id, job.caption, str(submitted.paths.stdout))
        write_job(self._files.folder(job.name), record)
        return record

    def _settle(self, name: str, state: State) -> Event:
        del self._jobs[name]
        if state in FINISHED:
            return Event(name, What.DONE)
        return Event(name, What.FAILED, self._files.reason(name))

    def _conclude(self, name: str) -> Event:
        """Say whether a job that is over died, or saved and left."""
        state = self._files.state(name)
        if state in (*FINISHED, State.FAILED, State.DAMAGED):
            return self._settle(name, state)
        job_id = self._jobs.pop(name)
        ended = ending_of(job_id)
        if ended in LEFT_ALONE and state is State.MISSING:
            return Event(name, What.STOPPED, f"SLURM job {job_id} ended ({ended})")
        record = read_job(self._files.folder(name))
        reason = f"SLURM state {ended} before a result was written (job {job_id})"
        self._files.blame(name, reason, f"log: {record.log}" if record else "")
        return Event(name, What.FAILED, reason)


def _last_line(error: Exception) -> str:
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__
