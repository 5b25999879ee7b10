"""One wave of runs as native Hydra multiruns, and what to do when workers die.

Decides nothing about which runs a table needs (``sweep.py``). A job that raises leaves
``error.txt`` and the others go on; a killed worker takes the pool with it, so what was in flight is
relaunched apart, one at a time; what dies again is reported and left out.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scaledrelu.config.compose import CONF_DIR
from scaledrelu.config.places import quoted
from scaledrelu.errors import RunError
from scaledrelu.files import write_atomic
from scaledrelu.launch.experiments import searchpath
from scaledrelu.launch.progress import Progress, Say
from scaledrelu.runs.attempt import STOP_FILE_VARIABLE, read_attempt
from scaledrelu.runs.record import ERROR, RESULT, run_directory, write_error

ROOT = CONF_DIR.parent
TRAIN = (sys.executable, os.path.relpath(ROOT / "scripts" / "train.py"))
POLL_S = 0.2
SAVE_LIMIT_S = 120.0  # how long interrupted runs may take to save
# The option of a Hydra launcher that limits how many runs go on at a time.
PARALLEL = {"joblib": "n_jobs", "submitit_slurm": "array_parallelism"}
DEATH_LIMIT_S = 20.0  # how long orphans of a broken pool may take to notice


class OutOfTimeError(RunError):
    """The sweep's budget is spent; running runs have saved and stopped."""


@dataclass(frozen=True, slots=True)
class Leftover:
    """Runs that a launched batch did not finish."""

    in_flight: tuple[str, ...]  # were being trained when their process died
    untouched: tuple[str, ...]  # never started


@dataclass(frozen=True, slots=True)
class Launcher:
    """How runs are started: one Hydra multirun for each call of :meth:`wave`."""

    profile: str
    results: Path
    name: str  # Hydra launcher
    n_jobs: int
    say: Say
    train: tuple[str, ...] = TRAIN
    arguments: tuple[str, ...] = ()  # further overrides, the launcher's own options among them
    deadline: float = math.inf  # on time.monotonic(): running runs save and stop then

    def command(self, run_ids: Sequence[str]) -> list[str]:
        """Return the command that trains some planned runs; a person can paste it."""
        arguments = [
            *self.train,
            "-m",
            f"experiment={','.join(run_ids)}",
            f"profile={self.profile}",
            f"hydra/launcher={self.name}",
            f"hydra.searchpath=[{_quoted(f'file://{searchpath(self.results)}')}]",
            f"paths.results={_quoted(str(self.results))}",
        ]
        if self.name in PARALLEL:
            limit = min(self.n_jobs, len(run_ids))
            arguments.append(f"hydra.launcher.{PARALLEL[self.name]}={limit}")
        return [*arguments, *self.arguments]

    def wave(self, run_ids: Sequence[str], progress: Progress) -> None:
        """Train runs that do not depend on each other until each has a result or a failure.

        Raises:
            RunError: the training command ends without starting any run.
            KeyboardInterrupt, OutOfTimeError: after the running ones have saved and stopped.
        """
        progress.begin(run_ids)
        pending, suspects = list(run_ids), []
        while pending:
            leftover = self._batch(pending, progress)
            if not leftover.in_flight and list(leftover.untouched) == pending:
                raise RunError(f"training did not start: {self.last_words()}")
            suspects += leftover.in_flight
            pending = list(leftover.untouched)
        if suspects:
            self.say(f"a worker died; again, one at a time: {', '.join(suspects)}")
        for run_id in suspects:
            leftover = self._batch([run_id], progress)
            if leftover.in_flight or leftover.untouched:
                reason = "its process died twice without a word (killed, or out of memory)"
                write_error(run_directory(self.results, run_id), reason, self.last_words())
                progress.update()

    @property
    def log(self) -> Path:
        """What the training processes say."""
        return self.results / ".cache" / "sweep.log"

    def start(
        self, run_ids: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start the command of some runs; what it says goes to :attr:`log`."""
        command = self.command(run_ids)
        self.say(f"$ {shlex.join(command)}")
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            return subprocess.Popen(
                command,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a Ctrl-C reaches the runs through us, in order
            )

    def last_words(self) -> str:
        """Return the last line of the log and where the rest is."""
        lines = self.log.read_text(errors="replace").strip().splitlines() or ["(nothing)"]
        return f"{lines[-1].strip().removeprefix('error: ')} (all of it in {self.log})"

    def _batch(self, run_ids: Sequence[str], progress: Progress) -> Leftover:
        stop_file = self.results.resolve() / ".cache" / f"stop-{os.getpid()}"
        stop_file.unlink(missing_ok=True)
        environment = {STOP_FILE_VARIABLE: str(stop_file)}
        if self.n_jobs > 1:
            environment["OMP_NUM_THREADS"] = os.environ.get("OMP_NUM_THREADS", "1")
        process = self.start(run_ids, environment)
        try:
            while process.poll() is None:
                time.sleep(POLL_S)
                progress.update()
                if time.monotonic() > self.deadline:
                    raise OutOfTimeError("the budget is spent")
        except (KeyboardInterrupt, OutOfTimeError):
            self._stop(process, run_ids, stop_file)
            progress.update()
            raise
        progress.update()
        return self._leftover(run_ids)

    def _stop(
        self, process: subprocess.Popen[bytes], run_ids: Sequence[str], stop_file: Path
    ) -> None:
        """Let running runs save, keep others from starting, then end what is left."""
        write_atomic(stop_file, "stop\n")
        self.say("stopping: running runs save first (Ctrl-C again to kill them)")
        told: set[int] = set()
        deadline = time.monotonic() + SAVE_LIMIT_S
        with contextlib.suppress(KeyboardInterrupt):
            while process.poll() is None and time.monotonic() < deadline:
                for attempt in (read_attempt(run_directory(self.results, r)) for r in run_ids):
                    if attempt and attempt.here and attempt.alive and attempt.pid not in told:
                        told.add(attempt.pid)
                        os.kill(attempt.pid, signal.SIGTERM)
                time.sleep(POLL_S)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        stop_file.unlink(missing_ok=True)

    def _leftover(self, run_ids: Sequence[str]) -> Leftover:
        folders = {run_id: run_directory(self.results, run_id) for run_id in run_ids}
        open_ = [
            run_id
            for run_id, folder in folders.items()
            if not (folder / RESULT).exists() and not (folder / ERROR).exists()
        ]
        attempts = {run_id: read_attempt(folders[run_id]) for run_id in open_}
        deadline = time.monotonic() + DEATH_LIMIT_S
        while time.monotonic() < deadline and any(a and a.alive for a in attempts.values()):
            time.sleep(POLL_S)
        return Leftover(
            in_flight=tuple(run_id for run_id in open_ if attempts[run_id]),
            untouched=tuple(run_id for run_id in open_ if not attempts[run_id]),
        )


def _quoted(text: str) -> str:
    """Quote what Hydra's override grammar would not read as one string."""
    return text if re.fullmatch(r"[\w./:@-]+", text, re.ASCII) else quoted(text)
