"""The files of a folder of label maps: what made them, which are complete, and disk space."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from scaledrelu.config.artifacts import MANIFEST
from scaledrelu.errors import DataError
from scaledrelu.files import OCCUPIED, REMEDIES, atomic_file, write_atomic
from scaledrelu.text import data_size

log = logging.getLogger(__name__)

MAKING = "making.json"  # what the maps beside it are made from; written before the first map
_BLOCK = 4096  # bytes that a small file takes on most disks


@dataclass(frozen=True, slots=True)
class Making:
    """What a folder of label maps is made from; maps made from anything else are never added.

    Attributes:
        artifact_id: name of the artifact.
        kind: kind of artifact.
        teacher: run id, or timm's name of the model.
        weights_sha256: digest of the teacher's weights.
        image_size: side in pixels of the images that the teacher saw.
        num_classes: classes of the teacher's output.
        num_files: one per image.
        paths_sha256: digest of the relative paths, in the order of the images, and of the contents
            of images in files.
        map: height and width of a map in cells.
        kept: logits per position.
    """

    artifact_id: str
    kind: str
    teacher: str
    weights_sha256: str
    image_size: int
    num_classes: int
    num_files: int
    paths_sha256: str
    map: tuple[int, int]
    kept: int

    def plain(self) -> dict[str, Any]:
        """Return the fields as JSON stores them."""
        return {**asdict(self), "map": list(self.map)}

    @property
    def file_bytes(self) -> int:
        """Size of every file in bytes: maps of one shape all have the same size."""
        return len(encode(torch.zeros(2, self.kept, *self.map, dtype=torch.float16)))


def reserve(folder: Path, making: Making, paths: Sequence[str]) -> bool:
    """Reserve a folder for these maps, and say whether it already holds them all.

    Maps that the same artifact got from other weights are deleted: its teacher was trained again.

    Args:
        folder: folder of the maps; created if missing.
        making: what the maps are made from.
        paths: paths of all maps, relative to the folder.

    Raises:
        DataError: if the folder holds other maps or cannot be written, or a note beside them is
            damaged.
    """
    found = _read_json(folder / MAKING, otherwise="move this folder away to make the maps again")
    manifest = _read_json(
        folder / MANIFEST, otherwise="remove it to have the maps checked and it written again"
    )
    if manifest is not None:
        if found == making.plain():
            return True
        raise DataError(
            f"{folder}: holds finished label maps of {manifest.get('teacher')} (other weights, "
            "images or sizes); choose another folder with --out, or move this one away"
        )
    if found == making.plain():
        return False
    stale = [path for path in paths if (folder / path).exists()]
    if stale and (found or {}).get("artifact_id") != making.artifact_id:
        raise DataError(
            f"{folder}: holds {len(stale):,} label maps of another teacher or other images; choose "
            "another folder with --out, or move this one away"
        )
    with _writing(folder):
        for path in stale:
            (folder / path).unlink()
    write_note(folder / MAKING, making.plain())
    return False


def missing_maps(folder: Path, paths: Sequence[str], making: Making) -> list[int]:
    """Return the positions of the images without a complete map, judged by the size of the file.

    Args:
        folder: folder of the maps.
        paths: paths of all maps, in the order of the images.
        making: what the maps are made from; gives the size of a complete file.
    """
    size = making.file_bytes
    return [index for index, path in enumerate(paths) if _size(folder / path) != size]


def check_space(folder: Path, making: Making, *, num_missing: int) -> None:
    """Log what will be written, and refuse a disk that is too full for it.

    Args:
        folder: folder of the maps.
        making: what the maps are made from; gives the size of a file.
        num_missing: maps still to write.

    Raises:
        DataError: if the disk is too full.
    """
    size = making.file_bytes
    need, free = num_missing * math.ceil(size / _BLOCK) * _BLOCK, shutil.disk_usage(folder).free
    log.info(
        "%s: %s label maps of %d x %d by %s, %s already written; %s to write, %s free",
        folder,
        f"{making.num_files:,}",
        *making.map,
        making.teacher,
        f"{making.num_files - num_missing:,}",
        data_size(need),
        data_size(free),
    )
    if need > free:
        raise DataError(
            f"{folder}: {num_missing:,} label maps need {data_size(need)} ({size:,} bytes each "
            f"before rounding to blocks), but only {data_size(free)} are free; make room, or "
            "choose another folder with --out"
        )


def encode(map_2KHW: Tensor) -> bytes:
    """Return the bytes of a map's file, as ``torch.save`` writes them."""
    buffer = io.BytesIO()
    torch.save(map_2KHW.clone(), buffer)  # a view would be saved with its whole batch
    return buffer.getvalue()


def write_map(path: Path, content: bytes) -> None:
    """Write the file of one map atomically; a power cut may lose it.

    Syncing a million small files one by one takes hours: they are synced together at the end.

    Args:
        path: the map's file.
        content: bytes as :func:`encode` returns them.

    Raises:
        DataError: disk full or folder not writable.
    """
    with _writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path, durable=False, one_writer=True) as stream:
            stream.write(content)


def write_note(path: Path, facts: Mapping[str, Any]) -> None:
    """Write a file of facts beside the maps.

    Args:
        path: the file.
        facts: what JSON can hold.

    Raises:
        DataError: disk full or folder not writable.
    """
    with _writing(path):
        write_atomic(path, json.dumps(facts, indent=1, sort_keys=True) + "\n")


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        # Of two files the second is in the way; the first is a temporary one.
        occupied = error.filename2 or error.filename
        place = occupied if error.errno in OCCUPIED else path
        raise DataError(
            f"{place}: cannot be written ({error.strerror}); "
            f"{REMEDIES.get(error.errno, '')}choose another folder with --out; finished maps are "
            "kept, and the same command goes on with them"
        ) from error


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _read_json(path: Path, *, otherwise: str) -> dict[str, Any] | None:
    """Return what a note beside the maps says; None if it is not there.

    Args:
        path: the note.
        otherwise: what to do if there is no copy of a damaged one.
    """
    try:
        found = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); make it readable") from error
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise DataError(
            f"{path}: damaged (not a JSON object); restore it from a copy, or {otherwise}"
        )
    return found
