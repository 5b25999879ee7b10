"""A probe on images that nothing augments trains on features that are computed once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from scaledrelu.config.identity import run_id
from scaledrelu.config.run import RunConfig
from scaledrelu.engine.distributed import World
from scaledrelu.evals.classification import FrozenTop1, Top1
from scaledrelu.runs.build import build_task
from scaledrelu.runs.ending import Ended
from scaledrelu.runs.features import embed_training_images, is_augmented
from scaledrelu.runs.feed import Validation, open_data, train_loader
from scaledrelu.runs.prepare import Prepare
from scaledrelu.runs.spawn import run_job
from scaledrelu.tasks.base import Progress
from scaledrelu.tasks.linear_probe import LinearProbe
from tests.helpers.tiny_runs import weights_of

CPU = World(0, 1, torch.device("cpu"))
STILL = ("augment.crop=none", "augment.shift=0")


@pytest.fixture
def probe(smoke) -> Callable[..., tuple[RunConfig, LinearProbe]]:
    def make(*overrides: str) -> tuple[RunConfig, LinearProbe]:
        config = smoke("stem=conv", "data.fraction=0.3", *overrides)
        torch.manual_seed(0)
        backbone = build_task(config, 10).backbone
        backbone.reset_classifier(0)
        return config, LinearProbe(backbone, num_classes=10)

    return make


def batches(config: RunConfig, splits: Any) -> list[Any]:
    loader = train_loader(config, splits, [0], CPU)
    prepare = Prepare(config, splits.num_classes, CPU.device)
    steps = loader.epoch(1)
    return [prepare(groups, Progress(0, 9, 1, 3))[0] for groups in steps]


@pytest.mark.parametrize("layout", ["launch.channels_last=false", "launch.channels_last=true"])
def test_features_reach_the_task_in_the_order_and_with_the_targets_of_their_images(
    probe, layout
) -> None:
    config, task = probe(*STILL, layout)
    splits = open_data(config)
    images = batches(config, splits)
    features = batches(config, embed_training_images(config, task, splits))
    assert len(images) == len(features) > 1
    for image, feature in zip(images, features, strict=True):
        assert feature.images.shape == (64, 4 * 64, 1, 1)
        expected = task.backbone.embed(image.images)
        torch.testing.assert_close(feature.images, expected, rtol=1e-4, atol=1e-4)
        assert torch.equal(feature.targets, image.targets)
        torch.testing.assert_close(
            task(feature, None).loss, task(image, None).loss, rtol=1e-4, atol=1e-4
        )


def test_features_come_out_the_same_to_the_last_bit_whatever_the_evaluation_batch(probe) -> None:
    found = []
    for batch in (360, 7):
        config, task = probe(*STILL, f"evaluation.batch={batch}")
        found.append(embed_training_images(config, task.train(), open_data(config)).train.images)
    assert torch.equal(*found)


def test_validation_images_and_names_of_bad_images_stay(probe) -> None:
    config, task = probe(*STILL)
    splits = open_data(config)
    splits.train.skipped.append("bad.png")
    found = embed_training_images(config, task, splits)
    assert found.val is splits.val
    assert found.train.skipped == ["bad.png"]
    assert found.train.name_of(3) == splits.train.name_of(3)


@pytest.mark.parametrize(
    "override",
    ["augment.crop=shift augment.shift=1", "augment.hflip=0.5", "augment.erasing=0.1",
     "augment.mixup=0.8", "augment.crop=random_resized", "data.augment=reference"],
)  # fmt: skip
def test_images_that_change_from_epoch_to_epoch_stay_images(probe, override) -> None:
    config, task = probe(*STILL, *override.split())
    splits = open_data(config)
    assert is_augmented(config)
    assert embed_training_images(config, task, splits) is splits


def test_other_tasks_get_their_images(probe) -> None:
    config, _ = probe(*STILL)
    splits = open_data(config)
    assert not is_augmented(config)
    assert embed_training_images(config, build_task(config, 10), splits) is splits


def test_both_evaluators_agree_on_the_validation_set(probe) -> None:
    config, task = probe(*STILL, "evaluation.batch=100")
    validation = Validation(config, open_data(config).val, CPU)
    metrics = []
    for kind in (Top1, FrozenTop1):
        evaluator = kind(
            batches=lambda: iter(validation),
            num_images=validation.num_images,
            reduce_sum=CPU.reduce_sum,
            autocast=torch.no_grad,
        )
        metrics += [evaluator(task.backbone)[0], evaluator(task.backbone)[0]]
    assert all(found == metrics[0] for found in metrics)
    assert validation.probe is not None


@pytest.mark.usefixtures("forked_ranks")
def test_one_process_and_two_ranks_train_the_same_classifier(smoke, tmp_path) -> None:
    overrides = ("recipe=linear_probe", "stem=conv", "launch.device=cpu", "batch.group=16")
    one = smoke(*overrides)
    two = smoke(*overrides, "launch.nproc=2", f"paths.results={tmp_path / 'two'}")
    assert run_id(one) == run_id(two)
    assert run_job(one).ended == run_job(two).ended == Ended.OK
    first, second = weights_of(one), weights_of(two)
    assert any("classifier" in name for name in first)
    for name, value in first.items():
        np.testing.assert_allclose(second[name], value, rtol=1e-4, atol=1e-5, err_msg=name)
