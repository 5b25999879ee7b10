"""Numbers on the command lines of scripts: read within their range, or refused in one line."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Callable

from scaledrelu.config.fields import Range


def within(allowed: Range) -> Callable[[str], int | float]:
    """Return what argparse calls (``type=``) to read a number that lies in a range."""

    def number(text: str) -> int | float:
        try:
            value = int(text) if allowed.whole else float(text)
        except ValueError:
            value = None
        if not allowed.holds(value):
            raise ArgumentTypeError(f"{text}: {allowed}")
        return value

    return number
