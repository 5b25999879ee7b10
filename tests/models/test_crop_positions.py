"""Positions of small crops equal a cubic convolution written out in float64."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from tests.helpers.model_builders import DEIT_S, make_vit


def cubic(distance, a=-0.75):
    """Keys' kernel with PyTorch's parameter (recipes J)."""
    d = abs(distance)
    if d <= 1:
        return (a + 2) * d**3 - (a + 3) * d**2 + 1
    return a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a if d < 2 else 0.0


def taps(old, new):
    """Weights (new x old) of one axis: sampled at a scale a tenth of a cell too large."""
    weights = np.zeros((new, old))
    for i in range(new):
        source = (i + 0.5) * old / (new + 0.1) - 0.5
        for k in range(math.floor(source) - 1, math.floor(source) + 3):
            weights[i, min(max(k, 0), old - 1)] += cubic(source - k)
    return weights


@pytest.mark.parametrize("grid", [(6, 6), (16, 8), (2, 13), (28, 28)], ids=str)
def test_positions_of_another_grid_equal_the_written_out_convolution(grid):
    model = make_vit(**(DEIT_S | {"depth": 1, "width": 4, "heads": 1})).double()
    torch.manual_seed(3)
    model.pos_embed = nn.Parameter(torch.randn(1, 197, 4, dtype=torch.float64))
    patches = model.pos_embed.detach()[0, 1:].numpy().reshape(14, 14, 4)
    expected = np.einsum("ih,jw,hwd->ijd", taps(14, grid[0]), taps(14, grid[1]), patches)
    found = model._positions(grid)[0].detach().numpy()
    np.testing.assert_allclose(found[1:], expected.reshape(-1, 4), rtol=1e-9, atol=1e-12)
    assert np.array_equal(found[0], model.pos_embed.detach()[0, 0].numpy())


def test_the_trained_grid_reads_its_positions_as_they_are():
    model = make_vit()
    assert model._positions((4, 4)) is model.pos_embed


def test_positions_of_small_crops_get_gradients():
    model = make_vit(num_classes=0)
    found = model(torch.randn(2, 3, 8, 8))
    # Weighted, because the plain sum of what a LayerNorm returns does not depend on its input.
    (found * torch.linspace(-1, 1, found.shape[1])).sum().backward()
    assert model.pos_embed.grad.abs().sum() > 1e-3
