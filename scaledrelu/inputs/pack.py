"""The file that stands for a folder of class folders: ``<folder>.pack`` beside where it would be.

After a first line come the bytes of all images in the order of ``listing.class_images``, then the
index (classes, offsets, SHA-256 of every image, names), then where the index begins and its
SHA-256. Only the index is read here; ``data/packed.py`` compares the images with it.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scaledrelu.errors import DataError
from scaledrelu.inputs.hash_store import HASH

SUFFIX = ".pack"
HEAD = b"scaledrelu pack 1\n"  # raise the number when the format changes
_OFFSET = 8  # bytes
_TAIL = struct.Struct("<Q32s16s")  # where the index begins, its SHA-256, the mark
_MARK = b"end of the pack\n"


@dataclass(frozen=True, slots=True)
class Pack:
    """What a pack holds.

    Attributes:
        path: the file.
        counts: class -> number of its images, in order.
        names: paths relative to the folder, class by class.
        offsets: where every image begins and, last, where the index begins: 8 bytes each, little
            endian.
        hashes: SHA-256 of every image, 32 bytes each.
    """

    path: Path
    counts: Mapping[str, int]
    names: Sequence[str]
    offsets: bytes
    hashes: bytes


def pack_of(folder: Path | str) -> Path | None:
    """Return the pack that is read in place of a folder; None if the folder itself is there."""
    folder = Path(folder)
    path = folder.with_name(folder.name + SUFFIX) if folder.name else folder
    return path if path.is_file() and not folder.is_dir() else None


def is_image_folder(folder: Path | str) -> bool:
    """Say whether there is a folder, or a pack of it."""
    return Path(folder).is_dir() or pack_of(folder) is not None


def index_bytes(
    counts: Mapping[str, int], names: Sequence[str], offsets: bytes, hashes: bytes
) -> bytes:
    """Return what follows the images of a pack.

    Args:
        counts: class -> number of its images, in order.
        names: paths relative to the folder, class by class.
        offsets: where every image begins and, last, where the index begins: 8 bytes each, little
            endian.
        hashes: SHA-256 of every image, 32 bytes each.
    """
    start = int.from_bytes(offsets[-_OFFSET:], "little")
    first = json.dumps({"classes": list(counts.items())}).encode() + b"\n"
    index = b"".join((first, offsets, hashes, b"\0".join(map(os.fsencode, names))))
    return index + _TAIL.pack(start, hashlib.sha256(index).digest(), _MARK)


def read_pack(path: Path) -> Pack:
    """Return what a pack holds, by its index.

    Raises:
        DataError: if it is not a pack, is incomplete, or its index is damaged.
    """
    try:
        with path.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            if stream.readline(len(HEAD)) != HEAD:
                raise _refused(path, "not a pack of this version")
            stream.seek(max(len(HEAD), size - _TAIL.size))
            tail = stream.read()
            if len(tail) != _TAIL.size or not tail.endswith(_MARK):
                raise _refused(path, "incomplete: its end is missing")
            start, digest, _ = _TAIL.unpack(tail)
            stream.seek(start)
            index = stream.read(max(0, size - _TAIL.size - start))
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}); restore the file, or check that you may "
            "read it"
        ) from None
    if hashlib.sha256(index).digest() != digest:
        raise _refused(path, "damaged: its index does not match its SHA-256")
    return _parsed(path, index)


def _parsed(path: Path, index: bytes) -> Pack:
    first, _, rest = index.partition(b"\n")
    counts = dict(json.loads(first)["classes"])
    offsets = _OFFSET * (sum(counts.values()) + 1)
    hashes = offsets + HASH * sum(counts.values())
    names = os.fsdecode(rest[hashes:]).split("\0")
    return Pack(path, counts, names, rest[:offsets], rest[offsets:hashes])


def _refused(path: Path, reason: str) -> DataError:
    return DataError(
        f"{path}: {reason}; copy it again, or remove it and run scripts/pack_images.py"
    )
