"""The file that hashes are kept in: quick to ask for the whole set, and checked before believed.

Two lines, a JSON header and its SHA-256, then one record per file: key (16 bytes), hash (32).
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path

from scaledrelu.files import write_atomic

log = logging.getLogger(__name__)

KEY, HASH = 16, 32  # bytes
_FORMAT = 1


def read_digest(path: Path, stamp: str) -> str | None:
    """Return the digest of the set that had this stamp, None if the store does not know it.

    Args:
        path: of the store.
        stamp: of the set as it looks now.
    """
    try:
        with path.open("rb") as stream:
            header = _header(stream.readline(), stream.readline())
    except (OSError, ValueError):
        return None  # read_hashes says what is wrong
    return header["digest"] if header["stamp"] == stamp else None


def read_hashes(path: Path) -> dict[bytes, bytes]:
    """Return the hash of every file by its key; a damaged store is ignored with one line."""
    try:
        with path.open("rb") as stream:
            header = _header(stream.readline(), stream.readline())
            records = stream.read()
        if hashlib.sha256(records).hexdigest() != header["records"]:
            raise ValueError
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):
        log.warning("%s: damaged or unreadable: ignored, the files are read again", path)
        return {}
    size = KEY + HASH
    return {
        records[at : at + KEY]: records[at + KEY : at + size] for at in range(0, len(records), size)
    }


def write_store(
    path: Path, hashes: Mapping[bytes, bytes], *, stamp: str | None, digest: str | None
) -> None:
    """Write atomically; a folder that cannot be written costs time, not correctness.

    Args:
        path: of the store.
        hashes: hash of every file by its key.
        stamp: of the whole set; None if it is not to be believed.
        digest: of the whole set.
    """
    records = b"".join(key + found for key, found in hashes.items())
    facts = {"format": _FORMAT, "stamp": stamp, "digest": digest}
    facts["records"] = hashlib.sha256(records).hexdigest()
    line = json.dumps(facts).encode() + b"\n"
    content = line + hashlib.sha256(line).hexdigest().encode() + b"\n" + records
    try:
        write_atomic(path, content, durable=False)
    except OSError as error:
        log.debug("%s: not written (%s)", path, error)


def _header(line: bytes, check: bytes) -> dict[str, str | None]:
    """Return the header; ValueError if it is not whole or of another format."""
    if hashlib.sha256(line).hexdigest().encode() != check.strip():
        raise ValueError
    header = json.loads(line)
    if header["format"] != _FORMAT:
        raise ValueError
    return header
