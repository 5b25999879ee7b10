"""Mixup, CutMix and label smoothing of one group, as the official DeiT code does them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from scaledrelu.config.augment import AugmentConfig


@dataclass(frozen=True, slots=True)
class Mix:
    """One draw: the share of the image itself, and the pasted box (None = blend whole images)."""

    lam: float
    box: tuple[slice, slice] | None = None  # rows, columns


@dataclass(frozen=True, slots=True)
class Mixed:
    """Mixed images (B x 3 x H x W) and soft targets (B x num_classes, rows sum to 1)."""

    images: Tensor
    targets: Tensor


def mix_group(
    images: Tensor,
    targets: Tensor,
    augment: AugmentConfig,
    *,
    num_classes: int,
    seed: int,
    in_place: bool = False,
) -> Mixed:
    """Mix a group with its own reverse; one draw serves the whole group.

    Args:
        images: B x 3 x H x W, float, normalised; B is even where images are mixed.
        targets: B class indices, int64.
        augment: mixup, CutMix, how often, and label smoothing, which is folded into the targets
            before they are mixed.
        num_classes: C.
        seed: this draw's seed; derive it from the run's seed, step and group.
        in_place: the mixed images are written where the images lay, which else stay as they are.

    Source: recipes A.5 steps 6 and 7 (timm 0.3.2 ``Mixup``, mode batch).
    """
    mix = Mix(lam=1.0)
    if augment.mixes:
        mix = draw_mix(
            images.shape[-2],
            images.shape[-1],
            mixup=augment.mixup,
            cutmix=augment.cutmix,
            mix_prob=augment.mix_prob,
            switch_prob=augment.switch_prob,
            seed=seed,
        )
    soft = smooth_one_hot(targets, num_classes=num_classes, smoothing=augment.smoothing)
    if mix.lam == 1.0:
        return Mixed(images=images, targets=soft)
    soft = soft * mix.lam + soft.flip(0) * (1.0 - mix.lam)
    return Mixed(images=_blend(images if in_place else images.clone(), mix), targets=soft)


def draw_mix(
    height: int,
    width: int,
    *,
    mixup: float,
    cutmix: float,
    mix_prob: float,
    switch_prob: float,
    seed: int,
) -> Mix:
    """Draw one Mix, in the official order of draws.

    Args:
        height: image height in pixels.
        width: image width in pixels.
        mixup: alpha of mixup's Beta; 0 = off.
        cutmix: alpha of CutMix's Beta; 0 = off.
        mix_prob: probability that a group is mixed at all.
        switch_prob: probability of CutMix where both are on.
        seed: the draws' seed, another one for every group and step.

    Source: recipes A.5 step 6; the CutMix share is that of the clipped box.
    """
    rng = np.random.RandomState(seed % 2**32)
    if rng.rand() >= mix_prob:
        return Mix(lam=1.0)
    use_cutmix = rng.rand() < switch_prob if mixup > 0 and cutmix > 0 else cutmix > 0
    alpha = cutmix if use_cutmix else mixup
    lam = float(rng.beta(alpha, alpha))
    if not use_cutmix or lam == 1.0:
        return Mix(lam=lam)
    ratio = np.sqrt(1.0 - lam)
    rows = _cut(height, int(height * ratio), rng)
    columns = _cut(width, int(width * ratio), rng)
    area = (rows.stop - rows.start) * (columns.stop - columns.start)
    return Mix(lam=1.0 - area / (height * width), box=(rows, columns))


def smooth_one_hot(targets: Tensor, *, num_classes: int, smoothing: float) -> Tensor:
    """Return B x num_classes: smoothing / C everywhere, 1 - smoothing more at the target.

    Args:
        targets: B class indices, int64.
        num_classes: number of classes, C.
        smoothing: share spread over all classes, in [0, 1).

    Source: recipes A.5 step 7.
    """
    off = smoothing / num_classes
    soft = torch.full((len(targets), num_classes), off, device=targets.device)
    return soft.scatter_(1, targets[:, None], 1.0 - smoothing + off)


def _cut(size: int, cut: int, rng: np.random.RandomState) -> slice:
    """Place a cut of given length; an odd one loses a pixel, as in timm 0.3.2 (recipes A.5)."""
    centre = rng.randint(0, size)
    return slice(max(centre - cut // 2, 0), min(centre + cut // 2, size))


def _blend(images: Tensor, mix: Mix) -> Tensor:
    """Mix images in place; a reversed tensor is a copy."""
    if mix.box is None:
        other = images.flip(0).mul_(1.0 - mix.lam)
        return images.mul_(mix.lam).add_(other)
    box = (..., *mix.box)
    images[box] = images[box].flip(0)
    return images
