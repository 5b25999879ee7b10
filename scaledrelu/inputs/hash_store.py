"""The file that keeps hashes of files: read at once for a whole set, checked before it is used.

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


def read_hashes(path: Path) -> dict[bytes, bytes]:
    """Return the hash of every file by its key; a damaged store is ignored with a warning."""
    try:
        with path.open("rb") as stream:
            header = _header(stream.readline(), stream.readline())
            records = stream.read()
        if hashlib.sha256(records).hexdigest() != header["records"]:
            raise ValueError
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):
        log.warning(
            "%s: damaged or unreadable; it is ignored, and the files are hashed again", path
        )
        return {}
    size = KEY + HASH
    return {
        records[at : at + KEY]: records[at + KEY : at + size] for at in range(0, len(records), size)
    }


def write_hashes(path: Path, hashes: Mapping[bytes, bytes]) -> None:
    """Write atomically; a folder that is not writable costs time, not correctness.

    Args:
        path: the store.
        hashes: hash of every file by its key.
    """
    records = b"".join(key + found for key, found in hashes.items())
    # No stamp: older versions kept the digest of a whole set under one, and look for it.
    facts = {"format": _FORMAT, "stamp": None, "records": hashlib.sha256(records).hexdigest()}
    line = json.dumps(facts).encode() + b"\n"
    content = line + hashlib.sha256(line).hexdigest().encode() + b"\n" + records
    try:
        write_atomic(path, content, durable=False)
    except OSError as error:
        log.debug("%s: not written (%s)", path, error)


def _header(line: bytes, check: bytes) -> dict[str, str | None]:
    """Return the header; ValueError if it is damaged or of another format."""
    if hashlib.sha256(line).hexdigest().encode() != check.strip():
        raise ValueError
    header = json.loads(line)
    if header["format"] != _FORMAT:
        raise ValueError
    return header
