"""What a run is, field by field in readable text, so that two configs can be put side by side.

Factors of a profile appear as what they amount to (peak rate, epochs, images per update); every
other scientific field stands under its config key.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from scaledrelu.config.batch import TooFewImagesError, steps_per_epoch
from scaledrelu.config.differences import number_text
from scaledrelu.config.identity import TRANSIENT
from scaledrelu.config.precision import PrecisionConfig
from scaledrelu.config.run import RunConfig, plain
from scaledrelu.config.schedule import WarmupConfig
from scaledrelu.tables.captions import value_text

NONE, UNKNOWN = "none", "not known"
# Said in other words below, different in every run, or in the notes of a report (init.sha256).
SAID_OTHERWISE = (
    *("profile", "seed", "lr", "precision", "stem.strides", "stem.shrink", "stem.proj_kernel"),
    *("batch.total", "schedule.epochs", "schedule.cooldown_epochs"),
    *("schedule.min_lr", "schedule.min_lr_fraction", "data.name", "data.build", "data.num_classes"),
    *("data.digest", "data.token_labels_digest", "data.image_size", "data.image_width"),
    *("warmup", "init.run", "init.sha256"),
)
SPLITS = {
    "train": "training images",
    "val": "validation images",
    "query": "query images",
    "gallery": "gallery images",
    "classes": "classes",
    "train_ids": "training identities",
    "query_ids": "query identities",
    "cameras": "cameras",
}


def describe_run(config: RunConfig, sizes: Mapping[str, int]) -> dict[str, str]:
    """Return field -> value of everything that makes a run what it is.

    Args:
        config: the run's configuration.
        sizes: images, classes or identities of its data set; empty where they are not known.
    """
    return {
        **_data(config, sizes),
        **_rate(config),
        **_length(config, sizes),
        **_precision(config.precision),
        **_stem(config),
        **_plain(config),
    }


def _data(config: RunConfig, sizes: Mapping[str, int]) -> dict[str, str]:
    data = config.data
    counts = [f"{count:,} {SPLITS.get(name, name)}" for name, count in sizes.items()]
    return {
        "data set": ": ".join([data.name, *filter(None, [", ".join(counts)])]),
        "image size": f"{data.height} x {data.width} pixels",
    }


def _rate(config: RunConfig) -> dict[str, str]:
    lr, schedule = config.lr, config.schedule
    fraction = schedule.min_lr_fraction
    floor = value_text(schedule.min_lr) if fraction is None else f"{fraction:g} of the peak"
    return {
        "peak learning rate": f"{value_text(config.peak_lr)} (lr.base={value_text(lr.base)})",
        "last learning rate": floor,
    }


def _length(config: RunConfig, sizes: Mapping[str, int]) -> dict[str, str]:
    warmup, profile = config.warmup, config.profile
    nominal, trained = config.schedule.total_epochs, config.run_epochs
    images = round(config.batch.total * profile.batch_scale)
    found = {"epochs": str(trained), "images per update": f"{images:,}"}
    rise = warmup.length(profile.warmup_scale)
    updates = _updates(config, sizes)
    found["updates"] = UNKNOWN if updates is None else f"{updates:,}"
    if rise:
        own = "" if trained == nominal else f", run as {rise * trained / nominal:.3g} of {trained}"
        found["warm-up"] = f"{rise:g} of {nominal} epochs{own}"
        found["warm-up starts at"] = _start(warmup)
        steps = UNKNOWN if updates is None else f"{math.ceil(rise / nominal * updates - 1e-9):,}"
        found["warm-up, updates"] = steps
    return found


def _updates(config: RunConfig, sizes: Mapping[str, int]) -> int | None:
    """Return the updates of a run; None where its images are not known, or not enough for one."""
    # Identities are drawn (ReID) and portions rounded (Table 7): their updates are not said.
    if config.batch.instances or config.data.fraction != 1 or "train" not in sizes:
        return None
    try:
        return config.run_epochs * steps_per_epoch(
            sizes["train"],
            num_groups=config.num_groups,
            group_size=config.batch.group,
            repeats=config.augment.repeats,
        )
    except TooFewImagesError:
        return None


def _start(warmup: WarmupConfig) -> str:
    fraction = warmup.start_lr_fraction
    return value_text(warmup.start_lr) if fraction is None else f"{fraction:g} of the peak"


def _precision(precision: PrecisionConfig) -> dict[str, str]:
    autocast = "fp32" if precision.autocast == NONE else f"{precision.autocast} autocast"
    if precision.loss_scaling:
        autocast += (
            f", loss scaled from {precision.initial_scale:g}, "
            f"growing every {precision.growth_interval} updates"
        )
    return {"precision": autocast, "attention": precision.attention}


def _stem(config: RunConfig) -> dict[str, str]:
    fitted = config.stem.fit(config.model.patch_size)
    strides, kernel = ",".join(map(str, (*fitted.strides, fitted.proj))), fitted.proj_kernel
    return {"strides of the stem": f"({strides}), projection {kernel}x{kernel}"}


def _plain(config: RunConfig) -> dict[str, str]:
    left_out = {*TRANSIENT, *SAID_OTHERWISE}
    found = {key: readable_value(value) for key, value in _leaves(plain(config), "", left_out)}
    if config.augment.rand_augment:
        found["augment.color_jitter"] += " (inactive beside rand_augment)"
    if "stem.hidden" in found and not config.stem.strides:
        found["stem.hidden"] += " (unused without convolutions)"
    if config.data.token_labels not in (NONE, "made"):
        found["data.token_labels"] = "maps in a folder"  # the folder differs by machine
    return found


def _leaves(value: Any, path: str, left_out: set[str]) -> Iterator[tuple[str, Any]]:
    if path in left_out:
        return
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(item, f"{path}.{key}" if path else str(key), left_out)
    else:
        yield path, value


def readable_value(value: Any) -> str:
    """Return a config value as a reader writes it: none, true, 0.05, 5e-4, Knn(neighbours=[10])."""
    if value is None:
        return NONE
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return number_text(float(f"{value:.6g}")) if math.isfinite(value) else str(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(readable_value, value)) + "]"
    if isinstance(value, Mapping):
        said = {key: readable_value(item) for key, item in value.items() if key != "_target_"}
        inner = ", ".join(f"{key}={item}" for key, item in said.items())
        return f"{str(value.get('_target_', '')).rpartition('.')[2]}({inner})"
    return str(value)
