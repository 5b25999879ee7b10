"""Floating-point operations of one training step, counted by torch on the meta device."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def training_flops(model: nn.Module, image_size: int) -> float:
    """Return the operations of one forward and backward pass per image; 2 per multiply-add.

    Products and convolutions only. Attention is counted as its two products and the four of its
    backward pass, whatever kernel computes them.

    Args:
        model: (B, 3, H, W) -> logits; left alone.
        image_size: pixels per side.
    """
    ghost = copy.deepcopy(model).to("meta").train()
    for module in ghost.modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = False
    images = torch.zeros(2, 3, image_size, image_size, device="meta")  # BatchNorm needs two
    counter = FlopCounterMode(display=False)
    with counter:
        ghost(images).sum().backward()
    return counter.get_total_flops() / len(images)
