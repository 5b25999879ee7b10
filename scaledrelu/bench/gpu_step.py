"""What one step does on a GPU: how often the host waits, and which kernels run."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.autograd import DeviceType

STEPS = 2


@dataclass(frozen=True, slots=True)
class Kernels:
    """Those of one step: how many, copies and fills included, and the sum of their times."""

    count: int
    ms: float


def host_syncs(step: Callable[[], object], device: torch.device) -> int | None:
    """Return how often one step makes the host wait for the GPU; None on a CPU.

    Args:
        step: one training step.
        device: the device.
    """
    if device.type != "cuda":
        return None
    torch.cuda.synchronize(device)
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchronizing CUDA operation" in str(warning.message) for warning in seen)


def count_kernels(step: Callable[[], object], device: torch.device) -> Kernels | None:
    """Return the kernels, copies and fills of a step that is warm; None on a CPU.

    Args:
        step: one training step.
        device: the device.
    """
    if device.type != "cuda":
        return None
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as seen:
        for _ in range(STEPS):
            step()
        torch.cuda.synchronize(device)
    # A range that torch marks, such as Optimizer.step, is listed beside the kernels inside it.
    found = [
        event
        for event in seen.events()
        if event.device_type == DeviceType.CUDA and not event.is_user_annotation
    ]
    return Kernels(len(found) // STEPS, sum(e.self_device_time_total for e in found) / 1e3 / STEPS)
