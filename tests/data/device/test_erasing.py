"""Boxes are spread as timm's are; noise comes into the box it was drawn for, and nowhere else."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from scaledrelu.data.device.draws import keyed_uniforms
from scaledrelu.data.device.erasing import draw_boxes, fill

# Position in the batch, top, bottom, left, right: at edges, one pixel, not in the order of images.
BOXES = torch.tensor(
    [[4, 0, 3, 0, 2], [1, 6, 7, 4, 5], [0, 2, 7, 1, 4], [5, 0, 6, 0, 4], [2, 1, 2, 0, 5]]
)


def drawn() -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Images of 7 x 5 pixels, and the noise of each box."""
    draw = torch.Generator().manual_seed(0)
    sizes = [(bottom - top, right - left) for _, top, bottom, left, right in BOXES.tolist()]
    noise = [torch.randn(3, *size, generator=draw) for size in sizes]
    return torch.rand(6, 3, 7, 5, generator=draw), noise


def joined(noise: list[torch.Tensor]) -> torch.Tensor:
    return torch.cat([one.flatten() for one in noise])


def filled(images: torch.Tensor, noise: list[torch.Tensor]) -> torch.Tensor:
    expected = images.clone()
    for (sample, top, bottom, left, right), one in zip(BOXES.tolist(), noise, strict=True):
        expected[sample, :, top:bottom, left:right] = one
    return expected


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_every_box_gets_its_own_noise_and_the_rest_stays(layout: torch.memory_format) -> None:
    images, noise = drawn()
    found = fill(images.contiguous(memory_format=layout), BOXES, joined(noise))
    assert torch.equal(found, filled(images, noise))
    assert torch.equal(found[3], images[3])


def boxes_of_timm(count, size):
    from timm.data.random_erasing import RandomErasing

    erase = RandomErasing(1.0, mode="pixel", max_count=1, device="cpu")
    random.seed(0)
    torch.manual_seed(0)
    shapes = []
    for _ in range(count):
        mask = erase(torch.zeros(1, size, size))[0] != 0
        rows, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
        shapes.append(
            [
                rows.max() - rows.min() + 1,
                columns.max() - columns.min() + 1,
                rows.min(),
                columns.min(),
            ]
        )
    return np.array(shapes, dtype=float)


def test_boxes_are_distributed_as_those_of_timm():
    count, size = 3000, 32
    draws = keyed_uniforms(1, np.arange(count), np.zeros(count, dtype=np.int64), 45)
    boxes = draw_boxes(draws, 1.0, size, size)
    assert len(boxes.samples) == count
    ours = np.stack(
        [boxes.bottom - boxes.top, boxes.right - boxes.left, boxes.top, boxes.left], axis=1
    )
    theirs = boxes_of_timm(count, size)
    for mine, reference in zip(ours.T, theirs.T, strict=True):
        # Two-sample Kolmogorov-Smirnov distance; 0.035 is its 5% point at these sizes.
        grid = np.arange(size + 1)
        distance = np.abs((mine[:, None] <= grid).mean(0) - (reference[:, None] <= grid).mean(0))
        assert distance.max() < 0.045


def test_four_numbers_of_a_box_are_drawn_apart():
    draws = keyed_uniforms(1, np.arange(3000), np.zeros(3000, dtype=np.int64), 45)
    boxes = draw_boxes(draws, 1.0, 32, 32)
    tall, wide = boxes.bottom - boxes.top, boxes.right - boxes.left
    drawn = [tall * wide, tall / wide, boxes.top / (33 - tall), boxes.left / (33 - wide)]
    assert np.abs(np.corrcoef(drawn) - np.eye(4)).max() < 0.15


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_fills_in_the_same_and_nothing_waits_for_it() -> None:
    images, noise = drawn()
    there = [x.cuda() for x in (images, BOXES, joined(noise))]
    fill(there[0].clone(), *there[1:])
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = fill(*there)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.equal(found.cpu(), filled(images, noise))
