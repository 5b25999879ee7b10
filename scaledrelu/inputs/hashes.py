"""What files hold: one digest of many, without reading again what has not changed.

A file is known by its name, inode, size and the two times of its inode, to the nanosecond; the
second one (ctime) moves even where a tool resets the first. A set that has not changed costs one
stat per file, a set that changed costs reading the files that did.
"""

from __future__ import annotations

import hashlib
import logging
import os
import stat
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from scaledrelu.countdown import Countdown
from scaledrelu.files import FILE_THREADS
from scaledrelu.inputs.hash_store import HASH, KEY, read_hashes, write_hashes
from scaledrelu.text import data_size

log = logging.getLogger(__name__)

RACY_NS = 2 * 10**9  # two writes within one tick of a file system's clock look like one
_SMALL = 2**20  # bytes: read at once
_CHUNK = 64  # files that a thread takes at a time
_SAVE_S = 60.0
_ABSENT = hashlib.sha256(b"no file here").digest()
_UNREADABLE = hashlib.sha256(b"cannot be read").digest()


@dataclass(frozen=True, slots=True)
class Part:
    """Files with a role: the images of one split.

    Attributes:
        role: what the files are to the reader; part of the digest.
        root: the folder that names are relative to; not part of the digest.
        names: paths of the files in the order in which they are read.
        hashes: SHA-256 of every file, 32 bytes each, where they are known (of a pack); then no
            file is looked at.
    """

    role: str
    root: str
    names: Sequence[str]
    hashes: bytes | None = None


def digest_files(parts: Sequence[Part], *, store: Path | None) -> str:
    """Return the SHA-256 (hexadecimal) of roles, names and contents.

    Files that are missing or unreadable count as such.

    Args:
        parts: the files to hash.
        store: the file that hashes are kept in; if it is not writable, only time is lost.
    """
    seen = _look_at([part for part in parts if part.hashes is None])
    hashes = _hashes(seen, store)
    return _digest(parts, (hashes[key] for key in seen.keys))


def file_sha256(path: Path, *, store: Path | None) -> str | None:
    """Return the SHA-256 (hexadecimal) of one file; None if it cannot be read.

    Args:
        path: the file.
        store: the file that hashes are kept in; if it is not writable, only time is lost.
    """
    folder, name = os.path.split(os.path.abspath(path))
    seen = _look_at([Part("file", folder, [name])])
    found = _hashes(seen, store)[seen.keys[0]]
    return None if found in (_ABSENT, _UNREADABLE) else found.hex()


def _digest(parts: Sequence[Part], read: Iterator[bytes]) -> str:
    """Return the digest of parts.

    Args:
        parts: the files.
        read: hashes of the files of those parts that do not bring their own, in order.
    """
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{part.role}\0{len(part.names)}\n".encode())
        found = read if part.hashes is None else _split(part.hashes)
        for name in part.names:
            digest.update(os.fsencode(name) + b"\0" + next(found) + b"\n")
    return digest.hexdigest()


def _split(hashes: bytes) -> Iterator[bytes]:
    return (hashes[at : at + HASH] for at in range(0, len(hashes), HASH))


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the file system says of every file, before any is read.

    Attributes:
        paths: the files.
        keys: a fingerprint of each: path, inode, size and times.
        sizes: bytes.
        absent: keys of what is missing or not a file.
        doubtful: keys that a later write might not change, so that they are not stored.
    """

    paths: list[str]
    keys: list[bytes]
    sizes: list[int]
    absent: set[bytes]
    doubtful: set[bytes]


def _look_at(parts: Sequence[Part]) -> _Seen:
    paths = [f"{part.root}/{name}" for part in parts for name in part.names]
    keys, sizes, absent, doubtful = [], [], set(), set()
    now = time.time_ns()
    for path in paths:
        status = _status(path)
        keys.append(_key(path, status))
        sizes.append(status.st_size if status else 0)
        if status is None:
            absent.add(keys[-1])
        elif status.st_ctime_ns > now - RACY_NS or abs(status.st_mtime_ns - now) < RACY_NS:
            doubtful.add(keys[-1])
    return _Seen(paths, keys, sizes, absent, doubtful)


def _status(path: str) -> os.stat_result | None:
    """Return what the system says of a file; None if there is none, or a pipe, or a folder."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status if stat.S_ISREG(status.st_mode) else None


def _key(path: str, status: os.stat_result | None) -> bytes:
    facts = "\0"
    if status is not None:
        facts += f"{status.st_ino} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"
    return hashlib.blake2b(os.fsencode(path) + facts.encode(), digest_size=KEY).digest()


def _hashes(seen: _Seen, store: Path | None) -> dict[bytes, bytes]:
    """Return the hash of every file by its key; reads what the store does not know."""
    hashes = read_hashes(store) if store else {}
    hashes |= dict.fromkeys(seen.absent, _ABSENT)
    unread = [i for i, key in enumerate(seen.keys) if key not in hashes]
    reading = _countdown(seen, unread)
    saved = time.monotonic()
    try:
        for i, found in _read(seen, unread):
            hashes[seen.keys[i]] = found
            if found == _UNREADABLE:
                seen.doubtful.add(seen.keys[i])
            reading.add(seen.sizes[i])
            if time.monotonic() - saved > _SAVE_S:
                _keep(seen, hashes, store)
                saved = time.monotonic()
    finally:
        if unread:
            _keep(seen, hashes, store)
    return hashes


def _countdown(seen: _Seen, indices: Sequence[int]) -> Countdown:
    folder = os.path.dirname(seen.paths[indices[0]]) if indices else ""
    size = sum(seen.sizes[i] for i in indices)
    what = f"{folder}: hashing {len(indices):,} data files once, for the run ids"
    # A warning, since a plan shows nothing below that level and would seem to hang.
    return Countdown(what, size, shown=data_size, say=log.warning)


def _read(seen: _Seen, indices: Sequence[int]) -> Iterator[tuple[int, bytes]]:
    """Yield positions of files and their hashes.

    A file that changes while it is read gives a hash under a key that no longer exists, since its
    times have moved on.
    """
    if len(indices) <= _CHUNK:
        yield from (_read_one(seen, i) for i in indices)
        return
    chunks = [indices[at : at + _CHUNK] for at in range(0, len(indices), _CHUNK)]
    pool = ThreadPoolExecutor(FILE_THREADS)
    try:
        for found in pool.map(lambda chunk: [_read_one(seen, i) for i in chunk], chunks):
            yield from found
    finally:
        pool.shutdown(cancel_futures=True)


def _read_one(seen: _Seen, index: int) -> tuple[int, bytes]:
    try:
        with open(seen.paths[index], "rb", buffering=0) as stream:
            if seen.sizes[index] <= _SMALL:
                return index, hashlib.sha256(stream.readall()).digest()
            return index, hashlib.file_digest(stream, "sha256").digest()
    except OSError:
        return index, _UNREADABLE


def _keep(seen: _Seen, hashes: dict[bytes, bytes], store: Path | None) -> None:
    """Store what is certain of the files that are there now."""
    if store is not None:
        sure = {k: hashes[k] for k in seen.keys if k in hashes and k not in seen.doubtful}
        write_hashes(store, sure)
