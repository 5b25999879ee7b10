"""Writes the pack of an image folder, whole or not at all, and compares one with its own hashes."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from scaledrelu.countdown import Countdown
from scaledrelu.data.datasets import scan_folder
from scaledrelu.data.packed import PackedSource
from scaledrelu.data.sources import FolderSource
from scaledrelu.errors import DataError, printable
from scaledrelu.files import FILE_THREADS, atomic_file
from scaledrelu.inputs.pack import HEAD, SUFFIX, index_bytes, read_pack
from scaledrelu.text import data_size

log = logging.getLogger(__name__)

_BLOCK = 256  # files in memory at a time


@dataclass(frozen=True, slots=True)
class Packed:
    """What a pack holds, for people.

    Attributes:
        path: the file.
        images: how many.
        classes: how many.
        size: bytes of all images.
        is_new: whether it was written now.
    """

    path: Path
    images: int
    classes: int
    size: int
    is_new: bool


def pack_folder(folder: Path, out: Path) -> Packed:
    """Write ``<out>/<name of the folder>.pack``; one that is there is kept if it fits the folder.

    Args:
        folder: ``<folder>/<class>/*``.
        out: folder of the pack; it is made.

    Raises:
        DataError: if the folder is not one of class folders, an image cannot be read, there is too
            little room, or another pack is in the way.
    """
    if not folder.is_dir():
        raise DataError(
            f"{folder}: no such folder; give the folder of the splits with --data, and their names "
            "with --splits"
        )
    path = out / f"{folder.name}{SUFFIX}"
    if (out / folder.name).is_dir():
        raise DataError(
            f"{out / folder.name}: this folder would be read in place of its pack; write the pack "
            "to another folder"
        )
    source = scan_folder(folder)
    sizes = [_size(source, index) for index in range(len(source))]
    facts = {"images": len(source), "classes": len(source.classes), "size": sum(sizes)}
    if path.exists():
        _check_alike(path, source, sizes)
        return Packed(path, **facts, is_new=False)
    try:
        out.mkdir(parents=True, exist_ok=True)
        _check_room(out, sum(sizes))
        with atomic_file(path, one_writer=True) as stream:
            _write(stream, source, _countdown(path, sizes))
    except OSError as error:
        raise DataError(
            f"{path}: cannot be written ({error.strerror}); make room, or choose another folder"
        ) from None
    return Packed(path, **facts, is_new=True)


def check_pack(path: Path) -> Packed:
    """Read a whole pack and compare every image with its SHA-256.

    Raises:
        DataError: if anything differs.
    """
    pack = read_pack(path)
    source = PackedSource(pack)
    sizes = np.diff(np.frombuffer(pack.offsets, dtype="<u8")).tolist()
    progress = _countdown(path, sizes)
    for index, size in enumerate(sizes):
        source.content(index)
        progress.add(size)
    return Packed(path, len(sizes), len(source.classes), sum(sizes), is_new=False)


def _write(stream: IO[bytes], source: FolderSource, progress: Countdown) -> None:
    stream.write(HEAD)
    ends, hashes = [len(HEAD)], bytearray()
    for content, digest in _contents(source):
        stream.write(content)
        ends.append(ends[-1] + len(content))
        hashes += digest
        progress.add(len(content))
    stream.write(_index(source, ends, bytes(hashes)))


def _countdown(path: Path, sizes: Sequence[int]) -> Countdown:
    return Countdown(str(path), sum(sizes), shown=data_size, say=log.info)


def _index(source: FolderSource, ends: Sequence[int], hashes: bytes) -> bytes:
    offsets = np.array(ends, dtype="<u8").tobytes()
    images = np.bincount(source.targets, minlength=len(source.classes)).tolist()
    counts = dict(zip(source.classes, images, strict=True))
    return index_bytes(counts, source.files().names, offsets, hashes)


def _contents(source: FolderSource) -> Iterator[tuple[bytes, bytes]]:
    """Yield the bytes of every file and their SHA-256, in order."""

    def read(index: int) -> tuple[bytes, bytes]:
        try:
            content = Path(source.path_of(index)).read_bytes()
        except OSError as error:
            raise _unreadable(source, index, error) from None
        return content, hashlib.sha256(content).digest()

    with ThreadPoolExecutor(FILE_THREADS) as pool:
        for at in range(0, len(source), _BLOCK):
            yield from pool.map(read, range(at, min(at + _BLOCK, len(source))))


def _size(source: FolderSource, index: int) -> int:
    try:
        return os.stat(source.path_of(index)).st_size
    except OSError as error:
        raise _unreadable(source, index, error) from None


def _unreadable(source: FolderSource, index: int, error: OSError) -> DataError:
    return DataError(
        f"{printable(source.path_of(index))}: cannot be read ({error.strerror}); restore the file, "
        "or remove it"
    )


def _check_alike(path: Path, source: FolderSource, sizes: Sequence[int]) -> None:
    pack = read_pack(path)
    names = list(source.files().names)
    found = np.diff(np.frombuffer(pack.offsets, dtype="<u8")).tolist()
    if [names, list(sizes), list(source.classes)] != [list(pack.names), found, list(pack.counts)]:
        raise DataError(
            f"{path}: holds other images than {source.root} has now; remove it, or write the new "
            "pack to another folder"
        )


def _check_room(out: Path, size: int) -> None:
    free = shutil.disk_usage(out).free
    if free < size:
        raise DataError(
            f"{out}: the images take {data_size(size)}, but {data_size(free)} are free; make room, "
            "or write the pack to another folder"
        )
