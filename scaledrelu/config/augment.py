"""The group ``augment``: training augmentation in the official order (recipes A.5, A.6)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from scaledrelu.config.fields import number, word
from scaledrelu.config.group import Group, require
from scaledrelu.config.ranges import AREAS, FEW, PIXELS, SHARE, Range

OFFICIAL, CORRECTED = "official", "corrected"  # of label_axes
# Of timm: RandAugment, AugMix or AutoAugment, each with its own options.
_FLOAT = r"\d+(\.\d*)?"
_POLICY = re.compile(
    rf"rand(-(mmax|inc|m|n)\d+|-(mstd|p){_FLOAT}|-t(weights|3aw?))*"
    rf"|augmix(-[mwdb]\d+|-(mstd|a){_FLOAT})*"
    rf"|(originalr?|v0r?|3a)(-mstd{_FLOAT})*"
)
_NOT_BESIDE_CROPS = ("shift", "rand_augment", "color_jitter", "erasing", "mixup", "cutmix",
                     "smoothing")  # fmt: skip
_BEFORE_THE_LOSS = ("hflip", "rand_augment", "color_jitter", "erasing", "mixup", "cutmix")


@dataclass(frozen=True, slots=True)
class MultiCropConfig(Group):
    """DINO's views: two global crops and some small local ones (recipes C.1)."""

    KEY: ClassVar[str] = "augment.multi_crop"

    num_local: int = number(Range("[0, 1024]", whole=True))
    local_size: int = number(PIXELS)
    global_scale: tuple[float, ...] = number(AREAS)
    local_scale: tuple[float, ...] = number(AREAS)
    jitter: tuple[float, ...] = number(Range("[0, 100]", count=4))  # brightness ... hue
    jitter_prob: float = number(SHARE)
    grey_prob: float = number(SHARE)
    blur_prob: tuple[float, ...] = number(Range("[0, 1]", count=3))  # global crops, local ones
    solarize_prob: float = number(SHARE)  # second global crop
    pipeline: str = word("reference", "device")  # of all but the cropping: PIL, or batched

    def check(self) -> None:
        """Refuse a hue outside [0, 0.5]."""
        hue = self.jitter[-1]
        require(
            hue <= 0.5,
            f"augment.multi_crop.jitter: the last value (hue) is {hue:g}; it must lie in [0, 0.5]",
        )


@dataclass(frozen=True, slots=True)
class AugmentConfig(Group):
    """What training does to images, and with pairs of them."""

    KEY: ClassVar[str] = "augment"

    crop: str = word("random_resized", "shift", "none")
    crop_scale: tuple[float, ...] = number(AREAS)
    crop_ratio: tuple[float, ...] = number(Range("(0, 1000]", count=2, rising=True))
    interpolation: str = word("bicubic", "bilinear", "nearest", "lanczos", "random")
    shift: int = number(Range("[0, 16384]", whole=True))  # pixels, for crop=shift: zero-padded
    hflip: float = number(SHARE)
    rand_augment: str | None  # timm policy string
    color_jitter: float = number(Range("[0, 100]"))  # only without rand_augment, as in timm
    erasing: float = number(SHARE)  # probability; pixel mode, one box
    mixup: float = number(Range("[0, 1000]"))  # Beta parameter, 0 = off
    cutmix: float = number(Range("[0, 1000]"))  # Beta parameter, 0 = off
    mix_prob: float = number(SHARE)
    switch_prob: float = number(SHARE)
    smoothing: float = number(Range("[0, 1)"))
    repeats: int = number(FEW)  # repeated augmentation; 1 = off
    multi_crop: MultiCropConfig | None  # DINO; its crops replace ``crop``
    label_axes: str = word(OFFICIAL, CORRECTED)  # rows and columns of label maps exchanged, or not

    def check(self) -> None:
        """Refuse policies that timm does not know and options that exclude each other."""
        policy, crops = self.rand_augment, self.multi_crop
        require(
            policy is None or _POLICY.fullmatch(policy) is not None,
            f"augment.rand_augment={policy}: not a timm policy; write e.g. rand-m9-mstd0.5-inc1, "
            "or null for none",
        )
        require(
            self.interpolation != "random" or (self.crop == "random_resized" and not crops),
            "augment.interpolation=random: needs augment.crop=random_resized and no multi-crop; "
            "choose another interpolation, e.g. bicubic",
        )
        asked = [name for name in _NOT_BESIDE_CROPS if crops and getattr(self, name)]
        require(
            not asked,
            f"augment.{''.join(asked[:1])}: cannot be combined with augment.multi_crop, which has "
            "its own augmentation; set it to 0 or null, or set augment.multi_crop=null",
        )

    @property
    def mixes(self) -> bool:
        """Whether images are mixed in pairs."""
        return self.mixup > 0 or self.cutmix > 0

    @property
    def is_still(self) -> bool:
        """Whether an image looks the same in every epoch, and is not mixed."""
        moved = self.crop != "none" and not (self.crop == "shift" and not self.shift)
        return not moved and not any(getattr(self, name) for name in _BEFORE_THE_LOSS)
