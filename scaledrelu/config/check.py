"""Values that are out of range or cannot go together, refused before anything is built."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from scaledrelu.config.grammar import fit_proj_kernel, fit_strides
from scaledrelu.config.groups import groups_per_process, trained_groups
from scaledrelu.config.identity import folder_name
from scaledrelu.config.ranges import check_ranges
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
    "augment.interpolation": ("bicubic", "bilinear", "nearest", "lanczos", "random"),
    "evaluation.report": ("last", "best"),
    "divergence.judge": ("after_warmup", "fraction"),
    "init.kind": ("scratch", "run", "checkpoint"),
    "init.positions": ("bicubic", "bilinear"),
    "optimizer.clip": ("global", "per_tensor"),
    "schedule.cosine": ("whole", "after_warmup"),
    "launch.device": ("auto", "cpu", "cuda"),
    "wandb.mode": ("disabled", "offline", "online"),
    "task.distances": ("products", "differences"),
}
NAMES = ("method", "init.run")  # they become folders below the results
OWN_OPENERS, WITHOUT_FILES = "scaledrelu.data.", "scaledrelu.data.datasets.open_digits"
TAILS = ("batch", "layernorm", "relu", "gelu", "scaled_relu")
PLAIN_NAMES = ("data.name", "profile.name")  # parts of file names
POLICY = r"(rand|augmix|originalr?|v0r?|3a)(-(mstd|mmax|inc|[mnpwdb])\d[\d.]*|-t[a-z]+)*"  # of timm


def check_values(config: dict[str, Any], conf_dir: Path) -> None:
    """Refuse values that are out of range or contradict each other.

    Args:
        config: resolved.
        conf_dir: the configuration tree, whose recipes are the methods.

    Raises:
        ConfigError: naming the key, the value found and what is allowed.
    """
    for key in NAMES:
        if (name := get(config, key)) is not None:
            folder_name(name, what=key)
    for key, allowed in ALLOWED.items():
        value = get(config, key)
        if value not in allowed and not (value is None and key.startswith("task.")):
            raise ConfigError(
                f"{key}={value}{nearest(str(value), allowed)}; allowed: {', '.join(allowed)}"
            )
    check_ranges(config)
    for key in PLAIN_NAMES:
        value = get(config, key)
        _require(
            value is None or re.fullmatch(r"\w[\w. -]*", value) is not None,
            f"{key}={value}: letters, digits and . _ - only, since it becomes part of a path",
        )
    _check_method(config, conf_dir)
    _check_data(config["data"])
    _check_model(config)
    _check_time(config)
    _check_augmentation(config)
    _check_training(config)


def _check_method(config: dict[str, Any], conf_dir: Path) -> None:
    """Refuse a method that is not the recipe's: runs are named by it."""
    method, task = config["method"], config["task"].get("_target_")
    known = sorted(path.stem for path in (conf_dir / "recipe").glob("*.yaml"))
    _require(
        method in known,
        f"method={method}{nearest(method, known)}; allowed: {', '.join(known)}. "
        "It comes with its recipe: write recipe=<method>",
    )
    recipe = yaml.safe_load((conf_dir / "recipe" / f"{method}.yaml").read_text())
    expected = recipe.get("task", {}).get("_target_", task)
    _require(
        task == expected,
        f"method={method} is trained by {expected}, found task={task}: write recipe={method}",
    )


def _check_data(data: dict[str, Any]) -> None:
    opener = str(data["build"].get("_target_"))
    _require(
        data["root"] is not None or opener == WITHOUT_FILES or not opener.startswith(OWN_OPENERS),
        f"data.root=null: {opener.rpartition('.')[2]} reads files: set data.root=<folder>",
    )


def _check_model(config: dict[str, Any]) -> None:
    model, stem, data = config["model"], config["stem"], config["data"]
    for name in stem["tail"]:
        _require(
            name in TAILS,
            f"stem.tail holds '{name}'{nearest(name, TAILS)}; allowed: {', '.join(TAILS)}",
        )
    _require(
        not stem["strides"] or len(stem["kernels"]) == len(stem["strides"]),
        f"stem.kernels={stem['kernels']} for stem.strides={stem['strides']}: one kernel per stride",
    )
    _require(
        model["width"] % model["heads"] == 0,
        f"model.width={model['width']} is not a multiple of model.heads={model['heads']}",
    )
    blocks = config["task"].get("num_blocks")
    _require(
        None in (blocks, model["depth"]) or blocks <= model["depth"],
        f"task.num_blocks={blocks}: must lie in [1, {model['depth']}], the blocks of the model",
    )
    for name in ("image_size", "image_width"):
        _require(
            data[name] is None or data[name] % model["patch_size"] == 0,
            f"data.{name}={data[name]} is not a multiple of model.patch_size={model['patch_size']}",
        )
    fitted = fit_strides(stem["strides"], model["patch_size"], shrink=stem["shrink"])
    fit_proj_kernel(stem["proj_kernel"], fitted.proj, fitted.shrunk)
    _require(
        not stem["strides"] or all(kernel % 2 for kernel in stem["kernels"]),
        f"stem.kernels={stem['kernels']}: odd kernels only",
    )


def _check_time(config: dict[str, Any]) -> None:
    schedule, warmup, profile = config["schedule"], config["warmup"], config["profile"]
    epochs = schedule["epochs"] + schedule["cooldown_epochs"]
    _require(
        epochs * profile["epoch_scale"] >= 0.5,
        f"profile.epoch_scale={profile['epoch_scale']:g}: of {epochs} epochs not one is left; "
        f"must be at least {1 / epochs:.3g}",
    )
    risen = warmup["epochs"] * profile["warmup_scale"]
    _require(
        warmup["shape"] == "none" or risen <= schedule["epochs"],
        f"warmup.epochs={warmup['epochs']:g}: x profile.warmup_scale={profile['warmup_scale']:g} "
        f"it must lie in [0, {schedule['epochs']}], the epochs of the schedule",
    )
    moved = schedule["unit"] == "epoch" or schedule["delay_epochs"] or schedule["cooldown_epochs"]
    _require(
        schedule["cosine"] == "whole" or not moved,
        "schedule.cosine=after_warmup needs schedule.unit=step, schedule.delay_epochs=0 and "
        "schedule.cooldown_epochs=0",
    )
    rule = config["divergence"]
    for key in ("judge_at", "window"):
        _require(
            rule["judge"] != "fraction" or rule[key] <= 1,
            f"divergence.{key}={rule[key]:g}: must lie in [0, 1] with divergence.judge=fraction",
        )


def _check_augmentation(config: dict[str, Any]) -> None:
    augment, data = config["augment"], config["data"]
    policy, crops = augment["rand_augment"], augment["multi_crop"]
    _require(
        policy is None or re.fullmatch(POLICY, policy) is not None,
        f"augment.rand_augment={policy}: no policy of timm; e.g. rand-m9-mstd0.5-inc1, or null",
    )
    _require(
        augment["interpolation"] != "random" or (augment["crop"] == "random_resized" and not crops),
        "augment.interpolation=random needs augment.crop=random_resized",
    )
    side = min(data["image_size"], data["image_width"] or data["image_size"])
    _require(
        augment["shift"] < side,
        f"augment.shift={augment['shift']}: must lie in [0, {side}), the pixels of an image's side",
    )
    if crops is None:
        return
    patch, hue = config["model"]["patch_size"], crops["jitter"][-1]
    _require(
        crops["local_size"] % patch == 0,
        f"augment.multi_crop.local_size={crops['local_size']} is not a multiple of "
        f"model.patch_size={patch}",
    )
    _require(hue <= 0.5, f"augment.multi_crop.jitter: the hue, {hue:g}, must lie in [0, 0.5]")


def _check_training(config: dict[str, Any]) -> None:
    init = config["init"]
    _require(bool(config["evaluation"]["build"]), "evaluation.build=[]: name an evaluator")
    for kind, key in (("run", "run"), ("checkpoint", "path")):
        needed = f"init.kind={kind} needs init.{key}: init={kind} init.{key}=..."
        _require(init["kind"] != kind or bool(init[key]), needed)
    augment = config["augment"]
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
    labelled = config["data"]["token_labels"] != "none"
    _require(
        not (mixes and labelled),
        "augment.mixup and augment.cutmix must be 0 with data.token_labels: MixToken mixes",
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
        batch["group"] % instances == 0,
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
    """Return ``config["a"]["b"]`` for ``"a.b"``; None where ``b`` is missing."""
    *parents, leaf = dotted.split(".")
    for part in parents:
        config = config[part]
    return config.get(leaf)
