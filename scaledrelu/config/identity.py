"""What makes two runs the same run: a hash over everything that is science and nothing else."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from scaledrelu.config.group import parent_of
from scaledrelu.config.portion import HELD_OUT, RANGES
from scaledrelu.config.run import RunConfig, plain

RUN_ID = re.compile(r"[a-z0-9_]+-[0-9a-f]{12}")  # what ids look like; artifacts have such names
SCIENCE_VERSION = 2  # raise it when code changes what a configuration means; 2: the crash rule

# Where, how fast and under which caption a run happens is not what it is.
TRANSIENT = (
    "launch",
    "wandb",
    "paths",
    "planned_id",  # of configurations that older versions stored
    "trust",
    "profile.name",
    "profile.notes",
    "method",
    "model.label",
    "model.offers",
    "stem.label",
    "ffn.label",
    "optimizer.label",
    "lr.label",
    "warmup.label",
    "precision.label",
    "data.root",
    "data.build.train",
    "data.build.expect",
    "data.on_bad_image",
    "evaluation.batch",
    "init.path",
    "evaluation.report",
)

# A key at its neutral value is dropped before hashing, so that a new knob whose
# neutral value means "as before" leaves every existing run's id alone.
NEUTRAL: dict[str, Any] = {
    "lr.curve": None,
    "data.image_width": None,
    "data.decoder": "pil",
    "batch.instances": None,
    "optimizer.decay_all": False,
    "optimizer.bias_lr_factor": 1.0,
    "warmup.start_lr_fraction": None,
    "data.token_labels": "none",
    "data.token_labels_digest": None,
    "augment.label_axes": "official",
    "augment.multi_crop": None,
    "augment.multi_crop.pipeline": "reference",
    "optimizer.clip": "global",
    "optimizer.decay_tokens": False,
    "schedule.cosine": "whole",
    "schedule.weight_decay_end": None,
    "batch.sync_bn": False,
    "evaluation.at_start": False,
    "evaluation.channels": False,
    "init.run": None,
    "init.sha256": None,
    "init.head_scale": None,
    "init.positions": "bicubic",
}


def canonical(config: RunConfig) -> dict[str, Any]:
    """Return the scientific part of a configuration, numbers normalised."""
    science = plain(config)
    for key in TRANSIENT:
        _drop(science, key)
    for key, neutral in NEUTRAL.items():
        _drop(science, key, only_if=neutral)
    if not _judged_on_held_out(science["data"]["build"]):
        _drop(science, "data.build.val")  # a folder or a list: the digest says which images
    if science["warmup"]["epochs"] == 0 or science["warmup"]["shape"] == "none":
        science["warmup"] = {"shape": "none", "epochs": 0}
    if "token_labels" in science["data"]:
        science["data"]["token_labels"] = "maps"  # the digest says which, wherever they lie
    science["science_version"] = SCIENCE_VERSION
    return _normalise(science)


def is_transient(key: str) -> bool:
    """Whether a dotted key says where or how fast a run happens, and nothing of what it is."""
    return any(key == one or key.startswith(f"{one}.") for one in TRANSIENT)


def run_id(config: RunConfig) -> str:
    """Return ``<method>-<12 hex digits>``, the identity of a run."""
    return id_of(canonical(config), method=config.method)


def id_of(science: Mapping[str, Any], *, method: str) -> str:
    """Return the identity of the run with this science.

    Args:
        science: canonical configuration.
        method: the run's method, which its id begins with.
    """
    return f"{method}-{fingerprint(science)[:12]}"


def fingerprint(science: Mapping[str, Any]) -> str:
    """Return what is the same for the same science, as 64 hex digits."""
    text = json.dumps(science, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def with_start(science: Mapping[str, Any], *, seed: int, upstream: str | None) -> dict[str, Any]:
    """Return the science of a run that differs from another in what it starts from alone.

    Args:
        science: canonical configuration; shared where nothing changes.
        seed: the run's own seed.
        upstream: the run whose weights it starts from; None leaves ``init`` alone.
    """
    changed = {**science, "seed": seed}
    if upstream is not None:
        changed["init"] = {**science["init"], "run": upstream}
    return changed


def _judged_on_held_out(build: Mapping[str, Any]) -> bool:
    """Whether a portion's runs are judged on other images than those of its reports."""
    return build.get("val") == HELD_OUT and all(name in build for name in RANGES)


def _drop(config: dict[str, Any], dotted: str, only_if: Any = ...) -> None:
    place, leaf = parent_of(config, dotted), dotted.rpartition(".")[2]
    if place is not None and (only_if is ... or place.get(leaf, ...) == only_if):
        place.pop(leaf, None)


def _normalise(value: Any) -> Any:
    """Make 5 and 5.0 the same number."""
    if isinstance(value, dict):
        return {key: _normalise(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_normalise(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value
