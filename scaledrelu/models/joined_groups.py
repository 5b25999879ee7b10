"""Several groups in one forward pass, as if each had passed alone.

BatchNorm normalises every group with its own statistics, and drop path draws for every group what
it would draw alone. The results agree with one pass per group up to rounding.

Shapes: B images of all groups, group after group; "..." any positions.
"""

from __future__ import annotations

import torch
from timm.layers import DropPath
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from scaledrelu.errors import ConfigError


class JoinedGroups:
    """Makes a module, in place, treat a batch in training as groups of equal size.

    Parameters and buffers stay the same tensors. Evaluation is not changed.

    Args:
        module: a task; before it is compiled or wrapped in DDP.
        groups: how many groups a batch holds.
        images: images of one group.
        device: the module's device.

    Raises:
        ConfigError: a layer that would mix the groups.
    """

    def __init__(
        self, module: nn.Module, *, groups: int, images: int, device: torch.device
    ) -> None:
        self.images = images
        self.paths: list[GroupsDropPath] = []
        for layer in module.modules():
            draws = isinstance(layer, nn.Dropout) and layer.p > 0
            if draws or (isinstance(layer, _BatchNorm) and type(layer) not in _NORMS):
                raise ConfigError(
                    f"launch.groups_at_once=true: {type(layer).__name__} of this model would treat "
                    "all groups as one; set launch.groups_at_once=false"
                )
            if isinstance(layer, _BatchNorm):
                layer.__class__ = _NORMS[type(layer)]
                layer.groups = groups
            elif isinstance(layer, DropPath):
                layer.__class__ = GroupsDropPath
                layer.kept = torch.ones(groups * images, device=device)
                self.paths.append(layer)

    def draw(self, position: int) -> None:
        """Draw which paths one group keeps, from the global generators, in the order of the layers.

        Args:
            position: 0-based place of the group in the batch.
        """
        rows = slice(position * self.images, (position + 1) * self.images)
        for path in self.paths:
            if path.drop_prob > 0:
                path.kept[rows].bernoulli_(1 - path.drop_prob)


class _GroupsBatchNorm(_BatchNorm):
    """BatchNorm over one group at a time; the running statistics follow the first one."""

    groups: int

    def forward(self, features: Tensor) -> Tensor:
        """Normalise (B, C, ...) per group and channel; the shape stays."""
        if not self.training:
            return super().forward(features)
        first, *others = features.chunk(self.groups)
        weights = self.weight, self.bias
        rest = [F.batch_norm(x, None, None, *weights, training=True, eps=self.eps) for x in others]
        return torch.cat([super().forward(first), *rest])


class GroupsBatchNorm1d(_GroupsBatchNorm, nn.BatchNorm1d):
    """Of (B, C) or (B, C, L)."""


class GroupsBatchNorm2d(_GroupsBatchNorm, nn.BatchNorm2d):
    """Of (B, C, H, W)."""


_NORMS: dict[type[_BatchNorm], type[_GroupsBatchNorm]] = {
    nn.BatchNorm1d: GroupsBatchNorm1d,
    nn.BatchNorm2d: GroupsBatchNorm2d,
}


class GroupsDropPath(DropPath):
    """Drop path that was drawn before the pass: ``kept`` holds 1 or 0 for every image."""

    kept: Tensor

    def forward(self, branch: Tensor) -> Tensor:
        """Return (B, ...) with the branches of some images at zero and the others scaled up."""
        if self.drop_prob == 0 or not self.training:
            return branch
        kept = self.kept.to(branch.dtype)
        if self.scale_by_keep:
            kept = kept / (1 - self.drop_prob)
        return branch * kept.view(-1, *[1] * (branch.ndim - 1))
