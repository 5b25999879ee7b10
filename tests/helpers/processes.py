"""Waiting for other processes, and whether they live."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path


def until(happened: Callable[[], object], limit_s: float = 60.0) -> None:
    """Wait until something has happened; fail if it does not."""
    deadline = time.monotonic() + limit_s
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def lives(pid: int) -> bool:
    """Say whether a process runs; one that nobody has buried does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
