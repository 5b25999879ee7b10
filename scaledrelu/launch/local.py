"""Runs on this machine: one process each, in slots, as soon as what they need is there.

Several sweeps may share a results folder: a run that another process holds is waited for, and its
result counts. A process that is killed without an error message is tried once more.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scaledrelu.launch.executor import WORKED_ON, Event, Files, Job, What
from scaledrelu.launch.server import Child, ForkServer
from scaledrelu.runs.ending import EXIT_BUSY, EXIT_INTERRUPTED
from scaledrelu.runs.lock import BusyError
from scaledrelu.runs.record import Status

CONSOLE = "console.log"  # what the process of a run prints
SERVER_LOG = Path(".cache") / "server.log"
LOOK_S = 0.5  # how often to look after runs that other processes hold
SAVE_LIMIT_S = 120.0  # how long interrupted runs may take to save
KILLED_TWICE = "its process was killed twice without an error message (out of memory?)"

Admit = Callable[[str, Sequence[str]], bool]  # (name, running) -> may it start now


@dataclass(frozen=True, slots=True)
class _Running:
    """A job in its slot."""

    job: Job
    slot: Mapping[str, str]
    pid: int


def anything(*_: object) -> bool:
    """Let every job start."""
    return True


class LocalExecutor:
    """Starts jobs in slots.

    Args:
        files: the results folder.
        slots: one for each job at a time: variables of its process, e.g. its GPUs.
        preload: modules to import once, for all jobs.
        admit: asked before a job starts; what is refused is asked again when another has ended.
    """

    waits = True

    def __init__(
        self,
        files: Files,
        slots: Sequence[Mapping[str, str]],
        *,
        preload: Sequence[str],
        admit: Admit = anything,
    ) -> None:
        self._files, self._preload, self._admit = files, preload, admit
        self._free = list(slots)
        self._waiting: dict[str, Job] = {}
        self._running: dict[str, _Running] = {}
        self._held: set[str] = set()  # by other processes
        self._died: set[str] = set()  # once
        self._server: ForkServer | None = None
        self._alone, self._stopping = len(slots) == 1, False

    @property
    def open_jobs(self) -> int:
        """Number of jobs that wait or run."""
        return len(self._waiting) + len(self._running)

    def submit(self, jobs: Sequence[Job]) -> list[Event]:
        """Take jobs; they start at the next poll."""
        self._waiting |= {job.name: job for job in jobs}
        return []

    def poll(self, timeout_s: float) -> list[Event]:
        """Return what happened, and fill the slots.

        Raises:
            RunError: a module that every run needs cannot be imported.
        """
        events = self._fill()
        if not events:
            events = self._hear(min(timeout_s, LOOK_S) if self._held else timeout_s)
        return events

    def stop(self, impatient: Callable[[], bool]) -> list[Event]:
        """Ask running jobs to save and end, and kill them after a while or when told to.

        Args:
            impatient: whether a person does not want to wait for that any longer.
        """
        events: list[Event] = []
        self._waiting.clear()
        self._stopping = True
        self._signal(signal.SIGTERM)
        deadline = time.monotonic() + SAVE_LIMIT_S
        while self._running and time.monotonic() < deadline and not impatient():
            events += self._hear(0.2)
        self._signal(signal.SIGKILL)
        while self._running:
            events += self._hear(1.0)
        return events

    def close(self) -> None:
        """End the server of the processes, if there is one."""
        server, self._server = self._server, None
        if server is not None:
            server.close()

    def _fill(self) -> list[Event]:
        """Start what can start, and settle what needs no start."""
        events = []
        for job in list(self._waiting.values()):
            if not self._free:
                break
            events += self._consider(job)
        if self._waiting and not self._running and not self._held and not events:
            events = [Event(name, What.LEFT_OUT) for name in self._waiting]  # refused by admit
            self._waiting.clear()
        return events

    def _consider(self, job: Job) -> list[Event]:
        obstacle = self._obstacle(job)
        if obstacle is not None:
            return [self._settle(job, What.LEFT_OUT, obstacle)] if obstacle else []
        if not self._admit(job.name, list(self._running)):
            return []
        state = self._files.status(job.name)
        if state is Status.RUNNING:
            return self._wait_for(job)
        if state.done and self._files.mark(job.name) != job.replaces:
            return [self._settle(job, What.DONE)]  # by another sweep
        if state is Status.FAILED and job.name in self._held:  # the other process has tried it
            return [self._settle(job, What.FAILED, self._files.reason(job.name))]
        try:
            job.prepare()
        except BusyError:
            return self._wait_for(job)
        return self._start(job)

    def _obstacle(self, job: Job) -> str | None:
        """Return why a job cannot start, an empty text if it can later, None if it can now."""
        if any(name in self._waiting or name in self._running for name in job.after):
            return ""
        for name in job.after:
            state = self._files.status(name)
            if state is Status.CRASH:
                return f"upstream crashed ({name})"
            if state is not Status.OK:
                why = {Status.DAMAGED: "is damaged", Status.FAILED: "failed"}
                return f"it needs {name}, which {why.get(state, 'has no result')}"
        return None

    def _wait_for(self, job: Job) -> list[Event]:
        if job.name in self._held:
            return []
        self._held.add(job.name)
        return [Event(job.name, What.WAITING, WORKED_ON)]

    def _start(self, job: Job) -> list[Event]:
        self._held.discard(job.name)
        if self._server is None:
            self._server = self._open_server()
        log = self._files.folder(job.name) / CONSOLE
        try:
            pid = self._server.start(Child(job.name, pickle.dumps(job.work), log, self._free[0]))
        except (EOFError, OSError):
            return self._server_died()
        del self._waiting[job.name]
        self._running[job.name] = _Running(job, self._free.pop(0), pid)
        return [Event(job.name, What.STARTED)]

    def _open_server(self) -> ForkServer:
        # Several processes share the cores; a single one may use all of them.
        threads = {} if self._alone else {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
        log = self._files.results / SERVER_LOG
        return ForkServer(self._preload, log=log, environment=threads)

    def _hear(self, timeout_s: float) -> list[Event]:
        if self._server is None:
            time.sleep(timeout_s)
            return []
        try:
            return [self._ended(name, status) for name, status in self._server.hear(timeout_s)]
        except (EOFError, OSError):
            return self._server_died()

    def _ended(self, name: str, status: int) -> Event:
        """Say how a job ended: files first, then the exit status of its process."""
        running = self._running.pop(name)
        self._free.append(running.slot)
        state = self._files.status(name)
        if state.done:
            return Event(name, What.DONE)
        if status == EXIT_BUSY:
            self._waiting[name] = running.job
            self._held.add(name)
            return Event(name, What.WAITING, WORKED_ON)
        if status == EXIT_INTERRUPTED:
            return Event(name, What.STOPPED, "by a signal, after saving")
        if status == -signal.SIGTERM:
            return Event(name, What.STOPPED, "by SIGTERM, before training")
        if status > 0 and state in (Status.FAILED, Status.DAMAGED):
            return Event(name, What.FAILED, self._files.reason(name))
        if self._stopping:
            return Event(name, What.STOPPED, "by a signal, before saving")
        return self._killed(running.job, status)

    def _killed(self, job: Job, status: int) -> Event:
        how = signal.Signals(-status).name if status < 0 else f"exit status {status}"
        if job.name not in self._died:
            self._died.add(job.name)
            self._waiting[job.name] = job  # behind the others
            reason = f"its process ended with {how} and no error message"
            return Event(job.name, What.DIED, reason)
        log = self._files.folder(job.name) / CONSOLE
        reason = KILLED_TWICE if status < 0 else f"its process ended twice with {how}; see {log}"
        self._files.blame(job.name, reason, f"{how}; its output: {log}")
        return Event(job.name, What.FAILED, self._files.reason(job.name))

    def _server_died(self) -> list[Event]:
        """Try again what ran in children of a server that was killed."""
        self.close()
        lost = list(self._running.values())
        self._free += [running.slot for running in lost]
        self._running.clear()
        if self._stopping:
            return [Event(one.job.name, What.STOPPED, "by a signal") for one in lost]
        return [self._killed(one.job, -signal.SIGKILL) for one in lost]

    def _settle(self, job: Job, what: What, reason: str = "") -> Event:
        del self._waiting[job.name]
        self._held.discard(job.name)
        return Event(job.name, what, reason)

    def _signal(self, number: int) -> None:
        """Send a signal to the processes of running jobs; SIGKILL also reaches their children."""
        for running in self._running.values():
            with contextlib.suppress(ProcessLookupError):
                if number == signal.SIGKILL:
                    os.killpg(running.pid, number)
                else:
                    os.kill(running.pid, number)
