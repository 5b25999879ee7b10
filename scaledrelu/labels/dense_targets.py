"""From label maps and crop boxes to soft targets: one per token and one for the class head.

Pooling a box is linear and separable in rows and columns, so it is two small matrix products
instead of one region-of-interest kernel per class. Shapes: B images, N tokens, C classes.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from scaledrelu.config.augment import OFFICIAL


@torch.no_grad()
def dense_targets(
    maps: Tensor,
    boxes: Tensor,
    *,
    num_classes: int,
    grid: tuple[int, int],
    smoothing: float,
    axes: str,
) -> tuple[Tensor, Tensor]:
    """Return the class targets and the token targets of a group, softmaxed and smoothed.

    Args:
        maps: B x 2 x K x h x w; plane 0 the K largest logits of a cell, plane 1 their classes.
            Every other class of a cell has logit 0.
        boxes: B x 4; what the model sees of the map as (top, left, height, width) fractions.
        num_classes: C; every class in ``maps`` is below it.
        grid: rows and columns of tokens.
        smoothing: s; a probability p becomes p (1 - s + s / C) + s / C, so that a target sums to
            1 + s / C, as officially.
        axes: official exchanges rows and columns of the box, as the official code does; corrected
            does not.

    Returns:
        Class targets B x C and token targets B x N x C, tokens row by row, float32.
    Source: recipes B.4 (TLT ``get_featuremaps``, ``get_label``, ``get_labelmaps_with_coords``).
    """
    with torch.autocast(maps.device.type, enabled=False):  # logits need every digit
        scattered = scatter_logits(maps, num_classes)
        spans = box_spans(boxes, maps.shape[-2], maps.shape[-1], axes=axes)
        pooled = [pool(scattered, *spans, size) for size in ((1, 1), grid)]
    off = smoothing / num_classes
    class_BNC, token_BNC = (
        logits.softmax(-1).mul_(1.0 - smoothing + off).add_(off) for logits in pooled
    )
    return class_BNC[:, 0], token_BNC


def scatter_logits(maps: Tensor, num_classes: int) -> Tensor:
    """Return B x h x w x C, float32: the listed logits, zero elsewhere.

    Args:
        maps: B x 2 x K x h x w; plane 0 the K largest logits of a cell, plane 1 their classes.
        num_classes: C.
    """
    batch, _, _, height, width = maps.shape
    logits, classes = maps.permute(1, 0, 3, 4, 2)
    full = torch.zeros(batch, height, width, num_classes, device=maps.device)
    return full.scatter_(3, classes.long(), logits.float())


def box_spans(boxes: Tensor, height: int, width: int, *, axes: str) -> tuple[Tensor, Tensor]:
    """Return where a box starts and ends on the map's rows and on its columns, each B x 2.

    Args:
        boxes: B x 4; (top, left, height, width) fractions of the map.
        height: rows of the map.
        width: columns of the map.
        axes: official exchanges rows and columns of the box; corrected does not.

    Source: recipes B.4: fraction x map width - 0.5; a map is square in the official code.
    """
    top, left, tall, wide = boxes.float().unbind(1)
    rows, columns = torch.stack((top, top + tall), 1), torch.stack((left, left + wide), 1)
    if axes == OFFICIAL:
        return columns * width - 0.5, rows * width - 0.5
    return rows * height - 0.5, columns * width - 0.5


def pool(cells: Tensor, rows: Tensor, columns: Tensor, size: tuple[int, int]) -> Tensor:
    """Average the interpolated content of each bin of a box: RoI align, not aligned, adaptive.

    Args:
        cells: B x h x w x C.
        rows: B x 2; start and end of the box on the rows, in cells.
        columns: B x 2; start and end of the box on the columns, in cells.
        size: number of bins, (p, q).

    Returns:
        B x (p q) x C.
    Source: torchvision ``roi_align`` with ``aligned=False, sampling_ratio=-1``.
    """
    batch, height, width, _ = cells.shape
    longest = max(height, width)  # of a span: known without asking the device
    across = interpolation(columns, bins=size[1], cells=width, longest=longest)  # B x q x w
    down = interpolation(rows, bins=size[0], cells=height, longest=longest)  # B x p x h
    partly = (across[:, None] @ cells).flatten(2)  # B x h x (q C)
    return (down @ partly).view(batch, size[0] * size[1], -1)


def interpolation(spans: Tensor, *, bins: int, cells: int, longest: int) -> Tensor:
    """Return B x bins x cells: the share of every cell in the mean of every bin of a span.

    A span shorter than a cell counts as one cell; a bin is sampled at ceil(length / bins) points;
    points more than a cell outside the map count as zero.

    Args:
        spans: B x 2; start and end, in cells.
        bins: number of bins of equal length.
        cells: number of cells of the map along this axis.
        longest: upper bound of the length of a span, in cells.
    """
    start = spans[:, :1]
    length = (spans[:, 1:] - start).clamp(min=1.0)
    counts = (length / bins).ceil()
    sample = torch.arange(math.ceil(longest / bins) + 1, device=spans.device)
    offset = (sample + 0.5) * (length / bins / counts)  # B x samples
    bin_start = start + torch.arange(bins, device=spans.device) * (length / bins)
    at = bin_start[:, :, None] + offset[:, None]  # B x bins x samples
    weight = (sample < counts) / counts
    weight = weight[:, None] * ((at >= -1) & (at <= cells))
    distance = at.clamp(0, cells - 1)[..., None] - torch.arange(cells, device=spans.device)
    hat = (1 - distance.abs()).clamp(min=0)
    return torch.einsum("bps,bpsc->bpc", weight, hat)
