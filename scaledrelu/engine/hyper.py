"""Writes what a schedule says into the optimizer's groups, before every update."""

from __future__ import annotations

import torch

from scaledrelu.optim.cosine import CosineSchedule


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> float:
    """Set the rate of every parameter group (times its ``lr_scale``, if it has one); return it."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group.get("lr_scale", 1.0)
    return lr


def set_weight_decay(
    optimizer: torch.optim.Optimizer, schedule: CosineSchedule | None, step: int
) -> None:
    """Set the weight decay of the groups that decay; without a schedule: nothing."""
    for group in optimizer.param_groups if schedule else ():
        if group["decays"]:
            group["weight_decay"] = schedule.at(step)
