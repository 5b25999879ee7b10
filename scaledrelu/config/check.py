"""Values that are out of range or cannot go together, refused before anything is built."""

from __future__ import annotations

from typing import Any

from scaledrelu.config.grammar import fit_strides
from scaledrelu.config.identity import folder_name
from scaledrelu.errors import ConfigError, nearest

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
    "augment.label_axes": ("official", "corrected"),
    "augment.crop": ("random_resized", "shift", "none"),
    "evaluation.report": ("last", "best"),
    "divergence.judge": ("after_warmup", "fraction"),
    "init.kind": ("scratch", "run", "checkpoint"),
    "init.positions": ("bicubic", "bilinear"),
    "optimizer.clip": ("global", "per_tensor"),
    "schedule.cosine": ("whole", "after_warmup"),
    "launch.device": ("auto", "cpu", "cuda"),
    "wandb.mode": ("disabled", "offline", "online"),
}
NAMES = ("method", "planned_id", "init.run")  # they become folders below the results
TAILS = ("batch", "layernorm", "relu", "gelu", "scaled_relu")
POSITIVE = (
    "batch.total",
    "batch.group",
    "schedule.epochs",
    "lr.base",
    "model.width",
    "model.heads",
    "model.patch_size",
    "data.image_size",
    "augment.repeats",
    "launch.nproc",
    "evaluation.every_epochs",
    "evaluation.batch",
    "divergence.patience",
    "profile.epoch_scale",
    "profile.batch_scale",
    "launch.checkpoint_every_steps",
    "launch.log_every_steps",
    "launch.timeout_s",
)
NOT_NEGATIVE = (
    "warmup.epochs",
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


def trained_groups(*, total: int, group: int, batch_scale: float) -> int:
    """Return how many groups one update holds: the nominal batch, scaled, over the group size.

    Raises:
        ConfigError: if the trained batch is not a whole number of groups.
    """
    trained = round(total * batch_scale)
    if trained < 1 or trained % group:
        raise ConfigError(
            f"batch.total={total} x profile.batch_scale={batch_scale:g} = {trained} images per "
            f"update is not a whole number of groups of batch.group={group}; choose "
            f"batch.group as a divisor of {trained}"
        )
    return trained // group


def groups_per_process(count: int, *, processes: int, group: int) -> int:
    """Return how many of an update's groups one process holds.

    Raises:
        ConfigError: if the groups do not divide over the processes; nothing is rescaled.
    """
    if count % processes:
        raise ConfigError(
            f"one update is {count} group(s) of batch.group={group} images, which {processes} "
            f"processes cannot share; use a divisor of {count} processes, or another batch.group "
            "(another experiment)"
        )
    return count // processes


def check_values(config: dict[str, Any]) -> None:
    """Refuse values that are out of range or contradict each other.

    Raises:
        ConfigError: naming the key, the value found and what is allowed.
    """
    for key in NAMES:
        if (name := get(config, key)) is not None:
            folder_name(name, what=key)
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
        model["depth"] is None or model["depth"] > 0,
        f"model.depth={model['depth']}: must be greater than 0",
    )
    for name in ("image_size", "image_width"):
        _require(
            data[name] is None or (data[name] > 0 and data[name] % model["patch_size"] == 0),
            f"data.{name}={data[name]} is not a multiple of model.patch_size={model['patch_size']}",
        )
    fit_strides(stem["strides"], model["patch_size"], shrink=stem["shrink"])


def _check_training(config: dict[str, Any]) -> None:
    init = config["init"]
    for kind, key in (("run", "run"), ("checkpoint", "path")):
        needed = f"init.kind={kind} needs init.{key}: init={kind} init.{key}=..."
        _require(init["kind"] != kind or bool(init[key]), needed)
    schedule, augment, sam = config["schedule"], config["augment"], config["optimizer"]["sam"]
    for part, key in (("schedule", "min_lr"), ("warmup", "start_lr")):
        absolute, fraction = config[part][key], config[part][f"{key}_fraction"]
        _require(
            (absolute is None) != (fraction is None),
            f"{part}: give exactly one of {key} and {key}_fraction, null the other",
        )
    batch = config["batch"]
    count = trained_groups(
        total=batch["total"], group=batch["group"], batch_scale=config["profile"]["batch_scale"]
    )
    groups_per_process(count, processes=config["launch"]["nproc"], group=batch["group"])
    mixes = augment["mixup"] > 0 or augment["cutmix"] > 0
    _require(
        not (mixes and config["batch"]["group"] % 2),
        f"batch.group={config['batch']['group']} is odd, but mixup pairs images: use an even group",
    )
    _check_identities(config, mixes=mixes)
    _require(
        schedule["delay_epochs"] >= -1,
        f"schedule.delay_epochs={schedule['delay_epochs']}: must be at least -1",
    )
    labelled = config["data"]["token_labels"] != "none"
    _require(
        not (mixes and labelled),
        "augment.mixup and augment.cutmix must be 0 with data.token_labels: MixToken mixes",
    )
    _require(
        sam is None or sam["rho"] >= 0,
        f"optimizer.sam.rho={sam and sam['rho']}: must not be negative",
    )


def _check_identities(config: dict[str, Any], *, mixes: bool) -> None:
    batch, instances = config["batch"], config["batch"]["instances"]
    reid = config["method"] == "reid"
    _require(
        not reid or (instances is not None and instances >= 2),
        f"batch.instances={instances}: recipe=reid compares images of a person: at least 2",
    )
    if instances is None:
        return
    _require(
        not mixes,
        "augment.mixup and augment.cutmix must be 0 with batch.instances: nobody is two people",
    )
    _require(
        instances > 0 and batch["group"] % instances == 0,
        f"batch.group={batch['group']} must hold whole identities of batch.instances={instances}",
    )
    _require(
        config["augment"]["repeats"] == 1,
        "augment.repeats must be 1 with batch.instances: identities are drawn, not images",
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
