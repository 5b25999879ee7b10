"""Whether a run would find a GPU, and can do without one, answered without loading torch."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from scaledrelu.errors import ConfigError


def on_gpu(device: str) -> bool:
    """Say whether a run with this ``launch.device`` would take a GPU."""
    return device == "cuda" or (device == "auto" and gpu_visible())


def refuse_fp16_on_cpu(config: dict[str, Any], *, on_cpu: bool) -> None:
    """Refuse to train in half precision where it is emulated, and says nothing of a GPU.

    Raises:
        ConfigError: with what to write instead.
    """
    precision, launch = config["precision"], config["launch"]
    if on_cpu and precision["autocast"] == "fp16" and not launch["fp16_on_cpu"]:
        raise ConfigError(
            f"precision.autocast=fp16 on a CPU (launch.device={launch['device']}): write "
            "precision=fp32 (another run), or launch.fp16_on_cpu=true to train so all the same"
        )


def gpu_visible() -> bool:
    """Say whether this process may use an NVIDIA GPU."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1"):
        return False
    return any(Path("/dev").glob("nvidia[0-9]*")) or Path("/dev/dxg").exists()
