"""Layers of operations on a batch: the images of one operation are changed together."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from torch import Tensor

from scaledrelu.data.device.affine import move
from scaledrelu.data.device.blur import blur
from scaledrelu.data.device.colour import grey, saturate, sharpen, turn_hue
from scaledrelu.data.device.draws import sent
from scaledrelu.data.device.lut import look_up
from scaledrelu.data.device.ops import Layer, Op
from scaledrelu.data.device.portions import portions

_ALONE: dict[Op, Callable[[Tensor, np.ndarray], Tensor]] = {
    Op.COLOR: saturate,
    Op.GREY: grey,
    Op.HUE: turn_hue,
    Op.SHARPNESS: sharpen,
    Op.BLUR: blur,
}
_TOGETHER = [(Op.INVERT, Op.EQUALIZE), (Op.SHEAR_X, Op.TRANSLATE_X), (Op.SHEAR_Y, Op.TRANSLATE_Y),
             (Op.ROTATE, Op.ROTATE), *((op, op) for op in _ALONE)]  # fmt: skip


def apply_layers(images: Tensor, layers: Sequence[Layer], *, fill: Sequence[int] = ()) -> Tensor:
    """Return the images after all layers, one after the other; levels are whole in between.

    An image's result does not depend on the others, nor on the device.

    Args:
        images: B x 3 x H x W, uint8; left unchanged.
        layers: operations of B images each.
        fill: 3 levels for what a move brings in from outside; not needed without moves.
    """
    changed = images.clone() if any(layer.ops.any() for layer in layers) else images
    for layer in layers:
        _apply(changed, layer, fill)
    return changed


def _apply(images: Tensor, layer: Layer, fill: Sequence[int]) -> None:
    order = np.argsort(layer.ops, kind="stable")
    ops, amounts = layer.ops[order], layer.amounts[order]
    if not ops.any():
        return
    order = sent(order, images.device)
    for first, last in _TOGETHER:
        start = int(np.searchsorted(ops, first))
        stop = int(np.searchsorted(ops, last, side="right"))
        for part in portions(images, start, stop):
            where = order[part]
            chosen = images.index_select(0, where)
            images.index_copy_(0, where, _change(chosen, ops[part], amounts[part], fill))


def _change(images: Tensor, ops: np.ndarray, amounts: np.ndarray, fill: Sequence[int]) -> Tensor:
    op = Op(ops[0])
    if op in _ALONE:
        return _ALONE[op](images, amounts)
    if op <= Op.EQUALIZE:
        return look_up(images, ops, amounts)
    return move(images, ops, amounts, fill=fill)
