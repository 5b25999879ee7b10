"""One writer for each run directory: a lock that the system frees however its holder ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from scaledrelu.errors import RunError
from scaledrelu.runs import attempt

LOCK = "run.lock"


class BusyError(RunError):
    """Another process trains the same run."""


@contextlib.contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Hold the run directory's lock, which the system frees however this process ends.

    Raises:
        BusyError: if another process trains this run.
        RunError: if the lock is not a file of this folder.
    """
    with _open_lock(folder / LOCK) as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise BusyError(
                f"{folder}: another process is training this run; wait for it or stop it"
            ) from error
        attempt.write_attempt(folder, pid=os.getpid(), started=time.time())
        try:
            yield
        finally:
            attempt.clear_attempt(folder)


def _open_lock(path: Path) -> IO[bytes]:
    """Open a lock without following a link: what that leads to is not ours to touch."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.fdopen(os.open(path, flags, 0o666), "r+b")
    except OSError as error:
        reason = "a link" if path.is_symlink() else error.strerror
        raise RunError(f"{path}: cannot lock this run ({reason}); move that file away") from error
