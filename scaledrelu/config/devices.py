"""Whether a run would find a GPU, answered without loading torch."""

from __future__ import annotations

import os
from pathlib import Path


def gpu_visible() -> bool:
    """Say whether this process may use an NVIDIA GPU."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1"):
        return False
    return any(Path("/dev").glob("nvidia[0-9]*")) or Path("/dev/dxg").exists()
