"""RandAugment for an image and its label map: what moves pixels also moves cells.

timm draws; what it drew is noted and done later, to the image or to a part of it, and to the map.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from scaledrelu.config.data import UNLABELLED
from scaledrelu.errors import ConfigError

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True, slots=True)
class Change:
    """A drawn operation on an image.

    Attributes:
        name: timm's.
        function: (image, *amounts, **options) -> changed image.
        amounts: how much; the operations of ``MOVES`` have one amount.
        options: fill colour and filter of operations that move pixels.
    """

    name: str
    function: Callable[..., Image]
    amounts: tuple[float, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)

    def __call__(self, image: Image) -> Image:
        """Return the changed image.

        Args:
            image: RGB, of any size.
        """
        return self.function(image, *self.amounts, **self.options)


@dataclass(frozen=True, slots=True)
class Move:
    """Where a cell of a moved map comes from: row = rr r + rc c + r0, column = cr r + cc c + c0."""

    rr: float = 1.0
    rc: float = 0.0
    r0: float = 0.0
    cr: float = 0.0
    cc: float = 1.0
    c0: float = 0.0


class DrawRandAugment:
    """Draws the operations of timm's RandAugment, from the generators of random and numpy.

    Args:
        policy: timm policy string, e.g. "rand-m9-mstd0.5-inc1".
        image_size: side in pixels after the crop.
        mean: 3 channel means, in [0, 1]; fill what comes in from outside the image.
        interpolation: filter of geometric operations; random = bilinear or bicubic, drawn anew.

    Raises:
        ConfigError: if the policy is not RandAugment.
    Source: recipes A.5 step 3, B.4 (TLT ``random_augment_label.py``).
    """

    def __init__(self, policy: str, *, image_size: int, mean: Sequence[float], interpolation: str):
        from timm.data.auto_augment import rand_augment_transform
        from timm.data.transforms import str_to_pil_interp

        if not policy.startswith("rand"):
            raise ConfigError(
                f"augment.rand_augment={policy}: cannot move label maps; use a RandAugment policy "
                f"(e.g. rand-m9-mstd0.5-inc1) or null, or set {UNLABELLED}"
            )
        hparams: dict[str, Any] = {
            "translate_const": int(image_size * 0.45),
            "img_mean": tuple(min(255, round(255 * x)) for x in mean),
        }
        if interpolation != "random":
            hparams["interpolation"] = str_to_pil_interp(interpolation)
        self._augment = rand_augment_transform(policy, hparams)
        self._drawn: list[Change] = []
        for op in self._augment.ops:
            op.aug_fn = _Noting(op.name, op.aug_fn, self._drawn)

    def __call__(self) -> list[Change]:
        """Return the operations for one image, in order."""
        self._drawn.clear()
        self._augment(None)
        return list(self._drawn)


class _Noting:
    """Stands for an operation of timm, and notes how it is called."""

    def __init__(self, name: str, function: Callable[..., Image], drawn: list[Change]):
        self._name, self._function, self._drawn = name, function, drawn

    def __call__(self, image: None, *amounts: float, **options: Any) -> None:
        if self._name in MOVES and isinstance(options["resample"], tuple):
            options["resample"] = random.choice(options["resample"])  # where timm draws it, too
        self._drawn.append(Change(self._name, self._function, amounts, options))


def moved_labels(labels: Tensor, changes: Sequence[Change]) -> Tensor:
    """Return a label map after what moves pixels among the changes of its image.

    Args:
        labels: 2 x K x h x w; left unchanged.
        changes: all of the image's, in order.
    """
    for change in changes:
        if change.name in MOVES:
            labels = move_map(labels, MOVES[change.name](*change.amounts, *labels.shape[-2:]))
    return labels


def move_map(labels: Tensor, move: Move) -> Tensor:
    """Return a moved label map: every cell from the nearest one, logits 0 outside the map.

    Args:
        labels: 2 x K x h x w.
        move: where each cell comes from.
    Source: TLT ``random_augment_label.py: affine_label`` (scipy ``affine_transform``, order 0;
        mode constant for the logits, nearest for the classes).
    """
    height, width = labels.shape[-2:]
    r = torch.arange(height, dtype=torch.float64)[:, None]
    c = torch.arange(width, dtype=torch.float64)[None]
    row = (move.r0 + move.rr * r) + move.rc * c  # in scipy's order: halves are rounded alike
    column = (move.c0 + move.cr * r) + move.cc * c
    outside = (row < 0) | (row > height - 1) | (column < 0) | (column > width - 1)
    rows = (row + 0.5).floor().clamp(0, height - 1).long()
    columns = (column + 0.5).floor().clamp(0, width - 1).long()
    moved = labels[:, :, rows, columns]
    moved[0].masked_fill_(outside, 0.0)
    return moved


def _rotate(degrees: float, height: int, width: int) -> Move:
    """Turn about the centre, counter-clockwise like the image.

    Numbers are rounded and added as officially: at 30 degrees sources lie halfway between cells.
    """
    angle = math.radians(degrees)
    cos, sin = round(math.cos(angle), 15), round(math.sin(angle), 15)
    middle_r, middle_c = height / 2.0, width / 2.0
    return Move(
        rr=cos,
        rc=sin,
        r0=-cos * middle_r - sin * middle_c + middle_r,
        cr=-sin,
        cc=cos,
        c0=sin * middle_r - cos * middle_c + middle_c,
    )


# Map counterparts of timm's geometric operations, by timm's names: (amount, h, w) -> Move. As in
# the official code, indices count from a cell's corner here and from its centre in an image: a
# difference of at most half a cell.
MOVES: dict[str, Callable[[float, int, int], Move]] = {
    "Rotate": _rotate,
    "ShearX": lambda factor, height, width: Move(cr=factor),
    "ShearY": lambda factor, height, width: Move(rc=factor),
    "TranslateXRel": lambda share, height, width: Move(c0=share * width),
    "TranslateYRel": lambda share, height, width: Move(r0=share * height),
}
