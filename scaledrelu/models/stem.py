"""One class for every stem of the paper: convolutions, one projection, a tail.

Shapes: B images, C channels, H height, W width, D embedding width, p patch size.
Initialisation is left to PyTorch's defaults, as the official code leaves it (recipes A.2).
"""

from __future__ import annotations

import contextlib
import copy
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scaledrelu.config.stem import StemConfig
from scaledrelu.errors import ConfigError

MakeLayer = Callable[[int], nn.Module]  # channels -> layer


class _AlphaBeta(nn.Module):
    """One learnable alpha, from 0, and one beta, from 1, per channel."""

    def __init__(self, num_channels: int):
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros(num_channels))
        self.beta = nn.Parameter(torch.ones(num_channels))


class ScaledReLU(_AlphaBeta):
    """``beta * max(x + alpha, 0)`` with one learnable alpha and beta per channel.

    Source: the definition in section "Scaled ReLU"; alpha starts at 0, beta at 1 (a plain ReLU).
    """

    def forward(self, features_BCHW: Tensor) -> Tensor:
        """Scale, shift and cut every channel; the shape stays."""
        alpha_C11, beta_C11 = self.alpha[:, None, None], self.beta[:, None, None]
        return beta_C11 * torch.relu(features_BCHW + alpha_C11)


class AffineReLU(_AlphaBeta):
    """``max(beta * x + alpha, 0)`` with one learnable alpha and beta per channel.

    Source: Eq. 1, the affine part of a BatchNorm and the ReLU behind it; starts as a plain ReLU.
    Homogeneous in (alpha, beta), which the proof of Theorem 1 needs and ``ScaledReLU`` is not.
    """

    def forward(self, features_BCHW: Tensor) -> Tensor:
        """Scale, shift and cut every channel; the shape stays."""
        return torch.relu(self.beta[:, None, None] * features_BCHW + self.alpha[:, None, None])


class ChannelLayerNorm(nn.LayerNorm):
    """LayerNorm over the channels of a feature map, separately at each position (Remark 1)."""

    def forward(self, features_BCHW: Tensor) -> Tensor:
        """Normalise every position; the shape stays."""
        return super().forward(features_BCHW.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


NORMS: dict[str, MakeLayer] = {
    "batch": nn.BatchNorm2d,  # PyTorch's momentum 0.1 and eps 1e-5 (recipes A.2)
    "layernorm": ChannelLayerNorm,
}
ACTS: dict[str, MakeLayer] = {
    "relu": lambda _: nn.ReLU(inplace=True),  # as in Algorithm 1
    "gelu": lambda _: nn.GELU(),
    "scaled_relu": ScaledReLU,
    "affine_relu": AffineReLU,
}


class Projection(nn.Conv2d):
    """The projection of a stem: a convolution, on a GPU as one product of matrices where it can be.

    Where kernels neither overlap nor leave pixels out, each patch is one row of that product. cuDNN
    chose a slow kernel for the gradient of the features there: 3.2 ms of a step of DeiT-S with the
    conv-stem, which takes 43, compiled 29 (H200, torch 2.11). Results differ by rounding.
    """

    def forward(self, features_BCHW: Tensor) -> Tensor:
        """Return (B, D, H/p, W/p)."""
        sides = zip(features_BCHW.shape[-2:], self.kernel_size, strict=True)
        tiles = self.kernel_size == self.stride and not any(side % p for side, p in sides)
        if features_BCHW.is_cuda and tiles and not any(self.padding):
            return project_patches(features_BCHW, self.weight, self.bias)
        return super().forward(features_BCHW)


def project_patches(features_BCHW: Tensor, weight_DCpp: Tensor, bias_D: Tensor) -> Tensor:
    """Return the convolution of patches that lie side by side, as one product of matrices.

    Args:
        features_BCHW: H and W are multiples of p.
        weight_DCpp: kernels of p x p pixels, whose stride is p.
        bias_D: added to every patch.

    Returns:
        B x D x H/p x W/p, the features of a patch side by side in memory.
    """
    p = weight_DCpp.shape[-1]
    features_BHWC = features_BCHW.permute(0, 2, 3, 1)
    patches_BhwppC = features_BHWC.unflatten(2, (-1, p)).unflatten(1, (-1, p)).transpose(2, 3)
    rows_BhwK = patches_BhwppC.flatten(3)
    kernels_DK = weight_DCpp.permute(0, 2, 3, 1).flatten(1)
    return F.linear(rows_BhwK, kernels_DK, bias_D).permute(0, 3, 1, 2)


class Stem(nn.Module):
    """Image to patch features, (B, C, H, W) -> (B, D, H/p, W/p): Algorithm 1, generalised.

    Args:
        stem: strides, kernels, norm, activation and tail.
        width: D, channels of the output.
        patch_size: p, pixels per patch side.
        image_size: pixels per side, or (height, width).
        create: ``create(build, channels)`` makes a layer that a dictionary with ``_target_`` names;
            needed where one does.
        in_chans: C, channels of the image.

    Raises:
        ConfigError: if the sizes do not fit.
    Source: Algorithm 1; recipes G.1 and G.3.
    """

    def __init__(
        self,
        stem: StemConfig,
        *,
        width: int,
        patch_size: int,
        image_size: int | Sequence[int],
        create: Callable[[dict[str, Any], int], nn.Module] | None = None,
        in_chans: int = 3,
    ):
        super().__init__()
        fitted = stem.fit(patch_size)
        self.patch_size = (patch_size, patch_size)
        self.img_size = _pair(image_size)
        self.grid_size = self.dynamic_feat_size(self.img_size)
        self.num_patches = self.grid_size[0] * self.grid_size[1]
        after = [_maker(kind, create) for kind in (stem.norm, stem.act) if kind != "none"]
        self.convs = _convolutions(in_chans, stem.hidden, fitted.strides, stem.kernels, after)
        self.proj = Projection(
            stem.hidden if fitted.strides else in_chans,
            width,
            fitted.proj_kernel,
            stride=fitted.proj,
            padding=fitted.padding,
        )
        self.tail = nn.Sequential(*(_maker(kind, create)(width) for kind in stem.tail))

    def dynamic_feat_size(self, image_size: Sequence[int]) -> tuple[int, int]:
        """Return the patch grid of an image of this (height, width); timm asks for it.

        Raises:
            ConfigError: if a side is not a multiple of the patch size.
        """
        if any(side % patch for side, patch in zip(image_size, self.patch_size, strict=True)):
            raise ConfigError(
                f"data.image_size={'x'.join(map(str, image_size))}: must be a multiple of "
                f"model.patch_size={self.patch_size[0]}"
            )
        return image_size[0] // self.patch_size[0], image_size[1] // self.patch_size[1]

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """Return patch features (B, D, H/p, W/p); any H and W that are multiples of p."""
        self.dynamic_feat_size(image_BCHW.shape[-2:])
        return self.tail(self.proj(self.convs(image_BCHW)))


def check_map(stem: nn.Module, *, name: str, width: int, image_size: int | Sequence[int]) -> None:
    """Refuse a stem that does not return the map that it promises.

    A map of another size would be trained unnoticed: positions are resampled to fit it. Nothing is
    computed: a copy of the stem sees an image on the meta device.

    Args:
        stem: any class, with ``grid_size`` and ``num_patches`` as :class:`Stem` has them.
        name: what people know it by, for the error.
        width: D, channels that the model expects.
        image_size: pixels per side, or (height, width).

    Raises:
        ConfigError: an attribute is missing, or the shape is another one.
    """
    grid, count = (getattr(stem, one, None) for one in ("grid_size", "num_patches"))
    pair = isinstance(grid, tuple | list) and len(grid) == 2
    if not pair or count != math.prod(grid):
        raise ConfigError(
            f"{name}: has grid_size={grid} and num_patches={count}; set "
            "self.grid_size=(rows, columns) of its map and self.num_patches=rows*columns"
        )
    wanted, found = (1, width, *grid), _shape_of_map(stem, _pair(image_size))
    if found not in (None, wanted):
        raise ConfigError(f"{name}: returns {found}, expected {wanted}: (1, width, rows, columns)")


def _shape_of_map(stem: nn.Module, size: tuple[int, int]) -> tuple[int, ...] | str | None:
    """Return what a stem makes of one image: a shape, a type if no tensor, None if unknown."""
    with contextlib.suppress(Exception), torch.no_grad(), torch.device("meta"):
        # What does not run there, such as a kernel for GPUs, shows its shape when it trains.
        empty = {
            id(one): nn.Parameter(torch.empty_like(one, device="meta"), False)
            for one in stem.parameters()
        }
        empty |= {id(one): torch.empty_like(one, device="meta") for one in stem.buffers()}
        returned = copy.deepcopy(stem, empty).eval()(torch.empty(1, 3, *size))
        return tuple(returned.shape) if isinstance(returned, Tensor) else type(returned).__name__
    return None


def _convolutions(
    in_chans: int,
    hidden: int,
    strides: Sequence[int],
    kernels: Sequence[int],
    after: Sequence[MakeLayer],
) -> nn.Sequential:
    layers: list[nn.Module] = []
    for index, (stride, kernel) in enumerate(zip(strides, kernels, strict=False)):
        channels = hidden if index else in_chans
        # No bias, also without a norm: adding one would be a second change (recipes G.3, H21).
        layers.append(
            nn.Conv2d(channels, hidden, kernel, stride=stride, padding=kernel // 2, bias=False)
        )
        layers += [make(hidden) for make in after]
    return nn.Sequential(*layers)


def _maker(
    kind: str | dict[str, Any], create: Callable[[dict[str, Any], int], nn.Module] | None
) -> MakeLayer:
    """Return what makes a norm or an activation for a number of channels."""
    if isinstance(kind, str):
        return (NORMS | ACTS)[kind]
    if create is None:
        raise ValueError(f"a stem with {kind} needs `create`, which makes the layer")
    return partial(create, kind)


def _pair(size: int | Sequence[int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
