"""The files of a folder of label maps: whose they are, which are whole, and room for the rest."""

from __future__ import annotations

import io
import json
import logging
import math
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from scaledrelu.config.artifacts import MANIFEST
from scaledrelu.errors import DataError
from scaledrelu.files import atomic_file, write_atomic

log = logging.getLogger(__name__)

MAKING = "making.json"  # what the maps beside it are made from; written before the first of them
_BLOCK = 4096  # bytes that a small file takes on most disks


@dataclass(frozen=True, slots=True)
class Making:
    """What a folder of label maps is made from: maps of another making are never mixed in.

    Attributes:
        artifact_id: name of the artifact.
        kind: of artifact.
        teacher: run id, or timm's name of the model.
        weights_sha256: of the teacher.
        image_size: pixels that the teacher saw.
        num_classes: of its output.
        num_files: one per image.
        paths_sha256: of the relative paths, in the order of the images, and of images in files.
        map: height and width.
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
        """Return the fields as JSON gives them back."""
        return {**asdict(self), "map": list(self.map)}

    @property
    def file_bytes(self) -> int:
        """Size of every file: maps of one shape take the same number of bytes."""
        return len(encode(torch.zeros(2, self.kept, *self.map, dtype=torch.float16)))


def claim(folder: Path, making: Making, paths: Sequence[str]) -> dict[str, Any] | None:
    """Make a folder ours, or return the manifest of what is already finished in it.

    Maps that the same artifact got from other weights are deleted: its teacher was trained again.

    Args:
        folder: of the maps; made where there is none.
        making: what is about to be written into it.
        paths: of all maps, relative to the folder.

    Raises:
        DataError: if the folder holds other maps.
    """
    found = _read_json(folder / MAKING)
    manifest = _read_json(folder / MANIFEST)
    if manifest is not None:
        if found == making.plain():
            return manifest
        raise DataError(
            f"{folder}: holds finished label maps of {manifest.get('teacher')} (other weights, "
            "images or sizes); choose another with --out, or move the folder away"
        )
    if found == making.plain():
        return None
    stale = [path for path in paths if (folder / path).exists()]
    if stale and (found or {}).get("artifact_id") != making.artifact_id:
        raise DataError(
            f"{folder}: holds {len(stale):,} label maps that are not of this making; choose "
            "another with --out, or move the folder away"
        )
    for path in stale:
        (folder / path).unlink()
    write_atomic(folder / MAKING, json.dumps(making.plain(), indent=1, sort_keys=True) + "\n")
    return None


def missing_maps(folder: Path, paths: Sequence[str], making: Making) -> list[int]:
    """Return the positions of the images without a whole map, told by the size of the file.

    Args:
        folder: of the maps.
        paths: of all maps, in the order of the images.
        making: tells the size of a whole file.
    """
    size = making.file_bytes
    return [index for index, path in enumerate(paths) if _size(folder / path) != size]


def check_space(folder: Path, making: Making, *, num_missing: int) -> None:
    """Say in one line what will be written where.

    Args:
        folder: of the maps.
        making: tells the size of a file.
        num_missing: maps still to write.

    Raises:
        DataError: if the disk has no room for it.
    """
    size = making.file_bytes
    need, free = num_missing * math.ceil(size / _BLOCK) * _BLOCK, shutil.disk_usage(folder).free
    log.info(
        "%s: %s label maps of %d x %d by %s, %s of them there; %.1f MB to write, %.1f GB free",
        folder,
        f"{making.num_files:,}",
        *making.map,
        making.teacher,
        f"{making.num_files - num_missing:,}",
        need / 1e6,
        free / 1e9,
    )
    if need > free:
        raise DataError(
            f"{folder}: {num_missing:,} label maps need {need / 1e9:.1f} GB ({size:,} bytes each "
            f"before rounding to blocks), found {free / 1e9:.1f} GB free; make room or choose "
            "another folder with --out"
        )


def encode(map_2KHW: Tensor) -> bytes:
    """Return the bytes of a map's file, as ``torch.save`` writes them."""
    buffer = io.BytesIO()
    torch.save(map_2KHW.clone(), buffer)  # a view would carry its whole batch along
    return buffer.getvalue()


def write_map(path: Path, content: bytes) -> None:
    """Write the file of one map, whole or not at all; a power cut may lose it.

    Syncing a million small files one by one takes hours: they are synced together at the end.

    Args:
        path: of the map.
        content: bytes of :func:`encode`.

    Raises:
        DataError: disk full or folder not writable.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path, durable=False, one_writer=True) as stream:
            stream.write(content)
    except OSError as error:
        raise DataError(
            f"{path}: cannot be written ({error.strerror}); what is there is kept, and the same "
            "command goes on from it"
        ) from error


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
