"""The words of ``precision.autocast`` and ``launch.sdpa`` as torch understands them."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

DTYPES = {"none": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
SDPA = {  # in the order in which they are tried; torch's own order ends with cuDNN
    "default": [],
    "cudnn": [
        SDPBackend.CUDNN_ATTENTION,
        SDPBackend.FLASH_ATTENTION,
        SDPBackend.EFFICIENT_ATTENTION,
        SDPBackend.MATH,
    ],
}


def autocast_context(autocast: str, device: torch.device) -> AbstractContextManager[Any]:
    """Return the autocast context of a precision; with none, one that does nothing.

    Args:
        autocast: none | fp16 | bf16.
        device: the model's device.
    """
    if autocast == "none":
        return nullcontext()
    return torch.autocast(device.type, dtype=DTYPES[autocast])


def sdpa_context(sdpa: str) -> AbstractContextManager[Any]:
    """Return the context in which a forward pass prefers a kernel of fused attention.

    Args:
        sdpa: default | cudnn.
    """
    order = SDPA[sdpa]
    return sdpa_kernel(order, set_priority=True) if order else nullcontext()
