"""Whether the bytes of a file are those that were written, by a digest at its end or CRCs.

torch does not check the CRCs of an archive, and CRCs do not cover the archive's own tables: what we
write ourselves ends with a SHA-256 of everything before it.
"""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from pathlib import Path

SEAL = b"\nscaledrelu sha256 "
_DIGEST_BYTES = hashlib.sha256().digest_size
_SEAL_BYTES = len(SEAL) + _DIGEST_BYTES
_CHUNK = 1 << 20
_ARCHIVE = b"PK\x03\x04"


def seal_of(content: bytes | memoryview) -> bytes:
    """Return what to append to ``content``, so that any change of it will be noticed."""
    return SEAL + hashlib.sha256(content).digest()


def find_damage(path: Path) -> str | None:
    """Say in a few words how a file differs from what was written; None if nothing shows that.

    A file with neither a seal nor CRCs cannot show it: see :func:`is_checked`.

    Raises:
        OSError: if it cannot be read.
    """
    with path.open("rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        if size == 0:
            return "empty"
        sealed = _seal_in(stream, size)
        if sealed is not None:
            same = _digest_of(stream, size - _SEAL_BYTES) == sealed
            return None if same else "damaged (its content does not match its SHA-256)"
        stream.seek(0)
        if stream.read(len(_ARCHIVE)) != _ARCHIVE:
            return None
        return _damage_of_archive(stream)


def has_seal(path: Path) -> bool:
    """Whether a file ends with a seal."""
    with path.open("rb") as stream:
        return _seal_in(stream, stream.seek(0, os.SEEK_END)) is not None


def is_checked(path: Path) -> bool:
    """Whether a file has anything that shows damage: our seal, or the CRCs of an archive."""
    with path.open("rb") as stream:
        return stream.read(len(_ARCHIVE)) == _ARCHIVE or has_seal(path)


def _seal_in(stream: io.BufferedReader, size: int) -> bytes | None:
    if size < _SEAL_BYTES:
        return None
    stream.seek(size - _SEAL_BYTES)
    end = stream.read(_SEAL_BYTES)
    return end[len(SEAL) :] if end.startswith(SEAL) else None


def _digest_of(stream: io.BufferedReader, size: int) -> bytes:
    digest = hashlib.sha256()
    stream.seek(0)
    while size > 0 and (part := stream.read(min(_CHUNK, size))):
        digest.update(part)
        size -= len(part)
    return digest.digest()


def _damage_of_archive(stream: io.BufferedReader) -> str | None:
    try:
        with zipfile.ZipFile(stream) as archive:
            entries = archive.infolist()
            if all(entry.CRC == 0 for entry in entries):  # torch.save was told to leave them out
                return None
            bad = archive.testzip()
    except Exception as error:  # zipfile and zlib raise many kinds of errors
        return f"incomplete or damaged ({type(error).__name__})"
    return f"damaged (wrong checksum of its entry {bad})" if bad else None
