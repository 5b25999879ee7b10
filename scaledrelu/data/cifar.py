"""CIFAR-10 as published: the python batches, fetched once when they are missing."""

from __future__ import annotations

import fcntl
import logging
import os
import pickle
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from scaledrelu.data.sources import MemorySource
from scaledrelu.errors import DataError

log = logging.getLogger(__name__)

_FOLDER = "cifar-10-batches-py"
_BATCHES = {"train": [f"data_batch_{i}" for i in range(1, 6)], "test": ["test_batch"]}


def cifar10_batches(root: Path) -> Path:
    """Return the folder of the python batches below the root, downloading it when it is absent.

    Raises:
        DataError: if the download fails.
    """
    folder = root / _FOLDER
    # Runs of a sweep and ranks of a run arrive together; one downloads, the others wait.
    lock = Path(tempfile.gettempdir()) / f"scaledrelu-cifar10-{os.getuid()}.lock"
    try:
        with open(lock, "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if not folder.is_dir():
                _download(root)
    except (OSError, RuntimeError, EOFError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(
            f"{root}: no CIFAR-10 here and it could not be downloaded ({reason}): put {_FOLDER}/ "
            "or class folders train/ and test/ there, or set data.root"
        ) from None
    return folder


def read_cifar10(folder: Path, split: str) -> MemorySource:
    """Return one split, train or test, in the published order.

    Raises:
        DataError: if a batch is missing or damaged.
    """
    import torch

    batches = [_unpickle(folder / name) for name in _BATCHES[split]]
    pixels = np.concatenate([batch["data"] for batch in batches]).reshape(-1, 3, 32, 32)
    targets = np.concatenate([batch["labels"] for batch in batches])
    classes = tuple(_unpickle(folder / "batches.meta")["label_names"])
    names = [f"{split}/{name}" for batch in batches for name in batch["filenames"]]
    return MemorySource(torch.from_numpy(pixels), targets, classes, names=names)


def _download(root: Path) -> None:
    from torchvision.datasets import CIFAR10

    log.info("%s: downloading CIFAR-10 (170 MB)", root)
    root.mkdir(parents=True, exist_ok=True)
    CIFAR10(str(root), download=True)


def _unpickle(path: Path) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            return pickle.load(file, encoding="latin1")
    except (OSError, EOFError, pickle.UnpicklingError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(
            f"{path}: damaged or missing CIFAR-10 file ({reason}): remove {path.parent} to "
            "download it again"
        ) from None
