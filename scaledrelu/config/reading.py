"""Says how long it takes to read many files, where it takes long."""

from __future__ import annotations

import logging
import time

from scaledrelu.text import duration

log = logging.getLogger(__name__)

QUIET_S = 5.0  # nothing is said of shorter readings
EVERY_S = 15.0


class Reading:
    """Counts what was read and tells a person how much is left.

    Args:
        where: a folder, for the message.
        files: how many there are to read.
        size: bytes in all.
    """

    def __init__(self, where: str, files: int, size: int) -> None:
        self._where, self._files, self._size = where, files, size
        self._start = time.monotonic()
        self._next = self._start + QUIET_S
        self._read, self._bytes = 0, 0

    def advance(self, size: int) -> None:
        """Count one more file of this size."""
        self._read += 1
        self._bytes += size
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + EVERY_S
        share = max(self._read / self._files, 1e-9) if not self._size else self._bytes / self._size
        left = (now - self._start) * (1 - share) / max(share, 1e-9)
        # A warning, since a plan shows nothing below, and a person would think that it hangs.
        log.warning(
            "%s: reading files once, to name the data by its content: %s of %s (%.1f of %.1f GB), "
            "about %s left",
            self._where, f"{self._read:,}", f"{self._files:,}", self._bytes / 1e9, self._size / 1e9,
            duration(left),
        )  # fmt: skip
