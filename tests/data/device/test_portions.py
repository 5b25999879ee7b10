"""What an operation does to images does not depend on how many it changes at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from scaledrelu.data.device import portions
from scaledrelu.data.device.apply import apply_layers
from scaledrelu.data.device.draws import keyed_uniforms
from scaledrelu.data.device.erasing import NUM_DRAWS, erase
from scaledrelu.data.device.ops import Op
from scaledrelu.data.device.portions import portions as portions_of
from tests.helpers.pictures import AMOUNTS, FILL, OF_PILLOW, layer, pictures

SIDE, COUNT = 24, 2 * len(OF_PILLOW)


@pytest.mark.parametrize("pixels", [1, 3 * SIDE * SIDE, 1 << 40])
def test_portions_hold_every_image_once(monkeypatch: pytest.MonkeyPatch, pixels: int) -> None:
    monkeypatch.setattr(portions, "_PIXELS_IN_CACHE", pixels)
    parts = list(portions_of(torch.empty(20, 3, SIDE, SIDE), 4, 15))
    assert [i for part in parts for i in range(part.start, part.stop)] == list(range(4, 15))
    assert max(part.stop - part.start for part in parts) == min(11, max(1, pixels // SIDE**2))


@pytest.mark.parametrize("pixels", [1, 3 * SIDE * SIDE])
def test_portions_change_nothing(monkeypatch: pytest.MonkeyPatch, pixels: int) -> None:
    ops = [Op(op) for op in OF_PILLOW for _ in range(2)]
    colours = layer(ops, [AMOUNTS.get(op, (0, 0))[0] for op in ops])
    draws = keyed_uniforms(0, np.arange(COUNT), np.zeros(COUNT, dtype=np.int64), NUM_DRAWS)

    def changed() -> torch.Tensor:
        images = apply_layers(pictures(COUNT, SIDE, SIDE), [colours], fill=FILL)
        return erase(images.float(), draws, 0.8)

    monkeypatch.setattr(portions, "_PIXELS_IN_CACHE", 1 << 40)
    whole = changed()
    monkeypatch.setattr(portions, "_PIXELS_IN_CACHE", pixels)
    assert torch.equal(changed(), whole)
