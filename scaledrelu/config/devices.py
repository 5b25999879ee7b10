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
    return bool(visible_gpus())


def visible_gpus() -> list[str]:
    """Return the NVIDIA GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    present = sorted(path.name for path in Path("/dev").glob("nvidia[0-9]*"))
    if not present and not Path("/dev/dxg").exists():  # dxg: Windows' subsystem for Linux
        return []
    asked = os.environ.get("CUDA_VISIBLE_DEVICES")
    if asked is None:
        return [str(number) for number in range(max(1, len(present)))]
    chosen = [name.strip() for name in asked.split(",")]
    return [] if chosen[0] in ("", "-1") else chosen
