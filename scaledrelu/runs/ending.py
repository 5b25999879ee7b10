"""How an attempt at a run and a command end, and which exit status says so.

A command is concluded here alone: what it raises becomes lines and an exit status. 2: mistakes that
a person can mend, a line each. 1: a run failed, or it cannot be done. 130: a person stopped the
command. A bug keeps its traceback. Imports neither torch nor Hydra.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from enum import StrEnum

from scaledrelu.errors import RunError, ScaledReluError
from scaledrelu.files import cannot_read

EXIT_OK, EXIT_FAILED, EXIT_WRONG_INPUT = 0, 1, 2
EXIT_BUSY = 69  # "unavailable": another process trains the run
EXIT_CTRL_C = 130  # as shells say it: a person stopped the command
EXIT_INTERRUPTED = 75  # "temporary failure": the same command continues from the checkpoint


class Ended(StrEnum):
    """How one attempt at a run ended."""

    OK = "ok"
    CRASH = "crash"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    BUSY = "busy"  # another process trains it and will report how it ended
    REFUSED = "refused"  # wrong input: nothing was tried


@dataclass(frozen=True, slots=True)
class JobReport:
    """What a job returns to its launcher."""

    run_id: str
    ended: Ended
    reason: str = ""
    time_is_up: bool = False  # interrupted by the announcement of a time limit


def exit_status(endings: Collection[Ended]) -> int:
    """Return the exit status for the shell: the worst of all; 2 only if all input was wrong."""
    if set(endings) == {Ended.REFUSED}:
        return EXIT_WRONG_INPUT
    if {Ended.FAILED, Ended.REFUSED} & set(endings):
        return EXIT_FAILED
    if Ended.INTERRUPTED in endings:
        return EXIT_INTERRUPTED
    return EXIT_BUSY if Ended.BUSY in endings else EXIT_OK


@contextlib.contextmanager
def _reader_may_leave() -> Iterator[None]:
    """Take it for the end of the output when a reader such as ``head`` has seen enough."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@_reader_may_leave()
def concluded(work: Callable[[], int | None]) -> int:
    """Do the work; turn mistakes, a failure or Ctrl-C into lines; return the exit status.

    Args:
        work: what a script does; returns the exit status, None for 0.
    """
    try:
        return work() or EXIT_OK
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; run the same command again to continue\n")
        return EXIT_CTRL_C
    except Exception as error:
        lines = _lines(error)
        if not lines:
            raise
        for line in lines:
            sys.stderr.write(f"error: {line}\n")
        return EXIT_FAILED if isinstance(error, RunError) else EXIT_WRONG_INPUT


def _lines(error: Exception) -> tuple[str, ...]:
    """Return what a person is told of an error; nothing for a bug."""
    if isinstance(error, ScaledReluError):
        return error.lines
    if isinstance(error, PermissionError):
        line = cannot_read(error)
        return () if line is None else (line,)
    if type(error).__module__.startswith(("hydra.", "omegaconf.")):
        return _lines_of_hydra(error)
    return ()


def _lines_of_hydra(error: Exception) -> tuple[str, ...]:
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from scaledrelu.config.hydra_tree import one_line

    return (one_line(error),) if isinstance(error, HydraException | OmegaConfBaseException) else ()
