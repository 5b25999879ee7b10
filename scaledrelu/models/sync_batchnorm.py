"""BatchNorm over the batches of all ranks, as DINO trains stems that hold one (recipes C.1, H38).

Shapes: B images, C channels, "..." any positions.
"""

from __future__ import annotations

from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

M = TypeVar("M", bound=nn.Module)


def sync_batchnorm(module: M, device: torch.device) -> M:
    """Make every BatchNorm in a module use the statistics of all ranks, in place.

    Parameters and running statistics stay the same tensors, so an optimizer may hold them already.
    Without a process group of several ranks nothing changes.

    Args:
        module: a task or network; call it before wrapping it in DDP.
        device: where it runs; CUDA takes torch's own ``SyncBatchNorm``, which refuses the CPU. It
            makes the host wait, but moves a twelfth of the bytes (docs/methods.md, DINO).

    Returns:
        The module; another one only if it is a BatchNorm itself.
    """
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return module
    if device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(module)
    if isinstance(module, _BatchNorm):
        return RanksBatchNorm.like(module)
    for name, child in module.named_children():
        setattr(module, name, sync_batchnorm(child, device))
    return module


def leave_uncompiled(module: nn.Module) -> None:
    """Let compiled networks call the BatchNorms over all ranks in a module as they are written.

    torch's own reads from the device which ranks had images, which no graph can hold.

    Args:
        module: a task or network; before it is first called.
    """
    for layer in module.modules():
        if isinstance(layer, nn.SyncBatchNorm | RanksBatchNorm):
            layer.forward = torch.compiler.disable(layer.forward)


class RanksBatchNorm(_BatchNorm):
    """BatchNorm over all ranks in plain, differentiable tensor operations; any device.

    In training the ranks may hold different numbers of images; all must take part. In evaluation it
    is an ordinary BatchNorm.
    """

    @classmethod
    def like(cls, norm: _BatchNorm) -> RanksBatchNorm:
        """Return a layer with the parameters, running statistics and settings of another."""
        made = cls(
            norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats
        )
        made.weight, made.bias = norm.weight, norm.bias
        made.running_mean, made.running_var = norm.running_mean, norm.running_var
        made.num_batches_tracked = norm.num_batches_tracked
        return made.train(norm.training)

    def _check_input_dim(self, features: Tensor) -> None:
        if features.dim() < 2:
            raise ValueError(f"expected at least 2 dimensions, found {features.dim()}")

    def forward(self, features: Tensor) -> Tensor:
        """Normalise (B, C, ...) per channel; the shape stays."""
        if not self.training:
            return super().forward(features)
        self._check_input_dim(features)
        values = features.to(torch.promote_types(features.dtype, torch.float32))
        axes = [axis for axis in range(values.ndim) if axis != 1]
        count = values.new_full((1,), values.numel() / self.num_features)
        sums = _SumOverRanks.apply(torch.cat((values.sum(axes), count)))
        mean_C, total = sums[:-1] / sums[-1], sums[-1].detach()
        centred = values - _channels(mean_C, values)
        var_C = _SumOverRanks.apply(centred.square().sum(axes)) / total
        if self.track_running_stats:
            self._follow(mean_C.detach(), var_C.detach(), total)
        scale_C = torch.rsqrt(var_C + self.eps)
        normed = centred * _channels(scale_C, values)
        if self.affine:
            normed = normed * _channels(self.weight, values) + _channels(self.bias, values)
        return normed.to(features.dtype)

    def _follow(self, mean_C: Tensor, var_C: Tensor, total: Tensor) -> None:
        self.num_batches_tracked.add_(1)
        share = 1 / self.num_batches_tracked if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean_C.to(self.running_mean), share)
        self.running_var.lerp_((var_C * total / (total - 1)).to(self.running_var), share)


class _SumOverRanks(torch.autograd.Function):
    """The sum of a tensor over all ranks; every rank's loss sees every rank's summand."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return _summed(values)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return _summed(grad)


def _summed(values: Tensor) -> Tensor:
    total = values.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total)
    return total


def _channels(values_C: Tensor, like: Tensor) -> Tensor:
    return values_C.view(-1, *[1] * (like.ndim - 2))
