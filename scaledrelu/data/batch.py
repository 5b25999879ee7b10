"""What travels from a loader to a task: one group of images, before and after augmentation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class RawBatch:
    """One group as the loader yields it, before anything that happens on the device; or several.

    Attributes:
        images: B x 3 x H x W; uint8 in [0, 255] when the device augments or normalises, float and
            normalised when the reference pipeline already did. With multi-crop 2B x 3 x H x W,
            uint8: the first global crop of all images, then the second.
        targets: B class indices, int64.
        indices: B positions in the source, int64. On the host, where augmentation is drawn; in an
            evaluation with the images.
        views: B repeats of the same image within the epoch (0 without repeated augmentation),
            int64, on the host.
        group: global number of the group, the first of several; BatchNorm statistics and mixup are
            per group.
        maps: B x 2 x K x h x w, half: label maps as in their files (plane 0 logits, plane 1 class
            indices), moved with the image but not cropped; None without token labels.
        boxes: B x 4, float: the crop as (top, left, height, width) fractions of the image before
            it; None without token labels.
        local: LB x 3 x h x w, uint8: the local crops of multi-crop, crop by crop; None where there
            are none.
        erased: E x 5, int64: boxes to erase once the images are normalised, each as position in the
            batch and rows and columns as half-open ranges (top, bottom, left, right); None where
            nothing is erased, or the device draws what is.
        noise: float32: what comes into these boxes, one after the other, each channel by channel
            and row by row; None where they are.
    """

    images: Tensor
    targets: Tensor
    indices: Tensor
    views: Tensor
    group: int
    maps: Tensor | None = None
    boxes: Tensor | None = None
    local: Tensor | None = None
    erased: Tensor | None = None
    noise: Tensor | None = None

    def to(self, device: Any, *, non_blocking: bool = True) -> RawBatch:
        """Return the batch with its tensors on ``device``; indices and views stay on the host.

        Images come out contiguous (channels first).

        Args:
            device: the target device.
            non_blocking: do not wait for the copy of page-locked memory.
        """
        return self._each(lambda tensor: tensor.to(device, non_blocking=non_blocking).contiguous())

    def pin_memory(self) -> RawBatch:
        """Return the batch with the tensors for the device in page-locked memory."""
        return self._each(lambda tensor: tensor.pin_memory())

    def _each(self, change: Callable[[Tensor], Tensor]) -> RawBatch:
        names = ("images", "targets", "maps", "boxes", "local", "erased", "noise")
        found = {name: getattr(self, name) for name in names}
        return replace(self, **{name: change(x) for name, x in found.items() if x is not None})


@dataclass(frozen=True, slots=True)
class Batch:
    """One group as a task sees it.

    Attributes:
        images: B x 3 x H x W, float, normalised; with multi-crop 2B x 3 x H x W, the first global
            crop of all images, then the second.
        targets: B x C soft targets in training (with token labels the label map's, not the ground
            truth), B class indices (int64) in evaluation and with multi-crop.
        group: global number of the group.
        token_targets: B x N x C soft targets of the tokens, row by row; None without token labels.
        local: LB x 3 x h x w, float, normalised: the local crops of multi-crop, crop by crop; None
            where there are none.
    """

    images: Tensor
    targets: Tensor
    group: int
    token_targets: Tensor | None = None
    local: Tensor | None = None


def lay_out(batch: Batch, layout: torch.memory_format) -> Batch:
    """Return a batch whose images, and crops, lie in memory in a given order.

    Args:
        batch: one group, or several joined ones.
        layout: the order.
    """
    found = {"images": batch.images, "local": batch.local}
    laid = {k: x.contiguous(memory_format=layout) for k, x in found.items() if x is not None}
    return replace(batch, **laid)


def join_groups(groups: Sequence[RawBatch]) -> RawBatch:
    """Return several groups as one, under the number of the first; one alone is returned as it is.

    Args:
        groups: alike, of any sizes, without label maps. Crops stay crop by crop.
    """
    if len(groups) == 1:
        return groups[0]
    numbers = {x: torch.cat([getattr(raw, x) for raw in groups]) for x in ("indices", "views")}
    return replace(groups[0], **_joined(groups, ("images", "targets", "local")), **numbers)


def split_groups(joined: RawBatch, groups: Sequence[RawBatch]) -> list[RawBatch]:
    """Return the groups that ``join_groups`` made one of, with what became of their images.

    Args:
        joined: all groups; images and crops may have changed.
        groups: the groups as they were.
    """
    sizes = [len(raw.targets) for raw in groups]
    found = {"images": joined.images, "local": joined.local}
    parts = {name: split_views(x, sizes) for name, x in found.items() if x is not None}
    return [
        replace(raw, **{name: part[at] for name, part in parts.items()})
        for at, raw in enumerate(groups)
    ]


def join_batches(batches: Sequence[Batch]) -> Batch:
    """Return several groups as one batch, under the number of the first.

    Args:
        batches: alike, of any sizes. What holds several views of each image stays view by view.
    """
    if len(batches) == 1:
        return batches[0]
    return replace(batches[0], **_joined(batches, ("images", "targets", "token_targets", "local")))


def split_views(images: Tensor, sizes: Sequence[int]) -> list[Tensor]:
    """Return the rows of each group, view by view; of a single view or group without a copy.

    Args:
        images: V x B rows of all groups, view by view; V is whatever the rows say.
        sizes: images of each group, B in all.
    """
    if len(sizes) == 1:
        return [images]
    parts = images.unflatten(0, (-1, sum(sizes))).split(list(sizes), dim=1)
    return [part.flatten(0, 1) for part in parts]


def _joined(parts: Sequence[Any], names: Sequence[str]) -> dict[str, Tensor]:
    """Return the tensors of several groups as one each, view by view; without those not there."""
    found = {name: [getattr(part, name) for part in parts] for name in names}
    sizes = [len(part.targets) for part in parts]
    return {name: _join(x, sizes) for name, x in found.items() if x[0] is not None}


def _join(parts: Sequence[Tensor], sizes: Sequence[int]) -> Tensor:
    """Join tensors of V x B rows each, view by view; V is whatever the rows say."""
    views = [part.unflatten(0, (-1, size)) for part, size in zip(parts, sizes, strict=True)]
    return torch.cat(views, dim=1).flatten(0, 1)
