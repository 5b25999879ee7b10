"""The composed DINO pre-training and linear evaluation are those of recipes C.1 and C.2."""

from __future__ import annotations

from typing import Any

import pytest

from scaledrelu.config.run import RunConfig, plain, value_of
from scaledrelu.runs.build import build_task
from scaledrelu.runs.optimisation import build_optimizer, build_schedule, build_weight_decay
from tests.helpers.configs import composed

STEPS = 2502  # an epoch of C.1
PRE_TRAINING = {  # recipes C.1
    "batch.total": 512,
    "batch.group": 64,
    "batch.sync_bn": True,
    "model.patch_size": 16,
    "model.width": 384,
    "model.depth": 12,
    "model.heads": 6,
    "model.drop_path": 0.1,
    "task.out_dim": 65536,
    "task.head_hidden": 2048,
    "task.bottleneck": 256,
    "task.head_layers": 3,
    "task.norm_last_layer": True,
    "task.student_temp": 0.1,
    "task.teacher_temp": 0.04,
    "task.warmup_teacher_temp": 0.04,
    "task.warmup_teacher_temp_epochs": 0,
    "task.centre_momentum": 0.9,
    "task.teacher_momentum": 0.996,
    "task.freeze_last_layer_epochs": 1,
    "optimizer.build._target_": "torch.optim.AdamW",
    "optimizer.build.betas": [0.9, 0.999],
    "optimizer.build.eps": 1e-8,
    "optimizer.build.weight_decay": 0.04,
    "schedule.weight_decay_end": 0.4,
    "optimizer.decay_tokens": True,
    "optimizer.clip_grad": 3.0,
    "optimizer.clip": "per_tensor",
    "optimizer.sam": None,
    "lr.base": 5e-4,
    "lr.reference_batch": 256,
    "schedule.epochs": 100,
    "schedule.unit": "step",
    "schedule.min_lr": 1e-6,
    "warmup.epochs": 10,
    "warmup.start_lr": 0.0,
    "precision.autocast": "fp16",
    "precision.loss_scaling": True,
    "data.image_size": 224,
    "augment.interpolation": "bicubic",
    "augment.hflip": 0.5,
    "augment.multi_crop": {
        "num_local": 8,
        "local_size": 96,
        "global_scale": [0.4, 1.0],
        "local_scale": [0.05, 0.4],
        "jitter": [0.4, 0.4, 0.2, 0.1],
        "jitter_prob": 0.8,
        "grey_prob": 0.2,
        "blur_prob": [1.0, 0.1, 0.5],
        "solarize_prob": 0.2,
        "pipeline": "reference",
    },
    "augment.rand_augment": None,
    "augment.mixup": 0.0,
    "augment.cutmix": 0.0,
    "augment.erasing": 0.0,
    "augment.repeats": 1,
    "ema": None,
}
PROBE = {  # recipes C.2
    "task.num_blocks": 4,
    "optimizer.build._target_": "torch.optim.SGD",
    "optimizer.build.momentum": 0.9,
    "optimizer.build.weight_decay": 0.0,
    "lr.base": 1e-3,
    "lr.reference_batch": 256,
    "warmup.epochs": 0,
    "schedule.epochs": 100,
    "schedule.unit": "epoch",
    "schedule.min_lr": 0.0,
    "batch.total": 1024,
    "batch.group": 128,
    "precision.autocast": "none",  # fp32
    "augment.crop": "random_resized",
    "augment.crop_scale": [0.08, 1.0],
    "augment.interpolation": "bilinear",
    "augment.hflip": 0.5,
    "augment.rand_augment": None,
    "augment.color_jitter": 0.0,
    "augment.mixup": 0.0,
    "augment.cutmix": 0.0,
    "augment.erasing": 0.0,
    "augment.smoothing": 0.0,
    "augment.repeats": 1,
    "data.image_size": 224,
    "evaluation.crop": 224 / 256,
    "evaluation.every_epochs": 1,
}


def official(recipe: str, *overrides: str) -> RunConfig:
    return composed(f"recipe={recipe}", "profile=official", *overrides)


@pytest.mark.parametrize(("recipe", "settings"), [("dino", PRE_TRAINING), ("linear_probe", PROBE)])
def test_settings_are_the_official_ones(recipe: str, settings: dict[str, Any]) -> None:
    config = official(recipe)
    found = {key: plain(value_of(config, key)) for key in settings}
    assert found == settings


def test_the_rate_rises_from_0_stands_twice_at_its_peak_and_never_quite_reaches_the_floor() -> None:
    schedule = build_schedule(official("dino"), steps_per_epoch=STEPS)
    peak = 10 * STEPS
    assert schedule.total_steps == 250_200
    assert schedule.at(0) == 0
    assert schedule.at(peak - 1) == schedule.at(peak) == pytest.approx(1e-3, rel=1e-12)
    assert schedule.at(peak - 2) < 1e-3 > schedule.at(peak + 1)
    assert 1e-6 < schedule.at(schedule.total_steps - 1) < 1.001e-6


def test_weight_decay_rises_by_a_cosine_and_spares_what_has_one_dimension() -> None:
    config = official("dino", "model.depth=1", "task.out_dim=64", "stem=conv")
    decay = build_weight_decay(config, total_steps=250_200)
    assert [round(decay.at(step), 6) for step in (0, 125_100, 250_199)] == [0.04, 0.22, 0.4]
    task = build_task(config, num_classes=8)
    optimizer = build_optimizer(config.optimizer, task, lr=1e-3)
    names = {parameter: name for name, parameter in task.named_parameters()}
    decayed = {
        names[p]: group["weight_decay"] > 0
        for group in optimizer.param_groups
        for p in group["params"]
    }
    assert decayed["student.pos_embed"]
    assert decayed["student.cls_token"]
    spared = {name for name, decays in decayed.items() if not decays}
    assert spared == {n for p, n in names.items() if p.requires_grad and p.ndim == 1}
