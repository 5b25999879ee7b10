"""Folders of images, opened as a run opens them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from scaledrelu.data.datasets import Splits, open_image_folder


def open_folder(root: Path | str, **changes: Any) -> Splits:
    """Open ``train`` and ``val`` at 16 pixels, with some fields changed."""
    fields = {"train": "train", "val": "val", "image_size": 16, **changes}
    return open_image_folder(root=str(root), **fields)
