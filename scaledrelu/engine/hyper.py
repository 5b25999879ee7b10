"""Writes what a schedule says into the optimizer's groups, before every update."""

from __future__ import annotations

import torch

from scaledrelu.optim.cosine import CosineSchedule
from scaledrelu.optim.schedule import LrSchedule


def set_lr(optimizer: torch.optim.Optimizer, schedule: LrSchedule, step: int) -> float:
    """Set the rate of every parameter group at a step; return that of a group without factors.

    A group's ``peak_factor`` goes into its curve, its ``lr_scale`` multiplies the result.
    """
    lr = schedule.at(step)
    for group in optimizer.param_groups:
        factor = group.get("peak_factor")
        own = lr if factor is None else schedule.at(step, peak_factor=factor)
        group["lr"] = own * group.get("lr_scale", 1.0)
    return lr


def set_weight_decay(
    optimizer: torch.optim.Optimizer, schedule: CosineSchedule | None, step: int
) -> None:
    """Set the weight decay of the groups that decay; without a schedule: nothing."""
    for group in optimizer.param_groups if schedule else ():
        if group["decays"]:
            group["weight_decay"] = schedule.at(step)
