"""How a run is looked at: evaluators after an epoch, evidence at its end."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import numpy as np
import torch

from scaledrelu.engine.distributed import World
from scaledrelu.engine.loop import Cursor, Evaluation
from scaledrelu.evals.tokens import layer_similarity
from scaledrelu.models.tokens import (
    attention_weight_norms,
    layer_tokens,
    stem_scales,
    watch_largest,
)
from scaledrelu.runs.create import create
from scaledrelu.runs.feed import Validation
from scaledrelu.tasks.base import Progress, Task

AUTOCAST = {"fp16": torch.float16, "bf16": torch.bfloat16}


def build_evaluation(
    config: dict[str, Any], task: Task, validation: Validation, world: World
) -> Callable[[Progress], Evaluation]:
    """Return a function that runs every evaluator of the recipe and probes for extremes."""
    autocast = partial(autocast_context, config["precision"]["autocast"], world.device)
    evaluators = [
        create(
            build,
            batches=partial(iter, validation),
            num_images=validation.num_images,
            reduce_sum=world.reduce_sum,
            autocast=autocast,
        )
        for build in config["evaluation"]["build"]
    ]

    def evaluate(t: Progress) -> Evaluation:
        metrics: dict[str, float] = {}
        arrays: dict[str, torch.Tensor] = {}
        for evaluator in evaluators:
            numbers, found = evaluator(task.backbone)
            metrics.update(numbers)
            arrays.update(found)
        with watch_largest(task.backbone) as largest, autocast():
            task.backbone(validation.probe)
        arrays["max/activation"] = largest.activation.cpu()
        arrays["max/score"] = largest.score.cpu()
        return Evaluation(metrics, arrays)

    return evaluate


@torch.no_grad()
def collect_evidence(
    config: dict[str, Any], task: Task, validation: Validation, world: World, cursor: Cursor
) -> dict[str, np.ndarray]:
    """Gather what later reports need from the weights; NaN after a non-finite crash stays."""
    backbone = task.backbone
    backbone.eval()
    sums, images_seen = None, 0
    for batch in validation:
        with autocast_context(config["precision"]["autocast"], world.device):
            layers = layer_tokens(backbone, batch.images)
        found = [layer_similarity(tokens) for tokens in layers]
        rows = torch.stack([torch.stack((f.absolute, f.signed)) for f in found]).double() * len(
            batch.images
        )
        sums = rows if sums is None else sums + rows
        images_seen += len(batch.images)
    count = world.reduce_sum(torch.tensor(float(images_seen), device=world.device))
    similarity = (world.reduce_sum(sums) / count).cpu().numpy()
    evidence = {
        "similarity/absolute": similarity[:, 0],
        "similarity/signed": similarity[:, 1],
        "qkv_channel_norm": attention_weight_norms(backbone).float().cpu().numpy(),
        "top1/last": np.float64(cursor.latest.get("val/top1", np.nan)),
        "top1/best": np.float64(cursor.best.get("value", np.nan)),
    }
    scales = stem_scales(backbone.patch_embed)
    if scales is not None:
        evidence |= {
            "stem/alpha": scales.alpha.float().cpu().numpy(),
            "stem/beta": scales.beta.float().cpu().numpy(),
        }
    evidence.update({name: value.numpy() for name, value in cursor.arrays.items()})
    return evidence


def pack(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Return an ``.npz`` whose bytes depend on nothing but the arrays."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{name.replace("/", "."): arrays[name] for name in sorted(arrays)})
    return buffer.getvalue()


def autocast_context(autocast: str, device: torch.device) -> AbstractContextManager[Any]:
    """Return the autocast context of a precision, or one that does nothing."""
    if autocast == "none":
        return nullcontext()
    return torch.autocast(device.type, dtype=AUTOCAST[autocast])
