"""Curves of the learning rate and the arithmetic in front of them, by plain numbers."""

from __future__ import annotations

from scaledrelu.config.construct import construct
from scaledrelu.config.schedule import LrConfig, ScheduleConfig, WarmupConfig
from scaledrelu.optim.schedule import Curve
from tests.helpers.configs import composed, group_with, with_values


def curve_with(*, peak_lr: float, **fields) -> Curve:
    """Return a curve whose schedule and warm-up (``warmup_shape``, ``start_lr``) are given."""
    rise = {name: fields.pop(name) for name in ("start_lr", "start_lr_fraction")}
    rise |= {name: fields.pop(f"warmup_{name}") for name in ("shape", "epochs")}
    warmup = construct(WarmupConfig, {"label": "of a test", **rise})
    return Curve(construct(ScheduleConfig, {"weight_decay_end": None, **fields}), warmup, peak_lr)


def effective_lr(base: float, *, total_batch: int, reference_batch: int | None, lr_scale=1.0):
    fields = {"label": "of a test", "base": base, "reference_batch": reference_batch, "curve": None}
    changes = {"batch.total": total_batch, "batch.group": 1, "profile.lr_scale": lr_scale}
    quiet = {"augment.mixup": 0.0, "augment.cutmix": 0.0, "profile.batch_scale": 1.0}
    changes |= {f"lr.{name}": value for name, value in fields.items()}
    config = with_values(composed("recipe=deit"), changes | quiet)
    assert isinstance(config.lr, LrConfig)
    return config.peak_lr


def run_epochs(epochs: int, scale: float) -> int:
    config = composed("recipe=deit")
    profile = group_with(config.profile, epoch_scale=scale)
    return group_with(config.schedule, epochs=epochs).run_epochs(profile.epoch_scale)


def warmup_length(epochs: float, scale: float) -> float:
    changes = {"warmup.epochs": epochs, "profile.warmup_scale": scale}
    config = with_values(composed("recipe=deit"), changes)
    return config.warmup.length(config.profile.warmup_scale)
