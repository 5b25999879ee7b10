"""The range of every number in a configuration, in one table; refused before anything is built.

A range is wide: it stops plain mistakes (a negative probability, a rate of infinity), not unusual
experiments. Keys inside free dictionaries (``task``, ``optimizer.build``) count where they occur.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from scaledrelu.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Range:
    """What a number, or each number of a list, may be.

    Attributes:
        interval: in the usual notation, e.g. ``(0, 1]``; ``inf`` never belongs to it.
        count: length of the list; None: a number, or a list of any length.
        least: a list with at least so many numbers, where nothing else knows that it is a list.
        rising: the numbers of the list must not fall.
        whole: whole numbers only; needed inside free dictionaries, where nothing else knows.
    """

    interval: str
    count: int | None = None
    least: int = 0
    rising: bool = False
    whole: bool = False

    def holds(self, value: Any) -> bool:
        """Say whether one number lies within."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        if not math.isfinite(value) or (self.whole and value != int(value)):
            return False
        low, high = (float(end) for end in self.interval[1:-1].split(","))
        above = value > low if self.interval[0] == "(" else value >= low
        below = value < high if self.interval[-1] == ")" else value <= high
        return above and below

    def accepts(self, value: Any) -> bool:
        """Say whether a number, or a list of numbers, is allowed."""
        if not isinstance(value, list | tuple):
            return self.count is None and not self.least and self.holds(value)
        if len(value) < self.least:
            return False
        fits = self.count in (None, len(value)) and all(map(self.holds, value))
        return fits and (not self.rising or list(value) == sorted(value))

    def __str__(self) -> str:
        kind = "whole numbers" if self.whole else "numbers"
        if self.count is not None:
            order = ", the smaller first" if self.rising else ""
            return f"must be {self.count} {kind} in {self.interval}{order}"
        if self.least:
            some = f"at least {self.least} " if self.least > 1 else ""
            return f"must be a list of {some}{kind} in {self.interval}"
        bound = BOUNDS.get(self.interval, f"must lie in {self.interval}")
        return bound + (", a whole number" if self.whole else "")


BOUNDS = {  # in words, where there is one bound only
    "(0, inf)": "must be greater than 0 and finite",
    "[0, inf)": "must be at least 0 and finite",
}
SHARE = Range("[0, 1]")
POSITIVE = Range("(0, inf)")
NOT_NEGATIVE = Range("[0, inf)")
COUNT = Range("[1, 1000000000]", whole=True)
FEW = Range("[1, 1024]", whole=True)
PIXELS = Range("[1, 16384]", whole=True)
CHANNELS = Range("[1, 65536]", whole=True)
SEED = Range("[0, 4294967295]", whole=True)
SHARE_OF_AN_IMAGE = Range("(0, 1]")
WORKERS = Range("[0, 1024]", whole=True)
AREAS = Range("(0, 1]", count=2, rising=True)

RANGES: dict[str, Range] = {
    "seed": SEED,
    "model.width": CHANNELS,
    "model.depth": FEW,
    "model.heads": FEW,
    "model.mlp_ratio": Range("(0, 1024]"),
    "model.patch_size": PIXELS,
    "model.norm_eps": Range("(0, 1)"),
    "model.drop_path": Range("[0, 1)"),
    "model.build.layers": Range("[1, 1024]", least=1, whole=True),
    "model.build.outlook_width": CHANNELS,
    "model.build.outlook_heads": FEW,
    "model.build.post_blocks": Range("[0, 1024]", whole=True),
    "stem.strides": FEW,
    "stem.kernels": FEW,
    "stem.hidden": CHANNELS,
    "stem.proj_kernel": FEW,
    "optimizer.clip_grad": POSITIVE,
    "optimizer.bias_lr_factor": NOT_NEGATIVE,
    "optimizer.sam.rho": NOT_NEGATIVE,
    "optimizer.build.weight_decay": NOT_NEGATIVE,
    "optimizer.build.betas": Range("[0, 1)", least=2),
    "optimizer.build.eps": POSITIVE,
    "optimizer.build.momentum": Range("[0, 1)"),
    "optimizer.build.dampening": SHARE,
    "lr.base": POSITIVE,
    "lr.reference_batch": COUNT,
    "warmup.epochs": NOT_NEGATIVE,
    "warmup.start_lr": SHARE,
    "warmup.start_lr_fraction": SHARE,
    "schedule.epochs": Range("[1, 1000000]", whole=True),
    "schedule.cooldown_epochs": Range("[0, 1000000]", whole=True),
    "schedule.delay_epochs": Range("[-1, 1000000]", whole=True),
    "schedule.min_lr": SHARE,
    "schedule.min_lr_fraction": SHARE,
    "schedule.weight_decay_end": NOT_NEGATIVE,
    "batch.total": COUNT,
    "batch.group": COUNT,
    "batch.instances": COUNT,
    "precision.initial_scale": POSITIVE,
    "precision.growth_interval": COUNT,
    "data.num_classes": Range("[2, 1000000000]", whole=True),
    "data.image_size": PIXELS,
    "data.image_width": PIXELS,
    "data.mean": Range("[0, 1]", count=3),
    "data.std": Range("(0, 10]", count=3),
    "data.fraction": Range("(0, 1]"),
    "data.fraction_seed": SEED,
    "augment.crop_scale": AREAS,
    "augment.crop_ratio": Range("(0, 1000]", count=2, rising=True),
    "augment.shift": Range("[0, 16384]", whole=True),
    "augment.hflip": SHARE,
    "augment.color_jitter": Range("[0, 100]"),
    "augment.erasing": SHARE,
    "augment.mixup": Range("[0, 1000]"),
    "augment.cutmix": Range("[0, 1000]"),
    "augment.mix_prob": SHARE,
    "augment.switch_prob": SHARE,
    "augment.smoothing": Range("[0, 1)"),
    "augment.repeats": FEW,
    "augment.multi_crop.num_local": Range("[0, 1024]", whole=True),
    "augment.multi_crop.local_size": PIXELS,
    "augment.multi_crop.global_scale": AREAS,
    "augment.multi_crop.local_scale": AREAS,
    "augment.multi_crop.jitter": Range("[0, 100]", count=4),
    "augment.multi_crop.jitter_prob": SHARE,
    "augment.multi_crop.grey_prob": SHARE,
    "augment.multi_crop.blur_prob": Range("[0, 1]", count=3),
    "augment.multi_crop.solarize_prob": SHARE,
    "evaluation.crop": SHARE_OF_AN_IMAGE,
    "evaluation.every_epochs": COUNT,
    "evaluation.batch": COUNT,
    "evaluation.build.neighbours": Range("[1, 1000000000]", least=1, whole=True),
    "evaluation.build.temperature": POSITIVE,
    "divergence.ratio": POSITIVE,
    "divergence.judge_at": NOT_NEGATIVE,
    "divergence.window": POSITIVE,
    "divergence.patience": COUNT,
    "ema.decay": Range("[0, 1)"),
    "init.head_scale": NOT_NEGATIVE,
    "profile.epoch_scale": POSITIVE,
    "profile.warmup_scale": POSITIVE,
    "profile.lr_scale": POSITIVE,
    "profile.batch_scale": POSITIVE,
    "launch.nproc": FEW,
    "launch.threads": Range("[0, 1024]", whole=True),
    "launch.workers": WORKERS,
    "launch.timeout_s": Range("[1, 604800]", whole=True),
    "launch.checkpoint_every_steps": COUNT,
    "launch.log_every_steps": COUNT,
    "task.num_blocks": FEW,
    "task.out_dim": Range("[2, 1000000000]", whole=True),
    "task.head_hidden": CHANNELS,
    "task.bottleneck": CHANNELS,
    "task.head_layers": FEW,
    "task.head_init_std": POSITIVE,
    "task.student_temp": POSITIVE,
    "task.teacher_temp": POSITIVE,
    "task.warmup_teacher_temp": POSITIVE,
    "task.warmup_teacher_temp_epochs": Range("[0, 1000000]", whole=True),
    "task.centre_momentum": SHARE,
    "task.teacher_momentum": SHARE,
    "task.freeze_last_layer_epochs": Range("[0, 1000000]", whole=True),
    "task.id_weight": POSITIVE,
    "task.triplet_weight": NOT_NEGATIVE,
    "task.mix_token": Range("[0, 1000]"),
    "task.class_weight": NOT_NEGATIVE,
    "task.token_weight": NOT_NEGATIVE,
}


def check_ranges(config: dict[str, Any]) -> None:
    """Refuse numbers outside their range, infinities and NaN anywhere, and empty texts.

    Null passes where the schema allows it, and not inside a free dictionary.

    Raises:
        ConfigError: naming the key, the value found and the range.
    """
    for key, value in leaves(config):
        allowed = RANGES.get(key)
        is_free = key.startswith("task.") or ".build." in key
        if allowed is not None and not (allowed.accepts(value) or (value is None and not is_free)):
            raise ConfigError(out_of_range(key, value))
        if not all(math.isfinite(item) for item in _numbers(value)):
            raise ConfigError(f"{key}={typed(value)}: must be finite")
        if value == "":
            raise ConfigError(f"{key}=: is empty; give a value, or null where nothing is meant")


def out_of_range(key: str, value: Any) -> str:
    """Return the line about a value that is no number, or not one of the key's range."""
    return f"{key}={typed(value)}: {RANGES[key]}"


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted key, value); a list of plain values is one, one of dictionaries is opened."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        for item in value:
            yield from leaves(item, path)
    else:
        yield path, value


def _numbers(value: Any) -> list[float]:
    items = value if isinstance(value, list) else [value]
    return [item for item in items if isinstance(item, int | float)]


def typed(value: Any) -> str:
    """Return a value as it is typed: ``[0,0.5]``, ``true``."""
    if isinstance(value, list):
        return f"[{','.join(map(typed, value))}]"
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    short = f"{value:g}" if isinstance(value, float) else str(value)
    return short if not isinstance(value, float) or float(short) == value else repr(value)
