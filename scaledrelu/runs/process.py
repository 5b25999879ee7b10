"""What a run does to its process: signals become a request to stop, the log goes to a file too.

A process that another one started only for a run stops when that one is gone. A request that
announces a time limit may queue the SLURM job around the process again.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from scaledrelu.runs.ending import EXIT_INTERRUPTED

log = logging.getLogger(__name__)

# SLURM announces the time limit with the signal of its --signal option; submitit asks for USR2.
TIME_IS_UP = (signal.SIGUSR1, signal.SIGUSR2)
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, *TIME_IS_UP)
# What torch's elastic agent still handles. After a signal it no longer reads what its workers
# return, which they wait for until they are killed (torch 2.11 to 2.15), so we handle the others.
OF_THE_AGENT = (signal.SIGQUIT,)
PR_SET_PDEATHSIG = 1  # Linux: the signal that a process gets when its parent ends

_parent: int | None = None  # this process stops when that one is gone


def stop_with_parent(parent: int) -> None:
    """Ask this process to stop when the process that started it is gone, however that ended.

    Linux sends SIGTERM, also if the parent is gone already; elsewhere the next step notices.

    Args:
        parent: the parent's process id, as the parent itself knows it.
    """
    global _parent
    _parent = parent
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if is_orphan():
            os.kill(os.getpid(), signal.SIGTERM)


def is_orphan() -> bool:
    """Whether the parent that this process must not outlive is gone."""
    return _parent is not None and os.getppid() != _parent


class StopRequest:
    """Whether this process was asked to stop, and by which signal; called once a step."""

    def __init__(self) -> None:
        self.signals: list[int] = []

    def __call__(self) -> bool:
        """Return whether a signal asked this process to stop, or its parent is gone."""
        return bool(self.signals) or is_orphan()

    @property
    def time_is_up(self) -> bool:
        """Whether the request announced a time limit, so that the run should continue later."""
        return any(number in TIME_IS_UP for number in self.signals)


@contextlib.contextmanager
def stop_on_signal() -> Iterator[StopRequest]:
    """Turn SIGNALS into a request; a second SIGINT interrupts. Under nohup the terminal may go.

    Not where a parent passes signals on: one Ctrl-C then arrives twice, and the parent kills.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    owner = os.getpid()

    def handle(number: int, _frame: Any) -> None:
        if os.getpid() != owner:  # a forked loader worker inherited the handler
            return
        if request() and number == signal.SIGINT and _parent is None:
            raise KeyboardInterrupt
        request.signals.append(number)

    with _handlers(handle):
        yield request


@contextlib.contextmanager
def pass_on_signals() -> Iterator[StopRequest]:
    """Let the parent of several workers pass the first signal on as SIGTERM and wait for them.

    A second SIGINT kills the workers and interrupts; so does a first signal where there is no
    worker. A second signal of another kind changes nothing, also if the workers are gone by then.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    owner, others = os.getpid(), set(multiprocessing.active_children())

    def handle(number: int, _frame: Any) -> None:
        if os.getpid() != owner:  # a forked worker that has no handlers of its own yet
            raise KeyboardInterrupt
        workers = set(multiprocessing.active_children()) - others
        is_second = bool(request.signals)
        request.signals.append(number)
        if number == signal.SIGINT if is_second else not workers:
            for worker in workers:
                worker.kill()
            raise KeyboardInterrupt
        if not is_second:
            for worker in workers:
                worker.terminate()

    with _handlers(handle, restored=(*SIGNALS, *OF_THE_AGENT)):
        yield request


def holding_signals(python: str) -> list[str]:
    """Return the command of a Python that no announcement of a time limit ends while it starts.

    The signals wait until :func:`release_signals`; a second of imports has no handler for them.

    Args:
        python: path of the interpreter.
    """
    numbers = ",".join(f"signal.{number.name}" for number in TIME_IS_UP)
    code = (
        f"import os,signal,sys;signal.pthread_sigmask(signal.SIG_BLOCK,[{numbers}]);"
        "os.execv(sys.argv[1],sys.argv[1:])"
    )
    return [python, "-ISc", code, python]


def release_signals() -> None:
    """Let the announcements of a time limit arrive, those that came before as well."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, TIME_IS_UP)


@contextlib.contextmanager
def leave_when_time_is_up(
    *, first: bool, requeue: bool, is_done: Callable[[], bool]
) -> Iterator[None]:
    """End this process if a time limit is announced where no run turns that into a request.

    So it is while torch is imported, before there is anything to save. The first task of a job ends
    all of them, once SLURM has queued the job again or cancelled it. What is done or over is left
    alone.

    Args:
        first: whether this process is the first task of its job.
        requeue: queue the SLURM job again.
        is_done: whether the work has left what it is there for.
    """
    owner = os.getpid()

    def handle(_number: int, _frame: Any) -> None:
        if os.getpid() != owner or not first or is_done():
            return
        log.warning("left, since the time of this job is up before its run can save anything")
        if not requeue or not requeue_job():
            _cancel_job()
        logging.shutdown()
        os._exit(EXIT_INTERRUPTED)  # an exception inside an import could be taken for its failure

    _handle_all(TIME_IS_UP, handle)
    try:
        yield
    finally:
        _handle_all(TIME_IS_UP, lambda *_: None)


def requeue_job() -> bool:
    """Queue this SLURM job again under its own id; return whether SLURM will start it once more."""
    job = _slurm_job()
    if job is None:
        return False
    if refusal := _refusal_of("scontrol", "requeue", job):
        log.warning(
            "SLURM did not queue job %s again (%s); run the same command again to continue",
            job,
            refusal,
        )
        return False
    log.info("SLURM queued job %s again; it will resume from the checkpoint", job)
    return True


def _cancel_job() -> None:
    """End all tasks of this SLURM job; one that leaves alone makes a failure of the job."""
    if (job := _slurm_job()) is not None:
        _refusal_of("scancel", job)


def _refusal_of(*command: str) -> str:
    """Run a command of SLURM; return what it complains of, or ""."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
    return done.stderr.strip() if done.returncode else ""


def _slurm_job() -> str | None:
    """Return the id of the SLURM job around this process, ``<array>_<task>`` inside an array."""
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    if array is not None:  # the plain id of one task of an array may name the whole array
        return f"{array}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    return os.environ.get("SLURM_JOB_ID")


@contextlib.contextmanager
def _handlers(
    handle: Callable[[int, Any], None], *, restored: Sequence[int] = SIGNALS
) -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in restored}
    under_nohup = before[signal.SIGHUP] == signal.SIG_IGN
    try:
        _handle_all([n for n in SIGNALS if n != signal.SIGHUP or not under_nohup], handle)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _handle_all(numbers: Sequence[int], handle: Callable[[int, Any], None]) -> None:
    for number in numbers:
        signal.signal(number, handle)


@contextlib.contextmanager
def log_to(path: Path) -> Iterator[None]:
    """Copy the log of this process into a file of its run directory."""
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    root = logging.getLogger("scaledrelu")
    level = root.level
    root.setLevel(logging.INFO)
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
        handler.close()
