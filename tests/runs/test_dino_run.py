"""A DINO run from configuration to result: crops, k-NN, resume, any number of processes."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from scaledrelu.config.compose import compose
from scaledrelu.config.identity import run_id
from scaledrelu.config.run import RunConfig
from scaledrelu.engine.distributed import World
from scaledrelu.errors import ConfigError
from scaledrelu.runs import build as build_module
from scaledrelu.runs.dry import dry_step
from scaledrelu.runs.ending import Ended
from scaledrelu.runs.execute import execute
from scaledrelu.runs.record import read_result
from scaledrelu.runs.spawn import run_job
from scaledrelu.tasks.base import Progress
from tests.helpers.tiny_runs import (
    assert_same_weights,
    fingerprint,
    folder_of,
    stop_when_asked,
)

DINO = ("recipe=dino", "stem=conv", "model.depth=2", "model.drop_path=0.1", "launch.device=cpu")
# Drop path's masks follow the batch; AdamW makes steps of the rounding in a gradient that is zero,
# and so does a teacher as sharp as mini's of the rounding in its scores.
SAME = (
    *DINO, "model.drop_path=0", "augment.multi_crop.num_local=2", "optimizer=sgd", "lr.base=0.3",
    "task.teacher_temp=0.04", "task.warmup_teacher_temp=0.04", "task.head_init_std=0.02",
)  # fmt: skip
CPU = World(0, 1, torch.device("cpu"))


@pytest.fixture(autouse=True)
def _cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def test_a_run_leaves_knn_its_spread_and_what_the_teacher_does(smoke) -> None:
    config = smoke(*DINO)
    assert run_job(config).ended == Ended.OK
    metrics = read_result(folder_of(config)).metrics
    assert {"val/knn10", "val/knn20", "val/feature_std", "val/feature_rank"} <= metrics.keys()
    start = build_module.build(config, CPU)
    start.training.task.eval()
    asked = start.training.evaluate(Progress(0, 1, 0, 1)).metrics
    assert {name: metrics[f"{name}_start"] for name in asked} == asked
    assert 0 < metrics["val/knn20"] <= metrics["val/knn20_best"] <= 100
    assert metrics["val/knn20_best_epoch"] in (0, 1)
    evidence = np.load(folder_of(config) / "evidence.npz")
    assert evidence["knn20.last"] == metrics["val/knn20"]
    assert evidence["knn20.best"] == metrics["val/knn20_best"]
    assert evidence["val.correct"].mean() * 100 == pytest.approx(metrics["val/knn20"])
    lines = (folder_of(config) / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert {"train/loss", "train/teacher/entropy", "train/teacher/feature_std"} <= rows[0].keys()


def test_a_run_that_stops_and_goes_on_ends_as_one_that_did_not(smoke, tmp_path) -> None:
    overrides = (*DINO, "launch.checkpoint_every_steps=100", "launch.log_every_steps=1")
    whole = smoke(*overrides)
    cut = smoke(*overrides, f"paths.results={tmp_path / 'cut'}")
    assert run_job(whole).ended == Ended.OK
    folder_of(cut).mkdir(parents=True)
    for stop_after in (1, 2):
        asked = stop_when_asked(stop_after)
        assert execute(cut, CPU, folder_of(cut), wants_stop=asked) is None
    assert run_job(cut).ended == Ended.OK
    assert fingerprint(cut) == fingerprint(whole)


@pytest.fixture(scope="module")
def in_eights(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    """The configuration of a finished run of one process in groups of eight images."""
    results = tmp_path_factory.mktemp("eights")
    config = compose(["profile=smoke", *SAME, "batch.group=8", f"paths.results={results}"])
    assert run_job(config).ended == Ended.OK
    return config


def test_groups_that_go_through_together_train_like_one_group(smoke, in_eights) -> None:
    one = smoke(*SAME)
    assert run_id(one) != run_id(in_eights)
    assert run_job(one).ended == Ended.OK
    assert_same_weights(one, in_eights, atol=5e-3)


@pytest.mark.usefixtures("forked_ranks")
def test_one_process_and_two_ranks_train_the_same(smoke, in_eights) -> None:
    two = smoke(*SAME, "batch.group=8", "launch.nproc=2")
    assert run_id(in_eights) == run_id(two)
    assert run_job(two).ended == Ended.OK
    assert_same_weights(in_eights, two, atol=5e-3)
    first, second = (read_result(folder_of(config)).metrics for config in (in_eights, two))
    # Not their k-NN: features lie so close together here that rounding decides who is near.
    for name in ("val/feature_std", "val/feature_rank"):
        assert second[name] == pytest.approx(first[name], rel=0.02)


def test_a_row_takes_its_steps_on_noise(smoke) -> None:
    report = dry_step(smoke(*DINO), num_classes=10)
    assert report.logits == (32, 64)  # features: there is no classifier
    assert report.loss > 0
    assert report.grad_norm > 0


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("augment.mixup=0.8", "augment.mixup"),
        ("augment.erasing=0.25", "augment.erasing"),
        ("augment.shift=1", "augment.shift"),
    ],
)
def test_augmentation_that_the_crops_do_not_have_is_refused(smoke, override, named) -> None:
    with pytest.raises(ConfigError, match=f"{named}: cannot be combined with augment.multi_crop"):
        build_module.build(smoke(*DINO, override), CPU)


def test_too_many_neighbours_are_refused_before_anything_trains(smoke) -> None:
    build = "{_target_: scaledrelu.evals.knn.Knn, neighbours: [20, 200], temperature: 0.07}"
    config = smoke(*DINO, f"evaluation.build=[{build}]")
    with pytest.raises(ConfigError, match=r"neighbours=\[20, 200\]: must lie in \[1, 142\]"):
        build_module.build(config, CPU)
