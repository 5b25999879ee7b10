"""How one attempt at a run ended, and which exit status says so; needs neither torch nor Hydra."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

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
