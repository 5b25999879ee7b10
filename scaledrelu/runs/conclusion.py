"""How a command ends: the only place that turns what it raises into lines and an exit status.

2: mistakes that a person can mend, a line each. 1: a run failed, or it cannot be done. 130: a
person stopped the command. A bug keeps its traceback. Imports neither torch nor Hydra.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator

from scaledrelu.errors import RunError, ScaledReluError
from scaledrelu.files import cannot_read
from scaledrelu.runs.ending import EXIT_CTRL_C, EXIT_FAILED, EXIT_OK, EXIT_WRONG_INPUT


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
