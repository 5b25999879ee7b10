"""The words of augmentation on the device: one operation and one amount for every image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum, auto

import numpy as np
from torch import Tensor


class Op(IntEnum):
    """What happens to an image; beside it, what its amount means.

    Operations that are done together stand together.
    """

    NONE = 0
    # Tables that the amount alone decides.
    INVERT = auto()
    POSTERIZE = auto()  # bits to keep
    SOLARIZE = auto()  # first level that is inverted
    SOLARIZE_ADD = auto()  # added to levels below 128
    BRIGHTNESS = auto()  # factor
    # Tables that the image decides, too.
    CONTRAST = auto()  # factor
    AUTO_CONTRAST = auto()
    EQUALIZE = auto()
    # Moves along rows, along columns, along both.
    SHEAR_X = auto()  # pixels per row
    TRANSLATE_X = auto()  # share of the width
    SHEAR_Y = auto()  # pixels per column
    TRANSLATE_Y = auto()  # share of the height
    ROTATE = auto()  # degrees
    COLOR = auto()  # factor
    GREY = auto()
    HUE = auto()  # share of the circle
    SHARPNESS = auto()  # factor
    BLUR = auto()  # standard deviation in pixels


@dataclass(frozen=True, slots=True)
class Layer:
    """One operation on every image of a batch.

    Attributes:
        ops: B values of Op, int64.
        amounts: B amounts, float64.
    """

    ops: np.ndarray
    amounts: np.ndarray

    @staticmethod
    def some(op: Op, chosen: np.ndarray, amounts: np.ndarray | float = 0.0) -> Layer:
        """Return an operation on the chosen images alone.

        Args:
            op: the operation.
            chosen: B booleans.
            amounts: its amounts, or one for all.
        """
        return Layer(
            np.where(chosen, int(op), int(Op.NONE)), np.broadcast_to(amounts, chosen.shape)
        )


@dataclass(frozen=True, slots=True)
class Change:
    """An operation on some images, before the host's numbers for it are sent to their device.

    Attributes:
        on_device: what is done there: from n x 3 x H x W, uint8, which it may overwrite, and the
            numbers, as tensors, to the changed images.
        numbers: arrays, computed on the host.
    """

    on_device: Callable[..., Tensor]
    numbers: tuple[np.ndarray, ...] = ()


def join_layers(parts: Sequence[Sequence[Layer]]) -> list[Layer]:
    """Return the layers of several batches, image after image.

    Args:
        parts: the layers of each batch, of all the same number.
    """
    return [
        Layer(np.concatenate([x.ops for x in same]), np.concatenate([x.amounts for x in same]))
        for same in zip(*parts, strict=True)
    ]
