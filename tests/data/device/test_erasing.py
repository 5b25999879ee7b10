"""Noise that was drawn on the host comes into the boxes it was drawn for, and nowhere else."""

from __future__ import annotations

import pytest
import torch

from scaledrelu.data.device.erasing import fill

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
