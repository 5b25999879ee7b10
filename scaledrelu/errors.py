"""What a user can cause and fix: one family of errors, each one line without a traceback."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ScaledReluError(Exception):
    """What is wrong, where, what was found, what is allowed, what to do next: in one line."""

    def __str__(self) -> str:
        return printable(super().__str__())

    @property
    def lines(self) -> tuple[str, ...]:
        """What a person is told: one line, unless there are several reasons."""
        return (str(self),)


class ConfigError(ScaledReluError):
    """A key, value or option that the configuration does not allow."""


class DataError(ScaledReluError):
    """A data set, image or label file that is missing, unreadable or not what it should be."""


class CheckpointError(ScaledReluError):
    """A checkpoint that is missing, torn or belongs to something else."""


class RunError(ScaledReluError):
    """A run that cannot start or cannot go on for a reason outside the science."""


class TableError(ScaledReluError):
    """A table file that contradicts itself or the configuration."""


class RefusedError(ScaledReluError):
    """Every reason why nothing was started, a line each.

    Args:
        reasons: the lines.
    """

    def __init__(self, reasons: Iterable[str]) -> None:
        self._reasons = tuple(map(printable, reasons))
        super().__init__("; ".join(self._reasons))

    @property
    def lines(self) -> tuple[str, ...]:
        """The reasons."""
        return self._reasons


def printable(text: str) -> str:
    r"""Return text that every terminal and file takes, on one line: file names may be any bytes."""
    whole = text.encode("utf-8", "backslashreplace").decode()
    return whole.replace("\r", "\\r").replace("\n", "\\n")


def nearest(name: str, allowed: Iterable[str], *, likeness: float = 0.5) -> str:
    """Return ``"; did you mean 'x'?"`` for the closest allowed name, or an empty string.

    Args:
        name: what was written.
        allowed: the names there are.
        likeness: least share of letters that a close name has in common with it, in [0, 1].
    """
    known = list(allowed)
    close = difflib.get_close_matches(name, known, n=1, cutoff=likeness)
    if not close:  # ELU is nothing like Elu, letter by letter
        lower = {one.lower(): one for one in known}
        alike = difflib.get_close_matches(name.lower(), list(lower), n=1, cutoff=likeness)
        close = [lower[one] for one in alike]
    return f"; did you mean '{close[0]}'?" if close else ""
