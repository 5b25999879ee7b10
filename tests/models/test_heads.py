"""DINO's head has the size, the start and the geometry of the official one."""

import math

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from scaledrelu.models.heads import DinoHead
from tests.helpers.model_builders import num_parameters

SMALL = {"hidden": 12, "bottleneck": 6, "out_dim": 20, "num_layers": 3, "norm_last_layer": True}
SMALL |= {"init_std": 0.02}


def official(**changes):
    fields = {"hidden": 2048, "bottleneck": 256, "out_dim": 65536, "num_layers": 3}
    fields |= {"norm_last_layer": True, "init_std": 0.02}
    return DinoHead(384, **(fields | changes))


def test_parameters_are_counted_as_in_the_recipes():
    with torch.device("meta"):
        head = official()
    assert num_parameters(head) == 22_352_128
    assert sum(p.numel() for p in head.parameters() if not p.requires_grad) == 65_536


def test_weights_start_as_in_the_official_code():
    torch.manual_seed(0)
    head = official(hidden=512, out_dim=4096)
    for linear in (m for m in head.mlp if isinstance(m, nn.Linear)):
        assert linear.weight.std().item() == pytest.approx(0.02, rel=0.02)
        assert not linear.bias.any()
    direction = head.last_layer.direction
    assert direction.abs().max() <= 1 / 16
    assert direction.std().item() == pytest.approx(0.0361, rel=0.01)
    assert head.last_layer.magnitude.eq(1).all()


def test_linear_layers_start_at_the_std_that_the_recipe_asks_for():
    torch.manual_seed(0)
    head = official(hidden=512, out_dim=8, init_std=0.057)
    assert [linear.weight.std().item() for linear in head.mlp[::2]] == pytest.approx(
        [0.057] * 3, rel=0.02
    )


def test_scores_are_cosines_with_the_rows_of_the_last_layer():
    torch.manual_seed(0)
    head, x = DinoHead(8, **SMALL).double(), torch.randn(5, 8, dtype=torch.float64)
    hidden = x
    for linear in (m for m in head.mlp if isinstance(m, nn.Linear)):
        if linear is not head.mlp[0]:
            hidden = 0.5 * hidden * (1 + torch.erf(hidden / math.sqrt(2)))
        hidden = hidden @ linear.weight.T + linear.bias
    rows = head.last_layer.direction
    expected = (hidden @ rows.T) / (hidden.norm(dim=1)[:, None] * rows.norm(dim=1))
    torch.testing.assert_close(head(x), expected)


def test_last_layer_is_pytorchs_weight_norm_and_its_gradient():
    torch.manual_seed(0)
    head, x = DinoHead(8, **(SMALL | {"norm_last_layer": False})), torch.randn(5, 6)
    twin = nn.Linear(6, 20, bias=False)
    twin.weight.data.copy_(head.last_layer.direction)
    parametrizations.weight_norm(twin)
    twin.parametrizations.weight.original0.data.fill_(1.0)
    for layer in (head.last_layer, twin):
        layer(x).square().sum().backward()
    torch.testing.assert_close(head.last_layer(x), twin(x))
    pairs = zip(
        (head.last_layer.magnitude, head.last_layer.direction), twin.parameters(), strict=True
    )
    for own, other in pairs:
        torch.testing.assert_close(own.grad, other.grad)


@pytest.mark.parametrize(("layers", "linears"), [(1, [(8, 6)]), (2, [(8, 12), (12, 6)])])
def test_depth_of_the_head_is_a_setting(layers, linears):
    head = DinoHead(8, **(SMALL | {"num_layers": layers}))
    found = [(m.in_features, m.out_features) for m in head.mlp if isinstance(m, nn.Linear)]
    assert found == linears
    assert not isinstance(head.mlp[-1], nn.GELU)
