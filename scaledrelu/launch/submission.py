"""One job as SLURM gets it: what its processes do, with which options, and where its log lies."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import shlex
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scaledrelu.config.places import ROOT, runs_root
from scaledrelu.launch.executor import Files, Job
from scaledrelu.launch.queue import JobRecord, comment_of, write_job
from scaledrelu.launch.slurm_options import SHARED, options_of
from scaledrelu.runs.ending import EXIT_BUSY, EXIT_FAILED, EXIT_INTERRUPTED
from scaledrelu.runs.process import holding_signals, leave_when_time_is_up, release_signals
from scaledrelu.runs.record import Status
from scaledrelu.tables.typed import as_list

log = logging.getLogger(__name__)

SBATCH = re.compile(r"sbatch: (error: )?")


class RefusedError(Exception):
    """SLURM does not take a job, now or ever."""


@dataclass(frozen=True, slots=True)
class ClusterWork:
    """What every task of a job does: refuse a start without its upstream runs, then the work.

    Attributes:
        files: the results folder, by its absolute path.
        name: run or artifact.
        work: see ``executor.Job``.
        after: what it starts from.
        requeue: see ``executor.Job``.
    """

    files: Files
    name: str
    work: Callable[[], int]
    after: tuple[str, ...]
    requeue: bool = False

    def __call__(self) -> None:
        """Work, and leave with an exit status that SLURM can see."""
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # before there is something to save
        first = os.environ.get("SLURM_PROCID", "0") == "0"
        if cpus := os.environ.get("SLURM_CPUS_PER_TASK"):
            os.environ.setdefault("OMP_NUM_THREADS", cpus)
        for name in self.after:
            state = self.files.status(name)
            if state is Status.CRASH:
                log.warning("%s is not trained: upstream crashed (%s)", self.name, name)
                return
            if state is Status.RUNNING:  # trained by a process outside this queue
                sys.exit(EXIT_BUSY)
            if state is not Status.OK:
                if first:
                    reason = f"upstream failed: {name}: {self.files.reason(name)}"
                    self.files.blame(self.name, reason)
                sys.exit(EXIT_FAILED)
        with self._leaving_in_time(first):
            release_signals()
            status = self.work()
        # A task that leaves with an error ends the others; the first may still queue the job again.
        if status and (first or status != EXIT_INTERRUPTED):
            sys.exit(status)

    def _leaving_in_time(self, first: bool) -> contextlib.AbstractContextManager[None]:
        """Replace what submitit does at the time limit: it makes a failure of what it interrupts.

        Not where an artifact is made: it saves nothing, so that each attempt would end like this.
        """
        if self.name in self.files.artifacts:
            return contextlib.nullcontext()
        return leave_when_time_is_up(
            first=first, requeue=self.requeue, is_done=lambda: self.files.status(self.name).done
        )


def submit_job(
    job: Job, options: Mapping[str, Any], *, files: Files, after: Sequence[str]
) -> JobRecord:
    """Submit a job, and keep its number and log beside the run; one process at a time does that.

    Args:
        job: the job to submit.
        options: options of all jobs, see ``slurm_options.options_of``.
        files: the results folder, by its absolute path.
        after: numbers of the jobs that must have ended first.

    Raises:
        RefusedError: SLURM does not take it, or the file that it is handed cannot be written.
    """
    from submitit import AutoExecutor
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    found = options_of(job, options)
    setup = [
        "export PYTHONSAFEPATH=1",  # the folder of the command holds no code of ours
        "export SLURM_KILL_BAD_EXIT=1",  # a task that dies takes the others along
        f"export PYTHONPATH={shlex.quote(str(ROOT))}${{PYTHONPATH:+:$PYTHONPATH}}",
    ]
    if "cpus_per_task" in found:  # srun of SLURM 22.05 and later gives one otherwise
        setup.append(f"export SRUN_CPUS_PER_TASK={found['cpus_per_task']}")
    found["setup"] = [*setup, *as_list(found.get("setup"))]
    extra = {"requeue": True, **found.get("additional_parameters", {})}
    if after:
        extra["dependency"] = "afterany:" + ":".join(after)
    found["additional_parameters"] = extra
    found["comment"] = comment_of(files.results)
    work = ClusterWork(files, job.name, job.work, job.after, job.requeue)
    named = {k if k in SHARED else f"slurm_{k}": value for k, value in found.items()}
    python = shlex.join(holding_signals(sys.executable))
    executor = AutoExecutor(jobs_folder(files) / "%j", cluster="slurm", slurm_python=python)
    executor.update_parameters(name=job.caption, stderr_to_stdout=True, **named)
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # sbatch's refusal is in the error, too
            submitted = executor.submit(work)
    except (FailedJobError, FailedSubmissionError, OSError) as error:
        raise RefusedError(_in_one_line(error)) from error
    finally:
        for unsent in jobs_folder(files).glob("*.pkl"):  # that was to become a refused job's
            unsent.unlink()
    return keep_record(job, submitted.job_id, files)


def keep_record(job: Job, job_id: str, files: Files) -> JobRecord:
    """Keep the number and log of a run's job beside the run.

    Args:
        job: the run or artifact.
        job_id: its number in the queue.
        files: the results folder, by its absolute path.
    """
    record = JobRecord(job_id, job.caption, str(_of_submitit(files, job_id, "0_log.out")))
    write_job(files.folder(job.name), record)
    return record


def has_work(job_id: str, files: Files) -> bool:
    """Whether a job can find out what to do; not if its submission was killed half-way.

    Args:
        job_id: its number in the queue.
        files: the results folder, by its absolute path.
    """
    return _of_submitit(files, job_id, "submitted.pkl").exists()


def jobs_folder(files: Files) -> Path:
    """Return the folder that holds what jobs are handed, and their logs."""
    return runs_root(files.results) / ".slurm"


def _of_submitit(files: Files, job_id: str, name: str) -> Path:
    """Return a file of a job, by the name that submitit gives it."""
    return jobs_folder(files) / job_id / f"{job_id}_{name}"


def _in_one_line(error: Exception) -> str:
    """Return sbatch's message, or the last line of another error."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = [SBATCH.sub("", line, count=1) for line in lines if SBATCH.match(line)]
    return ": ".join(said or lines[-1:]) or type(error).__name__
