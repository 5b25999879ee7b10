"""Configurations of tests: composed ones with some values changed, and groups by themselves."""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from typing import Any

import yaml

from scaledrelu.config.augment import AugmentConfig
from scaledrelu.config.compose import compose_unpinned
from scaledrelu.config.construct import construct
from scaledrelu.config.identity import TRANSIENT
from scaledrelu.config.places import CONF_DIR
from scaledrelu.config.run import RunConfig, plain
from scaledrelu.config.stored import from_stored
from tests.helpers.options import own_code


@cache
def composed(*overrides: str) -> RunConfig:
    """Compose without a look at files, once per process; options may call code of their own."""
    return compose_unpinned([*overrides, *own_code(*overrides)])


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


# What a slim record leaves out and no file of conf/ has one value for.
UNSAID: dict[str, Any] = {
    "profile.name": "stored",
    "profile.notes": [],
    "data.root": "unsaid",
    "data.on_bad_image": "raise",
    "evaluation.batch": 1,
    "evaluation.report": "last",
    "init.path": "unsaid",
    "warmup.start_lr": 0.0,  # of no warm-up
    "divergence.patience": 1,  # younger than the first crash rule, which judged once
    "trust": [],
}


def from_science(science: dict[str, Any], *, method: str) -> RunConfig:
    """Return a configuration with the science of a slim record; where it ran is made up."""
    values = {key: value for key, value in deepcopy(science).items() if key != "science_version"}
    for group, option in {"launch": "local", "wandb": "disabled"}.items():
        values[group] = yaml.safe_load((CONF_DIR / group / f"{option}.yaml").read_text())
    values |= {"method": method, "paths": {"results": "results"}}
    labels = {key: "unsaid" for key in TRANSIENT if key.endswith(".label")}
    for key, value in {**labels, **UNSAID}.items():
        *groups, leaf = key.split(".")
        place = values
        for group in groups:
            place = place.setdefault(group, {})
        place.setdefault(leaf, value)
    return from_stored(values)
