"""The feed-forward parts of a block: the original and the revised one of Algorithm 2.

The dropouts that it lists have probability 0 here, as in the official recipes, and are left out.

Shapes: "..." any leading dimensions (B images, N tokens), D features.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

ACTS: dict[str, type[nn.Module]] = {"gelu": nn.GELU, "relu": nn.ReLU}


class Mlp(nn.Module):
    """Linear, activation, Linear (Algorithm 2, the original).

    Args:
        in_features: D.
        hidden_features: features between the two layers.
        act: gelu | relu.
    """

    def __init__(self, in_features: int, hidden_features: int, *, act: str):
        super().__init__()
        self.fc1 = nn.Linear(in_features, hidden_features)
        self.act = ACTS[act]()
        self.fc2 = nn.Linear(hidden_features, in_features)

    def forward(self, tokens_BND: Tensor) -> Tensor:
        """Return the branch's output; shape (..., D) stays."""
        return self.fc2(self.act(self.fc1(tokens_BND)))


class ConvMlp(nn.Module):
    """Twice Conv1d, BatchNorm1d, activation (Algorithm 2, the revised).

    The second activation closes the branch, as printed: with GELU its output stays above -0.17.
    Statistics run over images and tokens, the class token included.

    Args:
        in_features: D.
        hidden_features: features between the convolutions.
        act: gelu | relu, after both convolutions.
        norm: keep the two BatchNorms (Table 5, "MLP->Conv1D+BN+GELU"); without them the row
            "MLP->Conv1D+GELU".
        linear_init: start the convolutions as ViT starts its Linear layers (truncated normal
            0.02, bias 0) instead of PyTorch's Conv1d default, which official code leaves.

    Source: Algorithm 2; recipes G.4.
    """

    def __init__(
        self,
        in_features: int,
        hidden_features: int,
        *,
        act: str,
        norm: bool,
        linear_init: bool,
    ):
        super().__init__()
        self.conv1 = nn.Conv1d(in_features, hidden_features, kernel_size=1)
        self.norm1 = nn.BatchNorm1d(hidden_features) if norm else nn.Identity()
        self.conv2 = nn.Conv1d(hidden_features, in_features, kernel_size=1)
        self.norm2 = nn.BatchNorm1d(in_features) if norm else nn.Identity()
        self.act = ACTS[act]()
        if linear_init:
            for conv in (self.conv1, self.conv2):
                nn.init.trunc_normal_(conv.weight, std=0.02)
                nn.init.zeros_(conv.bias)

    def forward(self, tokens_BND: Tensor) -> Tensor:
        """Return the branch's output; shape (..., D) stays."""
        flat_MD = tokens_BND.reshape(-1, tokens_BND.shape[-1])
        hidden = self.act(self.norm1(_pointwise(self.conv1, flat_MD)))
        output = self.act(self.norm2(_pointwise(self.conv2, hidden)))
        return output.reshape(tokens_BND.shape)


def _pointwise(conv: nn.Conv1d, flat_MD: Tensor) -> Tensor:
    # A kernel of 1 is a matrix product per token: the same numbers without two transposes.
    return F.linear(flat_MD, conv.weight.squeeze(-1), conv.bias)
