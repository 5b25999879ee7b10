"""The projection head of DINO: from a backbone's features to prototypes (recipes C.1).

Shapes: B images, D features, H hidden features, E bottleneck features, K prototypes.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class NormalisedLinear(nn.Module):
    """A linear layer without bias whose rows have a length of their own: ``magnitude * unit row``.

    Rows start at PyTorch's default for Linear, their magnitudes at 1.

    Args:
        in_features: E.
        out_features: K.
        fixed: whether the magnitudes stay at 1.
    """

    def __init__(self, in_features: int, out_features: int, *, fixed: bool):
        super().__init__()
        self.direction = nn.Parameter(nn.Linear(in_features, out_features, bias=False).weight)
        self.magnitude = nn.Parameter(torch.ones(out_features, 1), requires_grad=not fixed)

    def forward(self, features_BE: Tensor) -> Tensor:
        """Return (B, K)."""
        return F.linear(features_BE, torch._weight_norm(self.direction, self.magnitude, 0))


class DinoHead(nn.Module):
    """Linear layers with GELU between, L2 normalisation, a weight-normalised linear layer.

    Args:
        width: D, features of the backbone.
        hidden: H, between the linear layers.
        bottleneck: E, what is normalised.
        out_dim: K.
        num_layers: linear layers before the normalisation; 1 goes from D to E at once.
        norm_last_layer: whether the magnitudes of the last layer stay at 1.
        init_std: truncated normal that the linear layers before the last start from, with bias 0.

    Source: recipes C.1 and G.6; the last layer, made after the initialisation in the official code,
        starts at PyTorch's default.
    """

    def __init__(
        self,
        width: int,
        *,
        hidden: int,
        bottleneck: int,
        out_dim: int,
        num_layers: int,
        norm_last_layer: bool,
        init_std: float,
    ):
        super().__init__()
        sizes = [width, *[hidden] * (num_layers - 1), bottleneck]
        layers: list[nn.Module] = []
        for before, after in pairwise(sizes):
            layers += [_linear(before, after, init_std), nn.GELU()]
        self.mlp = nn.Sequential(*layers[:-1])
        self.last_layer = NormalisedLinear(bottleneck, out_dim, fixed=norm_last_layer)

    def forward(self, features_BD: Tensor) -> Tensor:
        """Return prototype scores (B, K): cosines while the magnitudes are 1."""
        return self.last_layer(F.normalize(self.mlp(features_BD), dim=-1))


def _linear(in_features: int, out_features: int, std: float) -> nn.Linear:
    linear = nn.Linear(in_features, out_features)
    nn.init.trunc_normal_(linear.weight, std=std)
    nn.init.zeros_(linear.bias)
    return linear
