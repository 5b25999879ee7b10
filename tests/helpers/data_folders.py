"""Folders of small files that stand for data sets, and runs on them."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from scaledrelu.config.run import RunConfig
from tests.helpers.configs import composed, with_values

FOLDERS = {
    "_target_": "scaledrelu.data.datasets.open_image_folder",
    "train": "train",
    "val": "val",
    "expect": None,
}
OTHERS = b"others".ljust(16)  # as many bytes as each image has


def settle() -> None:
    """Wait until what was written is old enough to be believed."""
    time.sleep(0.03)


def made(results: Path, changes: dict[str, Any]) -> RunConfig:
    """Return a DeiT run with the values of some dotted keys changed."""
    return with_values(composed("recipe=deit"), {"paths.results": str(results), **changes})


def write(path: Path, content: bytes = b"x") -> Path:
    """Write a file, its folders too, and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def keep_times(path: Path, content: bytes) -> None:
    """Overwrite a file and put its time back, as ``touch -r`` does."""
    before = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
