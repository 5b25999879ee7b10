"""Writes a small generated person re-identification data set in the layout of Market-1501.

Writes what sightings.py lists and pedestrians.py and cameras.py draw. The same preset and seed give
the same bytes (with one version of Pillow, which writes the JPEGs).
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import PIL
from PIL import Image

from scaledrelu.config.artifacts import MANIFEST, MINI_DATA_VERSION
from scaledrelu.data.people.cameras import HEIGHT, WIDTH, invent_cameras, photograph
from scaledrelu.data.people.pedestrians import invent_people
from scaledrelu.data.people.sightings import (
    SPLITS,
    Preset,
    Shot,
    keyed_rng,
    plan_shots,
    queries_without_match,
)
from scaledrelu.errors import DataError
from scaledrelu.inputs.listing import image_names
from scaledrelu.inputs.reid_listing import JUNK

_QUALITY = 92  # JPEG quality


def write_mini_reid(preset: Preset, folder: Path | str, *, seed: int) -> dict[str, Any]:
    """Write a data set; the manifest comes last, so that its existence means "done".

    Args:
        preset: size and difficulty.
        folder: root of the data set; bounding_box_train, query and bounding_box_test go there.
        seed: the data set's seed; another one makes other people and cameras.

    Returns:
        The manifest: counts, the queries without a match, and a digest of names and bytes.

    Raises:
        DataError: if the folder holds other images, or cannot be written.
    """
    folder, shots = Path(folder), plan_shots(preset, seed=seed)
    _refuse_other_images(folder, {shot.path for shot in shots})
    try:
        (folder / MANIFEST).unlink(missing_ok=True)
        digest = _digest(_write_images(folder, preset, shots, seed))
        manifest = _describe(preset, shots, seed) | {"sha256": digest}
        temporary = folder / f".{MANIFEST}.{os.getpid()}"
        temporary.write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")
        os.sync()
        temporary.replace(folder / MANIFEST)
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(f"{folder}: cannot be written ({reason}); choose another folder") from None
    return manifest


def check_made(root: Path) -> None:
    """Compare a generated set with the digest of its manifest, if it has one.

    Raises:
        DataError: if a file was changed, added or removed since.
    """
    if not (root / MANIFEST).exists():
        return
    try:
        made = json.loads((root / MANIFEST).read_text())["sha256"]
        paths = sorted(f"{split}/{name}" for split in SPLITS for name in image_names(root / split))
        found = _digest((path, (root / path).read_bytes()) for path in paths)
    except (OSError, ValueError, KeyError, TypeError, DataError):
        made, found = None, ""
    if made != found:
        raise DataError(
            f"{root}: differs from its manifest ({MANIFEST}); delete the folder and generate it "
            "again with scripts/make_mini_data.py"
        )


def _digest(files: Iterable[tuple[str, bytes]]) -> str:
    """Return the SHA-256 of some names and bytes, in their order."""
    digest = hashlib.sha256()
    for name, content in files:
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def _refuse_other_images(folder: Path, expected: set[str]) -> None:
    """Refuse a folder with other images: they would become part of the data set."""
    there = [split for split in SPLITS if (folder / split).is_dir()]
    found = {f"{split}/{name}" for split in there for name in image_names(folder / split)}
    if other := sorted(found - expected):
        raise DataError(
            f"{folder}: holds {len(other):,} files that are not part of this data set (first: "
            f"{other[0]}); choose another folder, or delete {', '.join(SPLITS)} there"
        )


def _write_images(
    folder: Path, preset: Preset, shots: list[Shot], seed: int
) -> Iterator[tuple[str, bytes]]:
    """Write the JPEGs and yield their names and bytes, sorted by name."""
    known = preset.train_ids + preset.test_ids + preset.distractors // 2
    people = invent_people(
        known, colours=preset.colours, alike=preset.alike, rng=keyed_rng(preset, seed, "people")
    )
    cameras = invent_cameras(
        preset.cameras, strength=preset.strength, rng=keyed_rng(preset, seed, "cameras")
    )
    for split in SPLITS:
        (folder / split).mkdir(parents=True, exist_ok=True)
    for shot in sorted(shots, key=lambda shot: shot.path):
        image = photograph(
            None if shot.person is None else people[shot.person],
            cameras[shot.camera - 1],
            preset.variation,
            rng=keyed_rng(preset, seed, shot.path),
            fragment=shot.identity == JUNK,
        )
        stream = io.BytesIO()
        Image.fromarray(image).save(stream, "JPEG", quality=_QUALITY)
        (folder / shot.path).write_bytes(stream.getvalue())
        yield shot.path, stream.getvalue()


def _describe(preset: Preset, shots: list[Shot], seed: int) -> dict[str, Any]:
    """Return the manifest; its counts are those that a reader finds, junk left out."""
    kept = [shot for shot in shots if shot.identity != JUNK]
    images = {
        split: sum(shot.folder == folder for shot in kept)
        for split, folder in zip(("train", "query", "gallery"), SPLITS, strict=True)
    }
    others = {
        "train_ids": preset.train_ids,
        "query_ids": preset.test_ids,
        "cameras": len({shot.camera for shot in kept}),
    }
    return {
        "kind": "mini_reid",
        "version": MINI_DATA_VERSION,
        "preset": preset.name,
        "seed": seed,
        "pillow": PIL.__version__,
        "image_size": [HEIGHT, WIDTH],
        "counts": images | others,
        "distractors": preset.distractors,
        "junk": preset.junk,
        "queries_without_match": queries_without_match(shots),
    }
