"""A GPU that is not there: tensors on it have shapes and a device, but no values."""

from __future__ import annotations

import torch
from torch._subclasses.fake_tensor import FakeTensorMode


def pretended_gpu() -> FakeTensorMode:
    """Return a mode in which ``device="cuda"`` works and whatever asks for a value raises.

    With torch 2.15 the mode registers a GPU. A first backward pass after that would start threads
    for it, and autograd would refuse to work in every process that is forked later; so one is made
    before.
    """
    # Not Tensor.backward, which a test may have replaced.
    torch.autograd.backward(torch.zeros((), requires_grad=True))
    return FakeTensorMode(allow_non_fake_inputs=True)
