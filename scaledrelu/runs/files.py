"""Files that readers see whole or not at all."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scaledrelu.errors import RunError
from scaledrelu.newfiles import open_new

OCCUPIED = {errno.EEXIST, errno.EISDIR, errno.ELOOP, errno.ENOTDIR}
WRITE_ERRORS = "EACCES EDQUOT ENAMETOOLONG ENOSPC EPERM EROFS"
CANNOT_WRITE = OCCUPIED | {getattr(errno, name) for name in WRITE_ERRORS.split()}


def write_atomic(path: str | Path, content: bytes | str, *, durable: bool = True) -> None:
    """Write a file so that readers see the old content or the new one, even after a power cut.

    Args:
        path: of the file; its folder is made.
        content: what it shall hold.
        durable: wait until the disk has it; not for copies that can be made again.

    Raises:
        OSError: disk full or folder not writable; the old file is then intact.
    """
    path = Path(path)
    data = content.encode() if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.tmp")
    try:
        with open_new(temporary) as stream:
            stream.write(data)
            stream.flush()
            if durable:
                os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if durable:
        _sync_folder(path.parent)


FULL_OR_READ_ONLY = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def cannot_write(error: OSError, folder: str | Path) -> str | None:
    """Return one line if an error says that the results folder cannot be written, else None.

    Args:
        error: from any file operation.
        folder: the results folder.
    """
    place = Path(folder).absolute()
    name = error.filename if isinstance(error.filename, str) else None
    path = Path(name).absolute() if name else place
    if not path.is_relative_to(place) and path not in place.parents:
        return None
    if name is None and error.errno not in FULL_OR_READ_ONLY:
        return None
    return (
        f"cannot write {name or folder}: {error.strerror}; make room or choose another folder with "
        "paths.results=<folder>"
    )


@contextmanager
def writing_to(results: Path) -> Iterator[None]:
    """Turn what a read-only or full results folder causes inside the block into one line.

    Raises:
        RunError: which file, and why it cannot be written.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in CANNOT_WRITE:
            raise
        remedy = "make room or give write permission there"
        if error.errno in OCCUPIED:
            remedy = "move away what stands there instead of a folder or file of ours"
        raise RunError(  # the second name is that of the file, where the first is a temporary one
            f"{error.filename2 or error.filename or results}: cannot be written "
            f"({error.strerror}): {remedy}, or set results=FOLDER; what is done is kept"
        ) from error


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError:  # some network file systems refuse to sync folders
        pass
    finally:
        os.close(handle)
