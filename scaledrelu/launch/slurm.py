"""A wave of runs as one SLURM job array: submitted by Hydra, watched in SLURM's own queue.

The queue and the run directories are the truth: a launcher without SLURM accounting would wait for
ever for a job that was killed, and a job that queued itself again is not over when it returns.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field

from scaledrelu.config.launchers import OPTION
from scaledrelu.errors import RunError
from scaledrelu.launch.launch import Launcher
from scaledrelu.launch.progress import Progress
from scaledrelu.runs.attempt import clear_attempt, read_attempt
from scaledrelu.runs.record import ERROR, RESULT, run_directory, write_error

SETUP, CPUS = f"{OPTION}setup=", f"{OPTION}cpus_per_task="
POLL_S = 0.5
QUEUE_POLL_S = 5.0  # SLURM's controller serves everybody: ask rarely
CANCEL_POLL_S = 2.0
STOP_LIMIT_S = 180.0  # a cancelled job may save for SLURM's KillWait, 30 s by default
LEFT_ALONE = ("CANCELLED", "COMPLETED", "PREEMPTED", "TIMEOUT")  # saved and left: not a failure


@dataclass(frozen=True, slots=True)
class SlurmQueue:
    """The jobs of one name in SLURM's queue."""

    name: str

    def jobs(self) -> list[str] | None:
        """Return the ids of pending and running jobs, ``12`` or ``12_3``; None: no answer."""
        found = _ask("squeue", "--noheader", "--array", "--name", self.name, "--format", "%i")
        return None if found is None else found.split()

    def cancel(self) -> None:
        """Cancel the jobs: SLURM sends SIGTERM, so that running ones save, and SIGKILL later."""
        _ask("scancel", "--name", self.name)

    def ending(self, job: str) -> str:
        """Return the state in which a job ended, e.g. ``NODE_FAIL``; ``unknown`` if forgotten."""
        shown = _ask("scontrol", "show", "job", job, "--oneliner") or ""
        if match := re.search(r"\bJobState=(\w+)", shown):
            return match[1]
        words = (_ask("sacct", "-nXP", "-o", "State", "-j", job) or "").split()
        return words[0] if words else "unknown"


@dataclass(frozen=True, slots=True)
class SlurmLauncher(Launcher):
    """Starts runs as SLURM jobs, one job for each run, and waits until none is left."""

    queue: SlurmQueue = field(
        default_factory=lambda: SlurmQueue(f"scaledrelu-{uuid.uuid4().hex[:8]}")
    )

    def command(self, run_ids: Sequence[str]) -> list[str]:
        """Return the command that submits some planned runs; a person can paste it."""
        logs = f"{OPTION}submitit_folder='{self._logs('%j')}'"  # one place for every wave
        command = [*Launcher.command(self, run_ids), f"{OPTION}name={self.queue.name}", logs]
        if not any(argument.startswith(SETUP) for argument in command):
            command.append(f"{SETUP}[{','.join(self._setup(command))}]")
        return command

    def wave(self, run_ids: Sequence[str], progress: Progress) -> None:
        """Submit runs that do not depend on each other and wait until their jobs have ended.

        Raises:
            RunError: nothing could be submitted.
            KeyboardInterrupt: after the jobs are cancelled; running ones save first.
        """
        progress.begin(run_ids)
        process = self.start(run_ids)
        try:
            jobs = self._watch(process, progress)
        except KeyboardInterrupt:
            self._cancel(process)
            raise
        _end(process)
        if not jobs and process.returncode and not any(map(self._has_ended, run_ids)):
            raise RunError(f"no job was submitted: {self.last_words()}")
        for index, run_id in enumerate(run_ids):
            if not self._has_ended(run_id):
                self._conclude(run_id, jobs.get(index))
        progress.update()

    def _setup(self, command: Sequence[str]) -> list[str]:
        """Return shell lines of the job: what srun does not take over from sbatch by itself."""
        lines = ["export SLURM_KILL_BAD_EXIT=1"]  # a task that dies takes the others along
        for argument in command:
            if argument.startswith(CPUS):  # srun of SLURM 22.05 and later gives one otherwise
                lines.append(f"export SRUN_CPUS_PER_TASK={argument.removeprefix(CPUS)}")
        return [f"'{line}'" for line in lines]

    def _watch(self, process: subprocess.Popen[bytes], progress: Progress) -> dict[int, str]:
        """Wait until the queue is empty; return the job of each run by its place in the wave."""
        seen: dict[int, str] = {}
        empty, asked = 0, time.monotonic()
        while empty < 2:  # two times: a job that queues itself again may be missing once
            time.sleep(POLL_S)
            progress.update()
            if time.monotonic() - asked < QUEUE_POLL_S and process.poll() is None:
                continue
            asked = time.monotonic()
            jobs = self.queue.jobs()
            seen |= {int(job.partition("_")[2] or 0): job for job in jobs or []}
            over = jobs == [] and (seen or process.poll() is not None)
            empty = empty + 1 if over else 0
        return seen

    def _has_ended(self, run_id: str) -> bool:
        folder = run_directory(self.results, run_id)
        return (folder / RESULT).exists() or (folder / ERROR).exists()

    def _conclude(self, run_id: str, job: str | None) -> None:
        """Say of a run without a result whether its job died, or saved and left."""
        folder = run_directory(self.results, run_id)
        state = self.queue.ending(job) if job else "unknown"
        if read_attempt(folder) is None and state in LEFT_ALONE:
            self.say(f"{run_id}: SLURM job {job} left ({state}); the same command goes on")
            return
        reason = f"its SLURM job {job or ''} ended without a word ({state})".replace("  ", " ")
        write_error(folder, reason, f"logs: {self._logs(job)}")
        clear_attempt(folder)

    def _logs(self, job: str | None) -> str:
        folder = self.results / "runs" / ".hydra" / ".submitit"
        return str(folder / job if job else folder)

    def _cancel(self, process: subprocess.Popen[bytes]) -> None:
        """Cancel what is queued and let what runs save."""
        self.say("stopping: running jobs save first (Ctrl-C again to leave them to SLURM)")
        _end(process)  # before the jobs: it may be about to submit more
        deadline = time.monotonic() + STOP_LIMIT_S
        with contextlib.suppress(KeyboardInterrupt):
            while self.queue.jobs() != [] and time.monotonic() < deadline:
                self.queue.cancel()
                time.sleep(CANCEL_POLL_S)


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _ask(*command: str) -> str | None:
    """Return what a SLURM command prints, None if it fails or does not answer."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout if done.returncode == 0 else None
