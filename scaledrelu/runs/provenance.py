"""Where and with which versions a run was made: devices, software, and bad images."""

from __future__ import annotations

import platform
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from scaledrelu.config.launch import visible_cores
from scaledrelu.data.datasets import Splits
from scaledrelu.engine.distributed import World
from scaledrelu.text import plural

LISTED = 100  # names of bad images in a result; the count is always complete


@dataclass(frozen=True, slots=True)
class Share:
    """What only one process knows.

    Attributes:
        device: name of its device.
        owner: owner of the device: the host for a processor, the process itself for a GPU.
        skipped: names of the bad images that it found, as ``<split>/<name>``.
    """

    device: str
    owner: str
    skipped: tuple[str, ...]


def gather_shares(splits: Splits, world: World) -> list[Share]:
    """Return every process's share, in rank order; all processes must call this.

    Args:
        splits: the data set as this process opened and read it.
        world: this process's place among the run's processes.
    """
    on_gpu = world.device.type == "cuda"
    named = {"train": splits.train, "val": splits.val}
    return world.gather(
        Share(
            device=device_name(world.device),
            owner=f"rank {world.rank}" if on_gpu else platform.node(),
            skipped=tuple(f"{split}/{n}" for split, s in named.items() for n in s.skipped),
        )
    )


def describe_devices(shares: Sequence[Share]) -> str:
    """Return the devices of all processes: ``8 x NVIDIA H100``, ``CPU AMD EPYC, 2 cores``."""
    owned = Counter(device for device, _ in {(s.device, s.owner) for s in shares})
    return "; ".join(f"{n} x {name}" if n > 1 else name for name, n in sorted(owned.items()))


def skipped_images(shares: Sequence[Share]) -> dict[str, Any]:
    """Return count and names of the bad images that any process found, each once."""
    names = sorted({name for share in shares for name in share.skipped})
    return {"num_skipped_images": len(names), "skipped_images": names[:LISTED]}


def device_name(device: torch.device) -> str:
    """Return the name of the GPU, or of the processor with the cores that this process may use."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU {_processor()}, {plural(visible_cores(), 'core')}"


def versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that compute."""
    import timm

    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "timm": timm.__version__,
    }


def _processor() -> str:
    try:
        found = re.search(r"model name\s*: (.*\S)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return found.group(1) if found else platform.processor() or platform.machine() or "unknown"
