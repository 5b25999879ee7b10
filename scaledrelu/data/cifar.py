"""CIFAR-10 as published: the python batches, fetched once when they are missing."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import os
import pickle
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from scaledrelu.config.first_look import CIFAR10_BATCHES, has_cifar10
from scaledrelu.data.sources import MemorySource
from scaledrelu.errors import DataError

log = logging.getLogger(__name__)

_BATCHES = {"train": [f"data_batch_{i}" for i in range(1, 6)], "test": ["test_batch"]}
_META = "batches.meta"
LOCK = ".cifar10.lock"
# Published checksums (torchvision's CIFAR10): the files are pickles, which can run code.
PUBLISHED_MD5 = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
    _META: "5ff9c542aee3614f3951f8cda6e48888",
}


def cifar10_batches(root: Path) -> Path:
    """Return the folder of the python batches below the root; download it if it is missing.

    Raises:
        DataError: if the download fails.
    """
    folder = root / CIFAR10_BATCHES
    try:
        with _one_at_a_time(root):
            if not has_cifar10(root):
                _download(root)
    except (OSError, RuntimeError, EOFError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(
            f"{root}: CIFAR-10 is not there and could not be downloaded ({reason}); put "
            f"{CIFAR10_BATCHES}/ or class folders train/ and test/ there, or set data.root"
        ) from None
    return folder


def read_cifar10(folder: Path, split: str) -> MemorySource:
    """Return one split, train or test, in the published order.

    Args:
        folder: the folder of the python batches.
        split: train | test.

    Raises:
        DataError: if a file is missing or is not the published one.
    """
    import torch

    batches = [_unpickle(folder / name) for name in _BATCHES[split]]
    pixels = np.concatenate([batch["data"] for batch in batches]).reshape(-1, 3, 32, 32)
    targets = np.concatenate([batch["labels"] for batch in batches])
    classes = tuple(_unpickle(folder / _META)["label_names"])
    names = [f"{split}/{name}" for batch in batches for name in batch["filenames"]]
    return MemorySource(torch.from_numpy(pixels), targets, classes, names=names)


@contextlib.contextmanager
def _one_at_a_time(root: Path) -> Iterator[None]:
    """Let one process download, where jobs of a sweep or ranks of a run start together.

    Other machines see a lock in the root only. Where that cannot be locked, one of this machine's
    serves, and where there is none either, none: reading existing files needs no lock.
    """
    with contextlib.suppress(OSError):
        root.mkdir(parents=True, exist_ok=True)
    here = Path(tempfile.gettempdir()) / f"scaledrelu-cifar10-{os.getuid()}.lock"
    with _locked(root / LOCK) or _locked(here) or contextlib.nullcontext():
        yield


def _locked(path: Path) -> IO[bytes] | None:
    """Return a locked file, or None if it cannot be locked."""
    try:
        stream = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666), "r+b")
    except OSError as error:
        log.debug("%s: no lock (%s)", path, error)
        return None
    try:
        fcntl.flock(stream, fcntl.LOCK_EX)
    except OSError as error:  # a file system without locks
        log.debug("%s: no lock (%s)", path, error)
        stream.close()
        return None
    return stream


def _download(root: Path) -> None:
    from torchvision.datasets import CIFAR10

    log.info("%s: downloading CIFAR-10 (170 MB)", root)
    root.mkdir(parents=True, exist_ok=True)
    CIFAR10(str(root), download=True)


def _unpickle(path: Path) -> dict[str, Any]:
    """Return what a published file holds; any other file is not unpickled."""
    again = f"move {path.parent} away to download it again"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: missing or unreadable ({error.strerror}); {again}") from None
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != PUBLISHED_MD5[path.name]:
        raise DataError(
            f"{path}: damaged, or not the published CIFAR-10 file (MD5 {found} instead of "
            f"{PUBLISHED_MD5[path.name]}); {again}"
        )
    return pickle.loads(content, encoding="latin1")
