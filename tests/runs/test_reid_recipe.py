"""The composed paper run is the one of recipes D.1 and D.3, down to its optimizer and rates."""

from __future__ import annotations

import pytest
import torch

from scaledrelu.config.compose import compose
from scaledrelu.config.run import RunConfig, plain, value_of
from scaledrelu.engine.loop import set_lr
from scaledrelu.runs.build import build_task
from scaledrelu.runs.optimisation import build_optimizer, build_schedule

SETTINGS = {  # recipes D.1
    "data.image_size": 256,
    "data.image_width": 128,
    "data.mean": [0.5, 0.5, 0.5],
    "data.std": [0.5, 0.5, 0.5],
    "data.augment": "reference",
    "model.patch_size": 16,
    "model.drop_path": 0.1,
    "init.positions": "bilinear",
    "batch.total": 64,
    "batch.group": 64,
    "batch.instances": 4,
    "batch.sync_bn": False,
    "task.id_weight": 1.0,
    "task.triplet_weight": 1.0,
    "task.distances": "products",
    "optimizer.build._target_": "torch.optim.SGD",
    "optimizer.build.momentum": 0.9,
    "optimizer.build.weight_decay": 1e-4,
    "optimizer.sam": None,
    "optimizer.clip_grad": None,
    "schedule.epochs": 120,
    "warmup.epochs": 5,
    "precision.autocast": "fp16",
    "precision.loss_scaling": True,
    "augment.crop": "shift",
    "augment.interpolation": "bicubic",
    "augment.shift": 10,
    "augment.hflip": 0.5,
    "augment.erasing": 0.5,
    "augment.rand_augment": None,
    "augment.color_jitter": 0.0,
    "augment.mixup": 0.0,
    "augment.cutmix": 0.0,
    "augment.smoothing": 0.0,
    "augment.repeats": 1,
    "evaluation.crop": 1.0,
    "evaluation.every_epochs": 120,
    "ema": None,
}
SETS = {  # recipes D.3
    "market1501": {
        "_target_": "scaledrelu.data.reid.open_market1501",
        "expect": {
            "train": 12936,
            "query": 3368,
            "gallery": 15913,
            "train_ids": 751,
            "query_ids": 750,
            "cameras": 6,
        },
    },
    "msmt17": {
        "_target_": "scaledrelu.data.reid.open_msmt17",
        "version": "v1",
        "with_val": True,
        "expect": {
            "train": 32621 - 2373,
            "val": 2373,
            "query": 11659,
            "gallery": 82161,
            "train_ids": 1041,
            "query_ids": 3060,
            "cameras": 15,
        },
    },
}


def official(*overrides: str) -> RunConfig:
    return compose(["recipe=reid", "profile=official", "launch.device=cpu", *overrides])


@pytest.mark.parametrize("name", SETS)
def test_settings_and_data_set_are_the_official_ones(name: str) -> None:
    config = official(f"data={name}")
    for key, expected in SETTINGS.items():
        assert plain(value_of(config, key)) == expected, key
    build = {k: v for k, v in config.data.build.items() if v is not None}
    assert build == SETS[name]


PEAKS = {  # recipes D.2: rate of an epoch, counted from 1
    1.6e-3: {1: 3.33e-4, 2: 6.50e-4, 3: 9.66e-4, 4: 1.28e-3, 5: 1.593e-3, 60: 8.02e-4, 120: 3.2e-6},
    5e-2: {1: 1.04e-2, 2: 2.03e-2, 3: 3.02e-2, 4: 4.01e-2, 5: 4.98e-2, 60: 2.5e-2, 120: 1.0e-4},
}


@pytest.mark.parametrize("base", PEAKS)
def test_rates_by_epoch_are_the_printed_ones(base: float) -> None:
    schedule = build_schedule(official(f"lr.base={base}"), steps_per_epoch=10)
    assert schedule.total_steps == 1200
    for epoch, rate in PEAKS[base].items():
        first, last = 10 * (epoch - 1), 10 * epoch - 1
        assert schedule.at(first) == pytest.approx(rate, rel=6e-3)
        assert schedule.at(first) == schedule.at(last)


def test_biases_learn_twice_as_fast_and_everything_decays() -> None:
    config = official("model.depth=1", "stem=conv")
    task = build_task(config, num_classes=8)
    optimizer, schedule = (
        build_optimizer(config.optimizer, task, lr=1.0),
        build_schedule(config, 10),
    )
    assert type(optimizer) is torch.optim.SGD
    assert not any(group["nesterov"] for group in optimizer.param_groups)
    names = {parameter: name for name, parameter in task.named_parameters()}

    def rates(step: int) -> dict[str, float]:
        set_lr(optimizer, schedule, step)
        return {names[p]: group["lr"] for group in optimizer.param_groups for p in group["params"]}

    trained = {name for name, p in task.named_parameters() if p.requires_grad}
    assert set(rates(0)) == trained == set(names.values()) - {"neck.bias"}
    assert {group["weight_decay"] for group in optimizer.param_groups} == {1e-4}
    first, peak, last = rates(0), rates(50), rates(1199)
    biases = {name for name in trained if "bias" in name}
    assert "backbone.blocks.0.norm1.bias" in biases
    assert "classifier.weight" in trained - biases
    # Start of the warm-up and floor are numbers, not factors: recipes D.1.
    assert {round(first[name] * 1e4, 3) for name in biases} == {6.528}
    assert {round(first[name] * 1e4, 3) for name in trained - biases} == {3.328}
    twice = 2 * peak["classifier.weight"]
    assert all(peak[name] == pytest.approx(twice, rel=1e-3) for name in biases)
    assert len({round(rate, 12) for rate in last.values()}) == 1
