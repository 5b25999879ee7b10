"""A GPU that is not there: torch's fake tensors have shapes and devices, but no values."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch._subclasses.fake_tensor import FakeTensorMode


@contextmanager
def pretended_gpu() -> Iterator[None]:
    """Inside, tensors may lie on "cuda"; what asks for a value or mixes devices raises.

    The first backward pass of a process starts a thread for each GPU, pretended ones included, and
    with such threads torch refuses to train in a fork. So it comes before.
    """
    torch.autograd.backward(torch.zeros((), requires_grad=True))
    with FakeTensorMode(allow_non_fake_inputs=True):
        yield
