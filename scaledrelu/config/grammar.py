"""The stem's arithmetic: which strides and kernels a stem gets on a given patch size (no torch).

Models build from it and captions print from it, so a caption cannot differ from the network.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scaledrelu.errors import ConfigError


@dataclass(frozen=True, slots=True)
class FittedStrides:
    """Strides that multiply to the patch size: of the convolutions, then of the projection."""

    convs: tuple[int, ...]
    proj: int
    shrunk: bool  # the convolution strides are not the ones asked for


@dataclass(frozen=True, slots=True)
class FittedKernel:
    """Kernel of the projection and the padding that keeps the patch grid."""

    size: int
    padding: int


def fit_strides(strides: Sequence[int], patch_size: int, *, shrink: bool) -> FittedStrides:
    """Return the strides a stem uses on one patch size; the projection takes what is left.

    Args:
        strides: of the convolutions, in order; empty for a patchify stem.
        patch_size: pixels per patch side.
        shrink: let trailing strides fall to 1, from the right, until they fit the patch.

    Raises:
        ConfigError: if the strides do not fit and ``shrink`` is off, or are below 1.
    Source: Algorithm 1 (2,1,1,8), Table 3 (2,2,2,2); shrinking is the mini protocol's rule.
    """
    asked = tuple(int(stride) for stride in strides)
    if any(stride < 1 for stride in asked):
        raise ConfigError(
            f"stem.strides: {list(asked)} has a stride below 1. Allowed: integers >= 1."
        )
    fitted = list(asked)
    for index in reversed(range(len(fitted))):
        if _fits(fitted, patch_size):
            break
        if not shrink:
            raise ConfigError(
                f"stem.strides: {list(asked)} multiply to {math.prod(asked)}, which does not divide"
                f" model.patch_size={patch_size}. Choose strides whose product divides it, or set"
                " stem.shrink=true."
            )
        fitted[index] = 1
    convs = tuple(fitted)
    return FittedStrides(convs, patch_size // math.prod(convs), shrunk=convs != asked)


def fit_proj_kernel(proj_kernel: int | None, proj_stride: int, shrunk: bool) -> FittedKernel:
    """Return the projection's kernel and padding.

    Args:
        proj_kernel: the kernel asked for; ``None`` is the projection's stride.
        proj_stride: from ``fit_strides``.
        shrunk: the strides were shrunk; a given kernel then makes way for the stride.

    Raises:
        ConfigError: if the kernel cannot be centred on its stride.
    Source: Algorithm 1; padding 3 for the 8x8 projection at stride 2 of Table 3 (recipes G.1, H23).
    """
    if proj_kernel is None or shrunk:
        return FittedKernel(proj_stride, 0)
    excess = proj_kernel - proj_stride
    if excess < 0 or excess % 2:
        raise ConfigError(
            f"stem.proj_kernel: {proj_kernel} cannot be centred on a projection stride of"
            f" {proj_stride}. Allowed: {proj_stride} plus an even number, or null for the stride."
        )
    return FittedKernel(int(proj_kernel), excess // 2)


def _fits(strides: Sequence[int], patch_size: int) -> bool:
    return patch_size % math.prod(strides) == 0
