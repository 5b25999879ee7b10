"""Floating-point operations of one training step, counted by torch on the meta device."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from scaledrelu.data.batch import Batch
from scaledrelu.tasks.base import Progress, Task


def task_flops(task: Task, batch: Batch, t: Progress, images: int) -> float:
    """Return the operations of a task's loss and its gradient per image; see ``training_flops``.

    A copy of the task computes them for real: the meta device knows no autocast.

    Args:
        task: not changed.
        batch: one group.
        t: the step at which it is seen.
        images: number of images in the batch (crops of one image count as one).
    """
    twin = _unfused(copy.deepcopy(task).train())
    counter = FlopCounterMode(display=False)
    with counter:
        twin(batch, t).loss.backward()
    return counter.get_total_flops() / images


def training_flops(model: nn.Module, image_size: int) -> float:
    """Return the operations of one forward and backward pass per image; 2 per multiply-add.

    Products and convolutions only. Attention is counted as its two products and the four of its
    backward pass, whatever kernel computes them.

    Args:
        model: (B, 3, H, W) -> logits; not changed.
        image_size: pixels per side.
    """
    ghost = _unfused(copy.deepcopy(model).to("meta").train())
    images = torch.zeros(2, 3, image_size, image_size, device="meta")  # BatchNorm needs two
    counter = FlopCounterMode(display=False)
    with counter:
        ghost(images).sum().backward()
    return counter.get_total_flops() / len(images)


def _unfused(model: nn.Module) -> nn.Module:
    for module in model.modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = False
    return model
