"""From one composed configuration to processes and back: what a Hydra job calls.

A crash, a failure and an interruption are told apart here; the job returns its ending and never
exits, because a launcher that loses a worker loses the sweep.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import sys
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from scaledrelu.config.identity import canonical, run_id
from scaledrelu.errors import RunError, ScaledReluError
from scaledrelu.runs import attempt, record
from scaledrelu.runs.mishap import in_one_line
from scaledrelu.runs.process import log_to, pass_on_signals, requeue_job, stop_on_signal

log = logging.getLogger(__name__)

LOCK = "run.lock"
LATER = "stopped by a signal; the same command goes on"


class BusyError(RunError):
    """Another process trains the same run."""


class Ended(StrEnum):
    """How one attempt at a run ended."""

    OK = "ok"
    CRASH = "crash"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class JobReport:
    """What a job returns to whoever launched it."""

    run_id: str
    ended: Ended
    reason: str = ""
    time_is_up: bool = False  # interrupted by the announcement of a time limit


def run_job(config: dict[str, Any]) -> JobReport:
    """Train one run, wherever this process was started, and report how it ended.

    Args:
        config: resolved and checked, see ``config.compose.finalize``.
    """
    name = run_id(config)
    folder = record.run_directory(config["paths"]["results"], name)
    try:
        if (planned := config["planned_id"]) not in (None, name):
            return _composed_otherwise(config, name, planned)
        if (done := finished(config, folder)) is not None:
            log.info("%s is done already (%s)", name, done)
            return JobReport(name, Ended(done.value))
        if attempt.stop_requested():
            return JobReport(name, Ended.INTERRUPTED, "not started: the sweep is stopping")
        folder.mkdir(parents=True, exist_ok=True)
        report = _attempt(config, name, folder)
        if report.time_is_up and config["launch"]["requeue"] and _rank() == 0:
            requeue_job()  # the lock is free by now
        return report
    except BusyError as error:  # the run's own process will say how it ended
        log.error("%s", error)
        return JobReport(name, Ended.FAILED, str(error))
    except ScaledReluError as error:
        return _failed(name, folder, str(error), "")
    except KeyboardInterrupt:
        return JobReport(name, Ended.INTERRUPTED, "interrupted; the same command goes on")
    except (SystemExit, Exception) as error:
        return _failed(name, folder, in_one_line(error), traceback.format_exc())


def _composed_otherwise(config: dict[str, Any], name: str, planned: str) -> JobReport:
    """Refuse a job whose configuration changed between planning and starting."""
    reason = (
        f"planned {planned}, but conf/ or the data now compose {name}: something was edited "
        "after planning; plan again"
    )
    return _failed(planned, record.run_directory(config["paths"]["results"], planned), reason, "")


def finished(config: dict[str, Any], folder: Path) -> record.Outcome | None:
    """Return the outcome of a run that is done.

    Raises:
        RunError: if the stored configuration is not this one.
    """
    result = record.read_result(folder)
    if result is None:
        return None
    if json.loads(json.dumps(canonical(config))) != record.read_config(folder):
        raise RunError(
            f"{folder}: holds the result of another configuration under the same id; move it away"
        )
    return result.outcome


def _attempt(config: dict[str, Any], name: str, folder: Path) -> JobReport:
    if config["launch"]["nproc"] > 1 and not _has_ranks():
        with _only_writer(folder):
            return _elastic(config, name, folder)
    if _rank() > 0:
        return _in_place(config, name, folder)
    with _only_writer(folder):
        return _in_place(config, name, folder)


def _in_place(config: dict[str, Any], name: str, folder: Path) -> JobReport:
    from scaledrelu.engine.distributed import join_world
    from scaledrelu.runs.execute import execute

    launch = config["launch"]
    with (
        log_to(folder / f"rank{_rank()}.log"),
        stop_on_signal() as wants_stop,
        join_world(device=launch["device"], timeout_s=launch["timeout_s"]) as world,
    ):
        outcome = execute(config, world, folder, wants_stop=wants_stop)
    if outcome is None:
        return JobReport(name, Ended.INTERRUPTED, LATER, wants_stop.time_is_up)
    return JobReport(name, Ended(outcome.value))


def _elastic(config: dict[str, Any], name: str, folder: Path) -> JobReport:
    """Start one worker per device on this host; the first that fails takes the others down."""
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    from scaledrelu.engine.distributed import free_port

    nproc = config["launch"]["nproc"]
    launch = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=nproc,
        run_id=name,
        rdzv_backend="c10d",
        rdzv_endpoint=f"127.0.0.1:{free_port()}",
        max_restarts=0,
        monitor_interval=0.2,
        start_method="spawn",
    )
    os.environ.setdefault("OMP_NUM_THREADS", str(config["launch"]["threads"] or 1))
    try:
        with pass_on_signals() as request:
            endings = elastic_launch(launch, worker)(config)
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        raise RunError(
            f"process {rank} of {nproc} failed: {_last_line(failure.message)}; "
            f"see {folder / f'rank{rank}.log'}"
        ) from error
    except (SignalException, KeyboardInterrupt):
        return JobReport(name, Ended.INTERRUPTED, LATER, request.time_is_up)
    ended = Ended(endings[0])
    return JobReport(name, ended, time_is_up=ended is Ended.INTERRUPTED and request.time_is_up)


def worker(config: dict[str, Any]) -> str:
    """Run one rank; started by ``elastic_launch`` with a plain dictionary."""
    logging.basicConfig(
        level=logging.INFO if _rank() == 0 else logging.WARNING, format="%(message)s"
    )
    name = run_id(config)
    folder = record.run_directory(config["paths"]["results"], name)
    try:
        return _in_place(config, name, folder).ended.value
    except Exception:
        with (folder / f"rank{_rank()}.log").open("a") as stream:
            stream.write(traceback.format_exc())
        raise


def _failed(name: str, folder: Path, reason: str, trace: str) -> JobReport:
    log.error("%s failed: %s", name, reason)
    if trace:
        log.debug("%s", trace)
    if _rank() == 0:
        with contextlib.suppress(OSError):
            record.write_error(folder, reason, trace)
    return JobReport(name, Ended.FAILED, reason)


@contextlib.contextmanager
def _only_writer(folder: Path) -> Iterator[None]:
    """Hold the run directory's lock, which the system frees however this process ends.

    Raises:
        RunError: if another process trains this run.
    """
    with (folder / LOCK).open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise BusyError(
                f"{folder}: another process is training this run; wait for it or stop it"
            ) from error
        attempt.write_attempt(folder, pid=os.getpid(), started=time.time())
        try:
            yield
        finally:
            attempt.clear_attempt(folder)


def _has_ranks() -> bool:
    from scaledrelu.engine.distributed import find_ranks

    return find_ranks() is not None


def _rank() -> int:
    if "torch" not in sys.modules and "RANK" not in os.environ and "SLURM_PROCID" not in os.environ:
        return 0
    from scaledrelu.engine.distributed import find_ranks

    ranks = find_ranks()
    return ranks.rank if ranks else 0


def _last_line(message: Any) -> str:
    text = message.get("message", message) if isinstance(message, dict) else message
    lines = [line.strip() for line in str(text).splitlines() if line.strip()]
    return lines[-1] if lines else "no message"
