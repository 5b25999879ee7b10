"""Decodes a whole source once, into one uint8 tensor, and keeps the result beside other caches."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from scaledrelu.countdown import Countdown
from scaledrelu.data.sources import FolderSource, MemorySource, content_digest
from scaledrelu.files import FILE_THREADS, atomic_file

log = logging.getLogger(__name__)

_VERSION = 2  # raise it when the bytes that decode_all writes change


def decode_all(source: FolderSource, *, image_size: int) -> MemorySource:
    """Decode every image to ``image_size`` pixels: short side resized, centre cropped.

    Images that already have that size keep their pixels. The decoded bytes are cached under
    ``$SCALEDRELU_CACHE`` (default ``~/.cache/scaledrelu``), named after the files' names and
    contents; bad images are not cached. Without a home folder nothing is cached.

    Args:
        source: images in files.
        image_size: pixels of a side.

    Raises:
        DataError: a bad image, unless the source skips it.
    """
    path = _cache_path(source, image_size)
    pixels = _read(path, (len(source), 3, image_size, image_size))
    if pixels is None:
        pixels = _pixels(source, (image_size, image_size), _fit(image_size))
        # The files changed meanwhile: it is not known which contents were decoded.
        if not source.skipped and path == _cache_path(source, image_size):
            _write(path, pixels)
    return _in_memory(source, pixels)


def resize_all(
    source: FolderSource, *, height: int, width: int, resample: Image.Resampling
) -> MemorySource:
    """Decode every image and resize it as a whole, whatever its shape.

    Args:
        source: images in files.
        height: pixels.
        width: pixels.
        resample: how to resize.

    Raises:
        DataError: a bad image, unless the source skips it.
    """
    pixels = _pixels(source, (height, width), lambda image: image.resize((width, height), resample))
    return _in_memory(source, pixels)


def _in_memory(source: FolderSource, pixels: np.ndarray) -> MemorySource:
    import torch

    names = [source.name_of(source.position_of(i)) for i in range(len(source))]
    memory = MemorySource(torch.from_numpy(pixels), source.targets, source.classes, names=names)
    memory.skipped = source.skipped
    return memory


def _pixels(
    source: FolderSource, size: tuple[int, int], fit: Callable[[Image.Image], Image.Image]
) -> np.ndarray:
    """Return N x 3 x H x W bytes, decoded by several threads: Pillow lets others run meanwhile."""
    pixels = np.empty((len(source), 3, *size), dtype=np.uint8)
    what = f"{source.root}: decoding the images into memory"
    progress = Countdown(what, len(source), say=log.info)

    def decode(index: int) -> None:
        pixels[index] = np.asarray(fit(source.load(index))).transpose(2, 0, 1)

    # What was skipped is noted in the order of the images.
    pool = ThreadPoolExecutor(FILE_THREADS if source.on_bad_image == "raise" else 1)
    try:
        for _ in pool.map(decode, range(len(source))):
            progress.add()
    finally:
        pool.shutdown(cancel_futures=True)
    return pixels


def _fit(image_size: int) -> Callable[[Image.Image], Image.Image]:
    from scaledrelu.data.transforms import fit_to

    fit = fit_to(image_size)
    return lambda image: image if image.size == (image_size, image_size) else fit(image)


def _cache_path(source: FolderSource, image_size: int) -> Path | None:
    """Return where the pixels of these files are cached; None if there is no place."""
    folder = os.path.expanduser(os.environ.get("SCALEDRELU_CACHE") or "~/.cache/scaledrelu")
    if folder[0] == "~":  # no HOME and no entry for the user, as in some containers
        log.info("decoded images are not cached: no home folder; set SCALEDRELU_CACHE to a folder")
        return None
    place = hashlib.sha256(os.fsencode(os.path.abspath(source.root))).hexdigest()[:16]
    files = content_digest(source, store=Path(folder) / "digests" / place)
    name = hashlib.sha256(f"{_VERSION} {image_size} {files}".encode()).hexdigest()[:24]
    return Path(folder) / f"{name}.npy"


def _read(path: Path | None, shape: tuple[int, ...]) -> np.ndarray | None:
    if path is None:
        return None
    try:
        pixels = np.load(path)
    except (OSError, ValueError, EOFError):
        return None
    return pixels if pixels.shape == shape and pixels.dtype == np.uint8 else None


def _write(path: Path | None, pixels: np.ndarray) -> None:
    """Write the cache; a folder that is not writable costs time, not correctness."""
    if path is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path, durable=False) as stream:
            np.save(stream, pixels)
    except OSError as error:
        log.info("%s: decoded images not cached (%s)", path, error)
