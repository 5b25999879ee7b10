"""The group ``stem``: convolutions, then one projection, then a tail (recipes G.1).

Models are built from this arithmetic and captions printed from it, so a caption cannot differ from
the network.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from scaledrelu.config.fields import build, number, word
from scaledrelu.config.group import TARGET, Group, require, typed
from scaledrelu.config.ranges import CHANNELS, FEW
from scaledrelu.errors import ConfigError

OUR_CLASS = "scaledrelu.models.stem.Stem"  # what conf/stem/_grammar.yaml builds
NORMS = ("batch", "layernorm")
# scaled_relu is the paper's definition, beta * max(x + alpha, 0); affine_relu is its Eq. 1, what a
# BatchNorm and a ReLU compute: max(beta * x + alpha, 0).
ACTS = ("relu", "gelu", "scaled_relu", "affine_relu")
CONVOLUTIONS = 3  # of every stem of the paper (Algorithm 1), which writes four strides


@dataclass(frozen=True, slots=True)
class FittedStem:
    """What a stem becomes on one patch size.

    Attributes:
        strides: strides of the convolutions.
        proj: stride of the projection; all strides multiply to the patch size.
        proj_kernel: kernel side of the projection, in pixels of its input.
        padding: zeros around the projection's input, which keep the patch grid.
    """

    strides: tuple[int, ...]
    proj: int
    proj_kernel: int
    padding: int


@dataclass(frozen=True, slots=True)
class StemConfig(Group):
    """The grammar of stems (Algorithm 1, generalised).

    A norm, an activation or a part of the tail that none of the words names is given as a
    dictionary with ``_target_``: a class whose first argument without a default, if it has one, is
    the number of channels.
    """

    KEY: ClassVar[str] = "stem"

    label: str
    build: dict[str, Any] = build()
    strides: tuple[int, ...] = number(FEW)  # of the convolutions; empty = patchify
    kernels: tuple[int, ...] = number(FEW)  # of the convolutions, odd
    hidden: int = number(CHANNELS)  # channels of the convolutions
    norm: str | dict[str, Any] = word(*NORMS, "none", or_build=True)  # after each convolution
    act: str | dict[str, Any] = word(*ACTS, "none", or_build=True)  # after each normalisation
    tail: tuple[str | dict[str, Any], ...] = word(*NORMS, *ACTS, or_build=True)  # after projection
    proj_kernel: int | None = number(FEW)  # null = the projection's stride
    # Strides that do not fit a small patch fall to 1 from the right; then, or where the projection
    # is left a stride of 1 that proj_kernel cannot be centred on, its kernel is its stride.
    shrink: bool

    @property
    def own_class(self) -> str | None:
        """Name of a stem class from elsewhere; None for :class:`scaledrelu.models.stem.Stem`."""
        return own_class_of(self.build)

    @property
    def own_code(self) -> list[str]:
        """What is not the project's own: the class of the stem, classes of its layers."""
        layers = [one for one in (self.norm, self.act, *self.tail) if isinstance(one, dict)]
        return [str(one[TARGET]) for one in ([self.build] if self.own_class else []) + layers]

    def check(self) -> None:
        """Refuse kernels that do not go with the strides."""
        if not self.strides:
            return
        kernels = list(self.kernels)
        ends_in_a_projection = len(self.strides) == len(kernels) + 1 and self.strides[-1] > 1
        require(
            not ends_in_a_projection,
            f"stem.strides={typed(self.strides)}: one more than stem.kernels={typed(kernels)}; "
            "write it without the projection's stride, which is the patch size over the product "
            f"of the others: {without_projection(self.strides)}",
        )
        require(
            len(kernels) == len(self.strides),
            f"stem.kernels={kernels}: needs one kernel per stride (stem.strides="
            f"{list(self.strides)})",
        )
        require(all(kernel % 2 for kernel in kernels), f"stem.kernels={kernels}: must be odd")

    def refuse_layers_without_effect(self) -> None:
        """Refuse what follows convolutions where there are none: it would go unnoticed.

        A stem class of one's own does with its fields what it likes. Not a part of :meth:`check`,
        so that runs that were stored with it can still be read.

        Raises:
            ConfigError: naming the field.
        """
        for name in () if self.strides or self.own_class else ("norm", "act"):
            value = getattr(self, name)
            require(
                value == "none",
                f"stem.{name}={typed(value)}: has no effect, since it follows convolutions and "
                "this stem has none; layers behind the projection are its tail, e.g. "
                "stem=patchify_bn_relu or stem.tail=[batch,relu]",
            )

    def fit(self, patch_size: int) -> FittedStem:
        """Return the strides and the projection of this stem on one patch size.

        Args:
            patch_size: pixels per patch side.

        Raises:
            ConfigError: if they do not fit.
        Source: Algorithm 1; padding 3 for the 8x8 projection at stride 2 of Table 3 (recipes G.1,
            H23).
        """
        strides = fit_strides(self.strides, patch_size, shrink=self.shrink)
        proj, shrunk = patch_size // math.prod(strides), strides != self.strides
        excess = (self.proj_kernel or proj) - proj
        is_centred = excess >= 0 and excess % 2 == 0
        if self.proj_kernel is None or shrunk or (self.shrink and proj == 1 and not is_centred):
            return FittedStem(strides, proj, proj, 0)
        require(
            is_centred,
            f"stem.proj_kernel={self.proj_kernel}: cannot be centred on a projection stride of "
            f"{proj}; allowed: {proj} plus an even number, or null for {proj}",
        )
        return FittedStem(strides, proj, self.proj_kernel, excess // 2)


def own_class_of(build: Mapping[str, Any]) -> str | None:
    """Return the name of a stem class from elsewhere; None for the project's own.

    Args:
        build: the field ``stem.build``.
    """
    target = str(build[TARGET])
    return None if target == OUR_CLASS else target.rpartition(".")[2]


def without_projection(strides: Sequence[int | str], key: str = "stem.strides") -> str:
    """Return what to type for strides that the paper prints, the projection's last.

    Args:
        strides: numbers of the convolutions and, last, of the projection.
        key: how the field was typed.

    Source: (2,1,1,8) and (2,2,2,2) of Table 3; the latter's projection is larger than its stride
        (recipes G.1, H23).
    """
    convolutions = f"{key}={typed(strides[:-1])}"
    if [str(one) for one in strides] == ["2"] * 4:
        return f"{convolutions} stem.proj_kernel=8 (as in conf/table/table3.yaml)"
    return convolutions


def fit_strides(strides: Sequence[int], patch_size: int, *, shrink: bool) -> tuple[int, ...]:
    """Return the strides of the convolutions on one patch size; the projection takes what is left.

    Args:
        strides: asked for, in order; empty for a patchify stem.
        patch_size: pixels per patch side.
        shrink: let trailing strides fall to 1, from the right, until they fit the patch.

    Raises:
        ConfigError: if the strides do not fit and ``shrink`` is off, or would not fit a larger
            patch of the same kind either: 3 fits neither 4 nor 16.
    Source: Algorithm 1 (2,1,1,8), Table 3 (2,2,2,2); shrinking is the mini protocol's rule.
    """
    fitted, product = list(strides), math.prod(strides)
    fits_larger = patch_size ** product.bit_length() % product == 0  # no other prime factors
    for index in reversed(range(len(fitted))):
        if patch_size % math.prod(fitted) == 0:
            break
        if not (shrink and fits_larger):
            raise ConfigError(
                f"stem.strides={list(strides)}: their product {product} does not divide "
                f"model.patch_size={patch_size}; choose strides whose product divides it"
                f"{', or set stem.shrink=true' if fits_larger else ''}"
            )
        fitted[index] = 1
    return tuple(fitted)
