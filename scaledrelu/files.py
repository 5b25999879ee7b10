"""Files that readers see whole or not at all; one line where none can be written or read."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from scaledrelu.errors import RunError

FILE_THREADS = 8  # that read, hash or decode many files side by side
FULL = (errno.ENOSPC, errno.EDQUOT)
FULL_OR_READ_ONLY = (*FULL, errno.EROFS)
OCCUPIED = {errno.EEXIST, errno.EISDIR, errno.ELOOP, errno.ENOTDIR}
WRITE_ERRORS = "EACCES EDQUOT ENAMETOOLONG ENOSPC EPERM EROFS"
CANNOT_WRITE = OCCUPIED | {getattr(errno, name) for name in WRITE_ERRORS.split()}
REMEDIES = {  # of what another folder is the only remedy has no line here
    **dict.fromkeys(FULL, "make room, or "),
    **dict.fromkeys((errno.EACCES, errno.EPERM), "give write permission there, or "),
    **dict.fromkeys(OCCUPIED, "move away the file or folder that is in its place, or "),
}


@contextlib.contextmanager
def atomic_file(
    path: Path, *, durable: bool = True, one_writer: bool = False, keep_old_as: Path | None = None
) -> Iterator[IO[bytes]]:
    """Give a stream whose content gets the name ``path`` at the end, whole or not at all.

    The content is first written beside ``path``, to a new file: a link that already has the
    temporary name is removed, not followed, since run folders travel.

    Args:
        path: the finished file; its folder exists.
        durable: make the content survive a power cut; costs a few milliseconds per file.
        one_writer: only one process at a time writes this file: the temporary name is then the
            same every time, so that kills leave at most one leftover.
        keep_old_as: new name for the file that is now at ``path``, if any.

    Raises:
        OSError: disk full or folder not writable; the old file is then intact.
    """
    mark = "" if one_writer else f".{secrets.token_hex(6)}"
    temporary = path.with_name(f".{path.name}{mark}.tmp")
    temporary.unlink(missing_ok=True)
    try:
        with temporary.open("xb") as stream:
            yield stream
            if durable:
                stream.flush()
                os.fsync(stream.fileno())
        if keep_old_as is not None and path.exists():
            os.replace(path, keep_old_as)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if durable:
        _sync_folder(path.parent)


def write_atomic(path: str | Path, content: bytes | str, *, durable: bool = True) -> None:
    """Write a file that several processes may write; create its folder if it is missing.

    Args:
        path: the file.
        content: text is encoded as UTF-8.
        durable: make the content survive a power cut; costs a few milliseconds.

    Raises:
        OSError: disk full or folder not writable; the old file is then intact.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path, durable=durable) as stream:
        stream.write(content.encode() if isinstance(content, str) else content)


def write_changed(path: Path, content: bytes | str, *, durable: bool = True) -> Path:
    """Write a file unless it already holds this content; return its path.

    Args:
        path: the file.
        content: text is encoded as UTF-8.
        durable: whether it must survive a power cut, as in :func:`write_atomic`.

    Raises:
        OSError: disk full or folder not writable; the old file is then intact.
    """
    content = content.encode() if isinstance(content, str) else content
    if not path.is_file() or path.read_bytes() != content:
        write_atomic(path, content, durable=durable)
    return path


def make_writable(folder: Path) -> None:
    """Make a folder if it is missing.

    Raises:
        OSError: it cannot be made, or nothing can be written there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if error := refused_writing(folder):
        raise error


def refused_writing(folder: Path) -> OSError | None:
    """Return why nothing can be written to a folder, e.g. its file system is read-only, or None.

    Args:
        folder: a folder that is there.
    """
    if os.access(folder, os.W_OK | os.X_OK):
        return None
    try:  # why not, only an attempt tells
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:
        return OSError(error.errno, error.strerror, str(folder))


def cannot_read(error: OSError) -> str | None:
    """Return one line if an error says that something may not be read, else None.

    Args:
        error: an error of any file operation.
    """
    if not isinstance(error, PermissionError) or not isinstance(error.filename, str):
        return None
    return refused_reading(Path(error.filename))


def refused_reading(path: Path) -> str | None:
    """Return one line if a file or folder may not be read; None if it may, or is not there.

    Args:
        path: the file or folder; named is the outermost folder above it that may not be entered.
    """
    place = path
    try:
        for place in reversed(path.parents):
            os.stat(f"{place}/.")  # only who may enter a folder is told
        place = path
        os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
        os.stat(f"{path}/.")
    except PermissionError as error:
        return f"{place}: cannot be read ({error.strerror}); give read permission"
    except OSError:
        return None
    return None


def cannot_use(error: OSError, folder: str | Path) -> str | None:
    """Return one line if an error says that the results folder is no place for results, else None.

    Args:
        error: an error of any file operation.
        folder: the results folder.
    """
    place = Path(folder).absolute()
    name = error.filename if isinstance(error.filename, str) else None
    path = Path(name).absolute() if name else place
    if not path.is_relative_to(place) and path not in place.parents:
        return None
    if name is None and error.errno not in FULL_OR_READ_ONLY:
        return None
    return cannot_read(error) or (
        f"cannot write {name or folder}: {error.strerror}; {REMEDIES.get(error.errno, '')}"
        "choose another results folder (paths.results=<folder>; in a sweep results=<folder>)"
    )


@contextlib.contextmanager
def writing_to(results: Path) -> Iterator[None]:
    """Turn errors of a read-only or full results folder inside the block into one line.

    Raises:
        RunError: which file, and why it cannot be written, or read.
    """
    try:
        yield
    except OSError as error:
        if line := cannot_read(error):
            raise RunError(line) from error
        if error.errno not in CANNOT_WRITE:
            raise
        raise RunError(unwritable(error, results)) from error


def unwritable(error: OSError, results: Path) -> str:
    """Return one line about a file of a script's results folder that cannot be written.

    Args:
        error: what a file operation raised.
        results: the results folder.
    """
    # The second name is that of the file, where the first is a temporary one.
    return (
        f"{error.filename2 or error.filename or results}: cannot be written ({error.strerror}); "
        f"{REMEDIES.get(error.errno, '')}set results=<folder>; finished runs are kept"
    )


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError:  # some network file systems refuse to sync folders
        pass
    finally:
        os.close(handle)
