"""How far a long piece of work is, and how long the rest will take."""

from __future__ import annotations

import time
from collections.abc import Callable

from scaledrelu.text import Say, duration

QUIET_S = 5.0  # shorter work is not reported
EVERY_S = 15.0


class Countdown:
    """Says now and then ``<what>: <done> of <all>, about <time> left``.

    Args:
        what: the work, and where.
        total: size of all of it, in whatever unit.
        shown: turns a size into text; by default a number with thousands separators.
        say: takes the message, such as ``log.info``.
    """

    def __init__(
        self,
        what: str,
        total: int,
        *,
        say: Say,
        shown: Callable[[int], str] = "{:,}".format,
    ) -> None:
        self._what, self._total, self._shown, self._say = what, total, shown, say
        self._done, self._start = 0, time.monotonic()
        self._next = self._start + QUIET_S

    def add(self, size: int = 1) -> None:
        """Count a piece that is done."""
        self._done += size
        now = time.monotonic()
        if now < self._next or not self._done:
            return
        self._next = now + EVERY_S
        left = (now - self._start) * (self._total - self._done) / self._done
        done, whole = self._shown(self._done), self._shown(self._total)
        self._say(f"{self._what}: {done} of {whole}, about {duration(left)} left")
