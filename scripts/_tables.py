"""What the scripts about tables share: settings in, lines for people, what their status means."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable

from scaledrelu.runs.ending import concluded
from scaledrelu.tables.settings import (
    Settings,
    check_typed_results,
    load_settings,
    settings_help,
)
from scaledrelu.text import Say

READERS = ("report", "claims", "curves", "stability", "status", "dashboard")  # train nothing


def say(line: str) -> None:
    """Print a line; a terminal that is gone is no error."""
    try:
        print(line, flush=True)
    except OSError as error:
        if error.errno != errno.EIO:
            raise


def _say_and_go_on(line: str) -> None:
    """Print a line; training goes on where nobody reads any more, e.g. a ``tee`` was stopped."""
    try:
        say(line)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def run_script(script: str, work: Callable[[Settings, Say], int], text: str) -> int:
    """Read ``key=value`` arguments, do the work and return the exit status.

    Args:
        script: name of the script, which decides its settings.
        work: what it does; returns the exit status.
        text: its help, printed above the settings.
    """
    arguments = sys.argv[1:]

    def read_and_work() -> int:
        if any(argument in ("-h", "--help") for argument in arguments):
            say(f"{text}\n{settings_help(script)}\n\n{ending_text(script)}")
            return 0
        settings = load_settings(arguments, script=script)
        if script in READERS:
            check_typed_results(settings)
        return work(settings, SAY.get(script, say))

    return concluded(read_and_work)


def ending_text(script: str) -> str:
    """Return what the exit status of a script means, as the last line of its help."""
    good, bad = ENDINGS.get(script, DONE)
    return f"Exit status: 0 {good}; 1 {bad}; 2 wrong input; 130 interrupted"


SAY = dict.fromkeys(
    ("sweep", "figure1"), _say_and_go_on
)  # of the others, what nobody reads need not be done
DONE = ("done", "could not be done")
TRAINED = ("every run has a result (a crash is one) or is with SLURM", "some runs have no result")
ENDINGS = {
    **dict.fromkeys(("sweep", "figure1", "theory"), TRAINED),
    "status": ("every run is shown, whatever its state", DONE[1]),
    "dry": ("every row took its steps", "a row cannot take its steps"),
    "mirror": ("everything is sent", "some could not be sent"),
}  # script -> what 0 and 1 mean
