"""From one resolved configuration to processes and back.

A crash, a failure and an interruption are told apart here; a job returns its ending and never
exits, because some launchers of Hydra lose a whole multirun with one worker.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from scaledrelu.config.identity import canonical, run_id
from scaledrelu.config.run import RunConfig
from scaledrelu.engine.mirror import FINISH_S, WandbMirror
from scaledrelu.engine.ranks import find_ranks
from scaledrelu.errors import RunError, ScaledReluError
from scaledrelu.files import FULL, cannot_use, make_writable
from scaledrelu.runs import blame, record
from scaledrelu.runs.checkout import trained_elsewhere
from scaledrelu.runs.ending import Ended, JobReport, exit_status
from scaledrelu.runs.lacking import lacking_here
from scaledrelu.runs.lock import BusyError, is_busy, one_of_many, only_writer
from scaledrelu.runs.mirrored import open_mirrors
from scaledrelu.runs.planned import read_planned
from scaledrelu.runs.process import (
    OF_THE_AGENT,
    is_orphan,
    log_to,
    pass_on_signals,
    requeue_job,
    stop_on_signal,
    stop_with_parent,
)
from scaledrelu.runs.result import Result

if TYPE_CHECKING:
    from torch.distributed.launcher.api import LaunchConfig

log = logging.getLogger(__name__)

LATER = "stopped by a signal; run the same command again to continue"
BEFORE_TIME_IS_UP_S = 20.0  # a job near its time limit cannot wait a minute for W&B


def train_planned(results: Path, name: str, *, changes: Sequence[str] = ()) -> int:
    """Train a planned run in this process, as a launcher does; return the exit status.

    What is refused is recorded as a failure, where the planning process will look for it.

    Args:
        results: folder that holds ``runs/<name>``.
        name: run id.
        changes: ``key=value``: where and how fast it runs, and which modules it may name.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    report = run_planned(results, name, changes=changes)
    folder = record.run_directory(results, name)
    if report.ended is Ended.REFUSED and _rank() == 0 and not is_busy(folder):
        _failed(name, folder, report.reason, "")
    return exit_status([report.ended])


def run_planned(results: Path, name: str, *, changes: Sequence[str] = ()) -> JobReport:
    """Train a planned run from its file and report how it ended.

    Args:
        results: folder that holds ``runs/<name>``.
        name: run id.
        changes: ``key=value``: where and how fast it runs, and which modules it may name.
    """
    try:
        config = read_planned(results, name, changes=changes)
    except ScaledReluError as error:
        return JobReport(name, Ended.REFUSED, str(error))
    return run_job(config)


def run_job(config: RunConfig) -> JobReport:
    """Train one run, however this process was started, and report how it ended.

    Args:
        config: resolved and checked, as ``config.compose.finalize`` returns it.
    """
    copies: list[WandbMirror] = []
    report = _report(config, copies)
    for copy in copies:  # the lock is free and the process group left: W&B does not block a GPU
        _close_mirror(copy, report)
    if report.time_is_up and config.launch.requeue and _rank() == 0:
        requeue_job()
    return report


def _report(config: RunConfig, copies: list[WandbMirror]) -> JobReport:
    name = run_id(config)
    folder = record.run_directory(config.paths.results, name)
    try:
        if (done := record.finished_result(folder, canonical(config))) is not None:
            log.info("%s is done already (%s)%s", name, done.outcome, _other_code(done))
            return JobReport(name, Ended(done.outcome.value))
        if is_orphan():
            return JobReport(name, Ended.INTERRUPTED, "not started: its parent process is gone")
        lacking = next(iter(lacking_here(config)), None)
        if problem := lacking or _unresolved(config) or _no_place(config, folder):
            return JobReport(name, Ended.REFUSED, problem)
        return _attempt(config, name, folder, copies)
    except BusyError as error:  # the other process will report how the run ended
        log.error("%s", error)
        return JobReport(name, Ended.BUSY, str(error))
    except KeyboardInterrupt:
        return _unsaved(name)
    except (SystemExit, Exception) as error:
        unwritable = isinstance(error, OSError) and cannot_use(error, config.paths.results)
        reason, trace = blame.cause(error, folder)
        return _failed(name, folder, unwritable or reason, trace)


def _unresolved(config: RunConfig) -> str | None:
    """Return a line about a class or an argument that is not there; imports torch."""
    from scaledrelu.runs.resolved import unresolved

    return unresolved(config)


def _other_code(result: Result) -> str:
    made = trained_elsewhere(result.provenance.get("commit"))
    return f", {made} (code is no part of an id; docs/architecture.md)" if made else ""


def _no_place(config: RunConfig, folder: Path) -> str | None:
    """Make the run directory; return one line where there can be none, None if it is there."""
    try:
        make_writable(folder)
    except OSError as error:
        line = cannot_use(error, config.paths.results)
        if line is None or error.errno in FULL:  # as long as there is no room; no wrong input
            raise
        return line
    return None


def _attempt(config: RunConfig, name: str, folder: Path, copies: list[WandbMirror]) -> JobReport:
    alone = find_ranks() is None
    start = _elastic if config.launch.nproc > 1 and alone else _in_place
    if _rank() > 0:
        return start(config, name, folder)
    with only_writer(folder):
        # By another process, a moment ago.
        if (done := record.finished_result(folder, canonical(config))) is not None:
            return JobReport(name, Ended(done.outcome.value))
        (folder / record.ERROR).unlink(missing_ok=True)
        copies += open_mirrors(config, folder)
        return start(config, name, folder)


def _close_mirror(copy: WandbMirror, report: JobReport) -> None:
    """Close a run's copy and tell W&B how the run ended."""
    copy.end(
        exit_code=0 if report.ended in (Ended.OK, Ended.CRASH) else 1,
        preempted=report.ended is Ended.INTERRUPTED,
        limit_s=BEFORE_TIME_IS_UP_S if report.time_is_up else FINISH_S,
    )


def _in_place(config: RunConfig, name: str, folder: Path) -> JobReport:
    from scaledrelu.engine.distributed import join_world
    from scaledrelu.runs.execute import execute

    launch = config.launch
    blame.clear_note(folder, _rank())
    with (
        log_to(folder / f"rank{_rank()}.log"),
        stop_on_signal() as wants_stop,
        blame.noted(folder),
        join_world(device=launch.device, timeout_s=launch.timeout_s) as world,
        blame.noted(folder),  # before the group is left, since the others then fail at once
    ):
        outcome = execute(config, world, folder, wants_stop=wants_stop)
    if outcome is None:
        return JobReport(name, Ended.INTERRUPTED, LATER, wants_stop.time_is_up)
    return JobReport(name, Ended(outcome.value))


def _elastic(config: RunConfig, name: str, folder: Path) -> JobReport:
    """Start one worker per device on this host; the first that fails ends the others."""
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import elastic_launch

    nproc = config.launch.nproc
    for rank in range(nproc):
        blame.clear_note(folder, rank)
    os.environ.setdefault("OMP_NUM_THREADS", str(config.launch.threads or 1))
    try:
        with pass_on_signals() as request, _without_agent_output():
            endings = elastic_launch(_agent(name, nproc), worker)(config, os.getpid())
    except (SignalException, KeyboardInterrupt):
        return _unsaved(name, time_is_up=request.time_is_up)
    except Exception as error:
        # A worker that is still importing when it is asked to stop ends as if it had failed.
        if request.signals and blame.first_note(folder, nproc) is None:
            return _unsaved(name, time_is_up=request.time_is_up)
        if not isinstance(error, ChildFailedError):
            raise
        codes = [(rank, failure.exitcode) for rank, failure in error.failures.items()]
        raise RunError(blame.whose_fault(codes, nproc, folder)) from error
    if (ended := Ended(endings[0])) is Ended.INTERRUPTED:
        return JobReport(name, ended, LATER, request.time_is_up)
    return JobReport(name, ended)


def _agent(name: str, nproc: int) -> LaunchConfig:
    """Return how torch's agent starts the workers of a run, and looks after them."""
    from torch.distributed.launcher.api import LaunchConfig

    from scaledrelu.engine.distributed import free_port

    return LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=nproc,
        run_id=name,
        rdzv_backend="c10d",
        rdzv_endpoint=f"127.0.0.1:{free_port()}",
        max_restarts=0,
        monitor_interval=0.2,
        start_method="spawn",
        signals_to_handle=",".join(number.name for number in OF_THE_AGENT),
    )


@contextlib.contextmanager
def _without_agent_output() -> Iterator[None]:
    """Keep torch's agent from printing a worker's traceback, which the run's log has."""
    agent = logging.getLogger("torch.distributed.elastic.multiprocessing.api")
    before, agent.disabled = agent.disabled, True
    try:
        yield
    finally:
        agent.disabled = before


def worker(config: RunConfig, parent: int) -> str:
    """Run one rank; started by ``elastic_launch``.

    Args:
        config: resolved and checked.
        parent: process id of the agent that started this process.
    """
    stop_with_parent(parent)
    logging.basicConfig(
        level=logging.INFO if _rank() == 0 else logging.WARNING, format="%(message)s"
    )
    name = run_id(config)
    folder = record.run_directory(config.paths.results, name)
    try:
        with one_of_many(folder):
            ended = _in_place(config, name, folder).ended
        if is_orphan():  # torch's agent is gone, and its side of this process would wait for it
            logging.shutdown()
            os._exit(exit_status([ended]))
        return ended.value
    except Exception:
        with (folder / f"rank{_rank()}.log").open("a") as stream:
            stream.write(traceback.format_exc())
        raise


def _unsaved(name: str, *, time_is_up: bool = False) -> JobReport:
    """Report, and say, that a run was stopped before its first step, or by a second Ctrl-C."""
    if _rank() == 0:
        log.info("%s stopped before it could save (again); the same command continues", name)
    return JobReport(name, Ended.INTERRUPTED, LATER, time_is_up)


def _failed(name: str, folder: Path, reason: str, trace: str) -> JobReport:
    more = ""
    with contextlib.suppress(OSError):
        record.write_error(folder, reason, trace)
        more = f" ({folder / record.ERROR})" if trace else ""
    log.error("%s failed: %s%s", name, reason, more)
    if trace:
        log.debug("%s", trace)
    return JobReport(name, Ended.FAILED, reason)


def _rank() -> int:
    ranks = find_ranks()
    return ranks.rank if ranks else 0
