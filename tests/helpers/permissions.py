"""File permissions that count for root, too, who otherwise reads and writes everything."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

VERSION = 0x20080522  # _LINUX_CAPABILITY_VERSION_3: two halves of 32 capabilities each
READ_AND_WRITE_ALL = 1 << 1 | 1 << 2  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
EFFECTIVE = 0  # first of effective, permitted, inheritable


@contextmanager
def closed(path: Path, mode: int = 0o000) -> Iterator[None]:
    """Give a file or folder a mode that this process has to keep to; restore it afterwards."""
    before = path.stat().st_mode
    path.chmod(mode)
    try:
        with _as_people():
            yield
    finally:
        path.chmod(before)


@contextmanager
def _as_people() -> Iterator[None]:
    """Take from root, for this thread and a while, what lets it pass over permissions."""
    if os.geteuid() != 0:
        yield
        return
    if sys.platform != "linux":
        pytest.skip("root reads everything here")
    before = _capabilities()
    fewer = list(before)
    fewer[EFFECTIVE] &= ~READ_AND_WRITE_ALL
    _set(fewer)
    try:
        yield
    finally:
        _set(before)


def _capabilities() -> list[int]:
    found = (ctypes.c_uint32 * 6)()
    _check(ctypes.CDLL(None, use_errno=True).capget(_this_thread(), found))
    return list(found)


def _set(values: list[int]) -> None:
    wanted = (ctypes.c_uint32 * 6)(*values)
    _check(ctypes.CDLL(None, use_errno=True).capset(_this_thread(), wanted))


def _this_thread() -> ctypes.Array:
    return (ctypes.c_uint32 * 2)(VERSION, 0)


def _check(status: int) -> None:
    if status:
        raise OSError(ctypes.get_errno(), "cannot change this thread's capabilities")
