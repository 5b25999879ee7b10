"""A box of an augmented image without the rest: operations are done where the box needs them.

The crop comes last in the official order, so most of what RandAugment does to an image is cut away
again. Pixels of the box are those of the whole image, changed and then cut, except where a moved
pixel falls just on one of the original: there the last bit may decide between two neighbouring
levels, or on the border between level and fill colour, and a later Solarize may make more of that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from scaledrelu.data.device.affine import source_points
from scaledrelu.data.device.policy import ENTRIES
from scaledrelu.data.regions import Encoded
from scaledrelu.labels.rand_augment import MOVES, Change

if TYPE_CHECKING:
    from scaledrelu.data.crops import Picture

# How far away from a pixel an operation looks for its new value, by timm's names. The others look
# at all of the image: for its histogram, its mean, or because they move pixels.
REACH = {
    "Invert": 0,
    "Posterize": 0,
    "PosterizeIncreasing": 0,
    "PosterizeOriginal": 0,
    "Solarize": 0,
    "SolarizeIncreasing": 0,
    "SolarizeAdd": 0,
    "Color": 0,
    "ColorIncreasing": 0,
    "Brightness": 0,
    "BrightnessIncreasing": 0,
    "Sharpness": 1,
    "SharpnessIncreasing": 1,
}


@dataclass(frozen=True, slots=True)
class Box:
    """A part of an image: its first row and column, rows and columns."""

    top: int
    left: int
    height: int
    width: int

    def around(self, pixels: int, whole: Box) -> Box:
        """Return this box and so many pixels around it, as far as they are in the image.

        Args:
            pixels: on every side.
            whole: all of the image.
        """
        top, left = max(0, self.top - pixels), max(0, self.left - pixels)
        bottom = min(whole.height, self.top + self.height + pixels)
        right = min(whole.width, self.left + self.width + pixels)
        return Box(top, left, bottom - top, right - left)

    def within(self, other: Box) -> tuple[int, int, int, int]:
        """Return Pillow's corners of this box in the image that another box has cut out.

        Args:
            other: a box that holds this one.
        """
        left, top = self.left - other.left, self.top - other.top
        return left, top, left + self.width, top + self.height


class Whole:
    """An image of which boxes are taken, decoded as far as they need it.

    Args:
        image: RGB, of any size.
        mirrored: exchange left and right first.

    Attributes:
        box: all of it.
        outline: 3 x height x width, uint8, for whoever draws a box: the size is what counts.
    """

    def __init__(self, image: Picture | Encoded, *, mirrored: bool):
        self._image, self._mirrored = image, mirrored
        if isinstance(image, Image.Image):
            self.outline = torch.empty(1, dtype=torch.uint8).expand(3, image.height, image.width)
        else:
            self.outline = image.outline if isinstance(image, Encoded) else image
        self.box = Box(0, 0, *self.outline.shape[1:])

    def cut(self, box: Box) -> Image.Image:
        """Return a box of the image.

        Args:
            box: part of the image as it is after the mirroring.

        Raises:
            DataError, BadImageError: if an undecoded image turns out to be bad.
        """
        if not self._mirrored:
            return self._cut(box)
        other_side = self.box.width - box.left - box.width
        part = self._cut(Box(box.top, other_side, box.height, box.width))
        return part.transpose(Image.Transpose.FLIP_LEFT_RIGHT)

    def _cut(self, box: Box) -> Image.Image:
        if isinstance(self._image, Image.Image):
            return self._image if box == self.box else self._image.crop(box.within(self.box))
        if isinstance(self._image, Encoded):
            return _as_image(self._image.crop(box.top, box.left, box.height, box.width))
        rows, columns = slice(box.top, box.top + box.height), slice(box.left, box.left + box.width)
        return _as_image(self._image[:, rows, columns])


def changed_box(image: Whole, changes: Sequence[Change], box: Box) -> Image.Image:
    """Return a box of an image after all changes.

    The last changes that look at near pixels alone are done to the box and what they see around it.

    Args:
        image: before the changes.
        changes: all of them, in order.
        box: part of the changed image.
    """
    num_first = len(changes)
    while num_first and changes[num_first - 1].name in REACH:
        num_first -= 1
    first, last = changes[:num_first], changes[num_first:]
    wide = box.around(sum(REACH[change.name] for change in last), image.box)
    part = _changed_as_whole(image, first, wide)
    for change in last:
        part = change(part)
    return part if wide == box else part.crop(box.within(wide))


def _changed_as_whole(image: Whole, changes: Sequence[Change], box: Box) -> Image.Image:
    """Return a box after changes that need the whole image; only the last move does without."""
    if not changes:
        return image.cut(box)
    *before, last = changes
    whole = image.cut(image.box)
    for change in before:
        whole = change(whole)
    return (
        _moved_box(whole, last, box)
        if last.name in MOVES
        else last(whole).crop(box.within(image.box))
    )


def _moved_box(image: Image.Image, move: Change, box: Box) -> Image.Image:
    """Return a box of an image that Pillow has rotated, sheared or translated."""
    op, amounts = np.array([ENTRIES[move.name].op]), np.array(move.amounts)
    a, b, c, d, e, f = source_points(op, amounts, image.height, image.width)[0].tolist()
    x, y = box.left, box.top
    return image.transform(
        (box.width, box.height),
        Image.Transform.AFFINE,
        (a, b, a * x + b * y + c, d, e, d * x + e * y + f),
        **move.options,
    )


def _as_image(pixels: Tensor) -> Image.Image:
    """Return 3 x h x w, uint8, as Pillow's image."""
    return Image.fromarray(pixels.permute(1, 2, 0).numpy())
