"""Layers of operations on a batch: the images of one operation are changed together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from torch import Tensor

from scaledrelu.data.device.affine import move
from scaledrelu.data.device.blur import blur
from scaledrelu.data.device.colour import grey, saturate, sharpen, turn_hue
from scaledrelu.data.device.draws import sent
from scaledrelu.data.device.lut import look_up
from scaledrelu.data.device.ops import Change, Layer, Op
from scaledrelu.data.device.portions import portions

_ALONE: dict[Op, Callable[[np.ndarray], Change]] = {
    Op.COLOR: saturate,
    Op.GREY: grey,
    Op.HUE: turn_hue,
    Op.SHARPNESS: sharpen,
    Op.BLUR: blur,
}
_TOGETHER = [(Op.INVERT, Op.EQUALIZE), (Op.SHEAR_X, Op.TRANSLATE_Y), (Op.ROTATE, Op.ROTATE),
             *((op, op) for op in _ALONE)]  # fmt: skip


def apply_layers(images: Tensor, layers: Sequence[Layer], *, fill: Sequence[int] = ()) -> Tensor:
    """Return the images after all layers, one after the other; levels are whole in between.

    An image's result does not depend on the others, nor on the device.

    Args:
        images: B x 3 x H x W, uint8; left unchanged.
        layers: operations of B images each.
        fill: 3 levels for what a move brings in from outside; not needed without moves.
    """
    changes = [change for layer in layers for change in _changes(images, layer, fill)]
    if not changes:
        return images
    images = images.clone()
    numbers = iter(sent([x for change in changes for x in change.numbers], images.device))
    for change in changes:
        where, *own = [next(numbers) for _ in change.numbers]
        chosen = images.index_select(0, where)
        images.index_copy_(0, where, change.on_device(chosen, *own))
    return images


def _changes(images: Tensor, layer: Layer, fill: Sequence[int]) -> Iterator[Change]:
    """Yield what a layer does; the numbers of each change begin with where its images stand."""
    order = np.argsort(layer.ops, kind="stable")
    ops, amounts = layer.ops[order], layer.amounts[order]
    for first, last in _TOGETHER:
        start = int(np.searchsorted(ops, first))
        stop = int(np.searchsorted(ops, last, side="right"))
        for part in portions(images, start, stop):
            change = _change(ops[part], amounts[part], images.shape[-2:], fill)
            yield Change(change.on_device, (order[part], *change.numbers))


def _change(
    ops: np.ndarray, amounts: np.ndarray, size: tuple[int, int], fill: Sequence[int]
) -> Change:
    op = Op(ops[0])
    if op in _ALONE:
        return _ALONE[op](amounts)
    if op <= Op.EQUALIZE:
        return look_up(ops, amounts)
    return move(ops, amounts, size=size, fill=fill)
