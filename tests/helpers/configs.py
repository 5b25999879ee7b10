"""Configurations of tests: composed ones with some values changed, and groups by themselves."""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from typing import Any

from scaledrelu.config.augment import AugmentConfig
from scaledrelu.config.compose import compose_unpinned
from scaledrelu.config.construct import construct
from scaledrelu.config.run import RunConfig, plain


@cache
def composed(*overrides: str) -> RunConfig:
    """Compose without a look at files, once per process."""
    return compose_unpinned(overrides)


def with_values(config: RunConfig, changes: dict[str, Any]) -> RunConfig:
    """Return a configuration with the values of some dotted keys changed, checked anew."""
    values = deepcopy(plain(config))
    for key, value in changes.items():
        *parents, leaf = key.split(".")
        place = values
        for part in parents:
            place = place[part]
        place[leaf] = value
    return construct(RunConfig, values)


def group_with(group: Any, **changes: Any) -> Any:
    """Return a group with some fields changed, as if they were read from a file."""
    return construct(type(group), {**plain(group), **plain(changes)})


def augment_with(**changes: Any) -> AugmentConfig:
    """Return augmentation that does nothing but what is asked for."""
    still = {"crop": "none", "crop_scale": [1.0, 1.0], "crop_ratio": [0.75, 4 / 3], "shift": 0}
    still |= {"interpolation": "bicubic", "hflip": 0.0, "rand_augment": None, "color_jitter": 0.0}
    still |= {"erasing": 0.0, "mixup": 0.0, "cutmix": 0.0, "mix_prob": 1.0, "switch_prob": 0.5}
    still |= {"smoothing": 0.0, "repeats": 1, "multi_crop": None, "label_axes": "official"}
    return construct(AugmentConfig, {**still, **plain(changes)})
