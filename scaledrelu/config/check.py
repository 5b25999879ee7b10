"""Early checks: misspelt groups, options, keys and types, and values that cannot go together."""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scaledrelu.config.grammar import fit_strides
from scaledrelu.config.schema import RunConfig
from scaledrelu.errors import ConfigError, nearest

# Groups whose name looks like a number's: the hint says where the number goes.
NUMBER_KEYS = {"lr": ("lr.base", "the rate"), "warmup": ("warmup.epochs", "its length")}
FREE_GROUPS = {"experiment", "hydra"}
ALLOWED: dict[str, tuple[str, ...]] = {
    "stem.norm": ("batch", "layernorm", "none"),
    "stem.act": ("relu", "gelu", "scaled_relu", "none"),
    "ffn.act": ("gelu", "relu"),
    "warmup.shape": ("linear", "none"),
    "schedule.unit": ("epoch", "step"),
    "precision.autocast": ("none", "fp16", "bf16"),
    "precision.attention": ("fused", "scores_then_scale"),
    "data.augment": ("reference", "device"),
    "data.on_bad_image": ("raise", "skip"),
    "augment.crop": ("random_resized", "shift", "none"),
    "evaluation.report": ("last", "best"),
    "divergence.judge": ("after_warmup", "fraction"),
    "init.kind": ("scratch",),
    "launch.device": ("auto", "cpu", "cuda"),
    "wandb.mode": ("disabled", "offline", "online"),
}
TAILS = ("batch", "layernorm", "relu", "gelu", "scaled_relu")
POSITIVE = (
    "batch.total",
    "batch.group",
    "schedule.epochs",
    "lr.base",
    "model.width",
    "model.depth",
    "model.heads",
    "model.patch_size",
    "data.image_size",
    "augment.repeats",
    "launch.nproc",
    "evaluation.every_epochs",
    "evaluation.batch",
    "profile.epoch_scale",
    "profile.batch_scale",
    "launch.checkpoint_every_steps",
    "launch.log_every_steps",
    "launch.timeout_s",
)
NOT_NEGATIVE = (
    "warmup.epochs",
    "schedule.delay_epochs",
    "schedule.cooldown_epochs",
    "augment.shift",
    "launch.workers",
    "launch.threads",
    "seed",
)
PROBABILITY = (
    "augment.hflip",
    "augment.erasing",
    "augment.mix_prob",
    "augment.switch_prob",
    "augment.smoothing",
    "model.drop_path",
)


def group_options(conf_dir: Path) -> dict[str, list[str]]:
    """Return every config group and its options; names with ``_`` in front are shared bases."""
    return {
        folder.name: sorted(p.stem for p in folder.glob("*.yaml") if not p.stem.startswith("_"))
        for folder in sorted(conf_dir.iterdir())
        if folder.is_dir() and not folder.name.startswith(("profile_", "table"))
    }


def check_overrides(overrides: Sequence[str], conf_dir: Path) -> None:
    """Refuse a misspelt group, option, key or type before Hydra composes anything.

    Raises:
        ConfigError: one line with the nearest valid name.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    groups = group_options(conf_dir)
    parser = OverridesParser.create()
    for text in overrides:
        try:
            override = parser.parse_override(text)
        except HydraException as error:
            raise ConfigError(
                f"cannot read '{text}': {str(error).splitlines()[0]}. "
                "Write key=value; quote spaces and brackets."
            ) from error
        key = override.key_or_group.split("@")[0]
        if re.split(r"[./]", key)[0] in FREE_GROUPS or override.is_delete():
            continue
        values = list(override.sweep_string_iterator()) if override.is_sweep_override() else None
        if key in groups:
            for value in values or [override.value()]:
                _check_option(key, value, groups[key], text)
        else:
            _check_key(key, groups)


def _check_option(group: str, value: Any, options: list[str], text: str) -> None:
    if isinstance(value, str) and not _is_number(value):
        if value not in options:
            raise ConfigError(
                f"{group}={value}: no such option of group '{group}'{nearest(value, options)}; "
                f"allowed: {', '.join(options)}"
            )
        return
    if value is None and group == "experiment":
        return
    key, what = NUMBER_KEYS.get(group, (None, None))
    typed = text.partition("=")[2]
    hint = f"; to set {what} write {key}={typed}" if key else ""
    raise ConfigError(f"{text}: {group} is a group ({', '.join(options)}){hint}")


def _check_key(key: str, groups: dict[str, list[str]]) -> None:
    owner: Any = RunConfig
    path: list[str] = []
    for part in key.split("."):
        if not dataclasses.is_dataclass(owner):
            return  # inside a free dictionary such as optimizer.build
        hints = typing.get_type_hints(owner)
        if part not in hints:
            here = ".".join(path) or "the top level"
            names = [*hints, *groups] if not path else list(hints)
            near = nearest(part, names)
            raise ConfigError(
                f"{key}: no such key '{part}' at {here}{near}; "
                f"allowed: {', '.join(sorted(set(names)))}"
            )
        owner = _inner(hints[part])
        path.append(part)


def _inner(hint: Any) -> Any:
    """Return X of ``X | None``."""
    if isinstance(hint, types.UnionType):
        return next(arg for arg in typing.get_args(hint) if arg is not type(None))
    return hint


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def trained_groups(*, total: int, group: int, batch_scale: float) -> int:
    """Return how many groups one update holds: the nominal batch, scaled, over the group size.

    Raises:
        ConfigError: if the trained batch is not a whole number of groups.
    """
    trained = round(total * batch_scale)
    if trained < 1 or trained % group:
        raise ConfigError(
            f"batch.total={total} x profile.batch_scale={batch_scale:g} = {trained} images per "
            f"update is not a whole number of groups of batch.group={group}; choose batch.group as a "
            f"divisor of {trained}"
        )
    return trained // group


def check_values(config: dict[str, Any]) -> None:
    """Refuse values that are out of range or contradict each other.

    Raises:
        ConfigError: naming the key, the value found and what is allowed.
    """
    for key, allowed in ALLOWED.items():
        value = get(config, key)
        if value not in allowed:
            raise ConfigError(
                f"{key}={value}{nearest(str(value), allowed)}; allowed: {', '.join(allowed)}"
            )
    for key in POSITIVE:
        _require(get(config, key) > 0, f"{key}={get(config, key)}: must be greater than 0")
    for key in NOT_NEGATIVE:
        _require(get(config, key) >= 0, f"{key}={get(config, key)}: must not be negative")
    for key in PROBABILITY:
        _require(0 <= get(config, key) <= 1, f"{key}={get(config, key)}: must lie in [0, 1]")
    _require(
        0 < config["data"]["fraction"] <= 1,
        f"data.fraction={config['data']['fraction']}: must lie in (0, 1]",
    )
    _check_model(config)
    _check_training(config)


def _check_model(config: dict[str, Any]) -> None:
    model, stem, data = config["model"], config["stem"], config["data"]
    for name in stem["tail"]:
        _require(
            name in TAILS,
            f"stem.tail holds '{name}'{nearest(name, TAILS)}; allowed: {', '.join(TAILS)}",
        )
    _require(
        len(stem["kernels"]) >= len(stem["strides"]),
        f"stem.kernels={stem['kernels']} is shorter than stem.strides={stem['strides']}",
    )
    _require(
        model["width"] % model["heads"] == 0,
        f"model.width={model['width']} is not a multiple of model.heads={model['heads']}",
    )
    _require(
        data["image_size"] % model["patch_size"] == 0,
        f"data.image_size={data['image_size']} is not a multiple of "
        f"model.patch_size={model['patch_size']}",
    )
    fit_strides(stem["strides"], model["patch_size"], shrink=stem["shrink"])


def _check_training(config: dict[str, Any]) -> None:
    schedule, augment, sam = config["schedule"], config["augment"], config["optimizer"]["sam"]
    given = [schedule[key] is not None for key in ("min_lr", "min_lr_fraction")]
    _require(
        sum(given) == 1, "schedule: give exactly one of min_lr and min_lr_fraction, null the other"
    )
    trained_groups(
        total=config["batch"]["total"],
        group=config["batch"]["group"],
        batch_scale=config["profile"]["batch_scale"],
    )
    mixes = augment["mixup"] > 0 or augment["cutmix"] > 0
    _require(
        not (mixes and config["batch"]["group"] % 2),
        f"batch.group={config['batch']['group']} is odd, but mixup pairs images: use an even group",
    )
    _require(
        sam is None or sam["rho"] >= 0,
        f"optimizer.sam.rho={sam and sam['rho']}: must not be negative",
    )


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ConfigError(message)


def get(config: dict[str, Any], dotted: str) -> Any:
    """Return ``config["a"]["b"]`` for ``"a.b"``."""
    value: Any = config
    for part in dotted.split("."):
        value = value[part]
    return value
