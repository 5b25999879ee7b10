"""Writes the token-label maps of a training set in the published format, from a teacher.

One file per image, half precision, 2 x 5 x H x W: the five largest logits of every position and
their class indices. A restart keeps complete files and ends with the same bytes as an uninterrupted
run (on CPU, with the same batch).

Shapes: B images, C classes, H and W of the map.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scaledrelu.config.artifacts import MANIFEST, VERSION, artifact_directory, named_by
from scaledrelu.countdown import Countdown
from scaledrelu.data.augment import DeviceAugment
from scaledrelu.data.fetch import open_fetch
from scaledrelu.data.sources import FolderSource, content_digest
from scaledrelu.data.workers import Request
from scaledrelu.errors import ConfigError, DataError, RunError
from scaledrelu.labels.dense_logits import dense_grid, dense_logits
from scaledrelu.labels.folder import (
    Making,
    check_space,
    encode,
    missing_maps,
    reserve,
    write_map,
    write_note,
)
from scaledrelu.labels.maps import LabelMaps, label_path
from scaledrelu.labels.teachers import Teacher, weights_digest

log = logging.getLogger(__name__)

KEPT = 5  # logits per position (recipes B.4)
MOST_CLASSES = 2048  # half precision represents no larger class index exactly (recipes B.4)
KIND = "token_labels"
JUDGED_BY = "mean of the label maps over their positions"


def make_label_maps(
    teacher: Teacher,
    *,
    results: str | Path = "results",
    artifact_id: str | None = None,
    out: str | Path | None = None,
    batch: int = 64,
    device: torch.device,
    workers: int = 0,
) -> Path:
    """Write the label map of every image of a teacher; continue where an earlier call stopped.

    Args:
        teacher: network and images.
        results: the maps go to ``<results>/artifacts/<artifact_id>``.
        artifact_id: None = computed from the teacher and its images.
        out: folder to write to instead.
        batch: images per forward pass.
        device: the device of the teacher.
        workers: loader processes, for images in files.

    Returns:
        The folder: ``<class folder>/<image name up to the first dot>.pt`` and, written last,
        ``artifact.json``.

    Raises:
        ConfigError: if the classes do not fit the format, or the network has no dense output.
        DataError: a bad image, a full disk, or a folder that holds other maps.
        RunError: if the teacher's logits are not finite.
    """
    paths = label_paths(teacher)
    if teacher.threads:
        torch.set_num_threads(teacher.threads)
    model = teacher.model.to(device)
    weights, content = weights_digest(model), _digest([*paths, *_images_of(teacher)])
    making = Making(
        artifact_id=artifact_id or default_id(teacher, weights=weights, content=content),
        kind=KIND,
        teacher=teacher.name,
        weights_sha256=weights,
        image_size=teacher.image_size,
        num_classes=teacher.num_classes,
        num_files=len(paths),
        paths_sha256=content,
        map=dense_grid(model, image_size=teacher.image_size, num_classes=teacher.num_classes),
        kept=KEPT,
    )
    folder = Path(out) if out else artifact_directory(results, making.artifact_id)
    if reserve(folder, making, paths):
        log.info("%s: already made", folder)
        return folder
    missing = missing_maps(folder, paths, making)
    check_space(folder, making, num_missing=len(missing))
    progress = Countdown(f"{folder}: label maps", len(missing), say=log.info)
    for positions, maps in _maps(teacher, missing, device, batch=batch, workers=workers):
        for position, one in zip(positions, maps, strict=True):
            _check_finite(one, teacher, position)
            write_map(folder / paths[position], encode(one))
        progress.add(len(positions))
    _finish(folder, paths, making, teacher)
    return folder


def label_paths(teacher: Teacher) -> list[str]:
    """Return the relative path of every image's map, in the order of the source.

    Raises:
        ConfigError: fewer classes than a map keeps, or more than half precision can number.
        DataError: if two images would share a map.
    """
    if not KEPT <= teacher.num_classes <= MOST_CLASSES:
        raise ConfigError(
            f"{teacher.name}: has {teacher.num_classes} classes; allowed: {KEPT} to "
            f"{MOST_CLASSES:,} (a label map keeps the {KEPT} largest logits and stores classes in "
            "half precision); choose another teacher"
        )
    source = teacher.source
    paths = [label_path(source, index) for index in range(len(source))]
    owner: dict[str, int] = {}
    for index, path in enumerate(paths):
        first = owner.setdefault(path, index)
        if first != index:
            raise DataError(
                f"{path}: would be the label map of two images ({source.name_of(first)} and "
                f"{source.name_of(index)}), since maps are named up to the first dot; rename one"
            )
    return paths


def _images_of(teacher: Teacher) -> list[str]:
    """Return digests of the teacher's image files; empty for images in memory."""
    source = teacher.source
    return [content_digest(source)] if isinstance(source, FolderSource) else []


def default_id(teacher: Teacher, *, weights: str, content: str) -> str:
    """Return the artifact's id; for a run of our own it is the id that a plan gives it.

    Args:
        teacher: network and images.
        weights: digest of the network's weights.
        content: digest of the maps' paths and of the images.
    """
    facts: dict[str, Any] = {"kind": KIND, "teacher": teacher.name, "version": VERSION}
    if teacher.settings:
        facts |= {"settings": teacher.settings, "weights": weights, "images": content}
    return named_by("labels", **facts)


def top_logits(logits_BCHW: Tensor) -> Tensor:
    """Return maps B x 2 x 5 x H x W in half precision: largest logits, their class indices."""
    values, classes = logits_BCHW.float().topk(KEPT, dim=1)
    return torch.stack((values, classes.float()), dim=1).half()


@torch.no_grad()
def _maps(
    teacher: Teacher, missing: Sequence[int], device: torch.device, *, batch: int, workers: int
) -> Iterator[tuple[list[int], Tensor]]:
    """Yield missing positions and their maps; the batches are those of an uninterrupted run."""
    wanted = np.zeros(len(teacher.source), dtype=bool)
    wanted[list(missing)] = True
    starts = sorted({index // batch * batch for index in missing})
    parts = [np.arange(at, min(at + batch, len(wanted))) for at in starts]
    requests = [Request(0, 0, part, np.zeros_like(part)) for part in parts]
    normalise = DeviceAugment(mean=teacher.mean, std=teacher.std, seed=0).normalise
    fetch = open_fetch(
        teacher.source,
        teacher.transform,
        seed=0,
        workers=workers,
        pin=device.type == "cuda",
        device=device,
    )
    try:
        for part, raw in zip(parts, fetch(requests), strict=True):
            logits_BCHW = dense_logits(teacher.model, normalise(raw.to(device).images))
            maps = top_logits(logits_BCHW).cpu()
            yield part[wanted[part]].tolist(), maps[torch.from_numpy(wanted[part])]
    finally:
        fetch.close()


def _check_finite(one: Tensor, teacher: Teacher, position: int) -> None:
    if not bool(one.isfinite().all()):
        raise RunError(
            f"{teacher.name}: its logits for {teacher.source.name_of(position)} are not finite in "
            "half precision; choose another teacher"
        )


def _finish(folder: Path, paths: Sequence[str], making: Making, teacher: Teacher) -> None:
    """Read everything back as training does, sync it to disk, write the manifest last.

    Beside what the maps are made from it holds ``sha256``, of the sorted (path, bytes) of all maps,
    and ``top1_of_teacher``: percent of the images for which the mean of the map over its positions
    is largest for the image's own class. Classes that are not in the map count as 0, as in the
    dense target.
    """
    maps = LabelMaps(folder, teacher.source, num_classes=making.num_classes)
    hits = sum(
        int(_strongest(maps[index], making.num_classes) == target)
        for index, target in enumerate(teacher.source.targets.tolist())
    )
    digest = hashlib.sha256()
    for path in sorted(paths):
        content = (folder / path).read_bytes()
        digest.update(f"{path}\0{len(content)}\0".encode())
        digest.update(content)
    os.sync()
    top1 = round(100 * hits / len(paths), 3)
    found = {"sha256": digest.hexdigest(), "top1_of_teacher": top1, "top1_by": JUDGED_BY}
    write_note(folder / MANIFEST, making.plain() | found)
    log.info("%s: done; top-1 of the teacher on these images %.2f (%s)", folder, top1, JUDGED_BY)


def _strongest(map_2KHW: Tensor, num_classes: int) -> int:
    values, classes = map_2KHW.flatten(1)
    sums_C = torch.zeros(num_classes).index_add_(0, classes.long(), values.float())
    return int(sums_C.argmax())


def _digest(parts: Iterator[str] | Sequence[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
