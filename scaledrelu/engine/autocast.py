"""The words of ``precision.autocast`` as torch understands them."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

DTYPES = {"none": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def autocast_context(autocast: str, device: torch.device) -> AbstractContextManager[Any]:
    """Return the autocast context of a precision; with none, one that does nothing.

    Args:
        autocast: none | fp16 | bf16.
        device: the model's device.
    """
    if autocast == "none":
        return nullcontext()
    return torch.autocast(device.type, dtype=DTYPES[autocast])
