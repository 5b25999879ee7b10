"""What a run computes is counted by hand as torch counts it, views, passes and evaluations too."""

from __future__ import annotations

import pytest
import torch

from scaledrelu.bench.flops import training_flops
from scaledrelu.cost.work import forward_flops, parameters, parts_of, step_bytes, step_flops
from scaledrelu.runs.build import build_task
from tests.helpers.speeds import paper

TRAIN, VAL = 1_281_167, 50_000


@pytest.mark.parametrize(
    "overrides",
    [[], ["stem=conv"], ["stem=conv_plain", "stem.strides=[2,2,2]", "stem.proj_kernel=8"],
     ["recipe=volo", "model=volo_d1"]],
)  # fmt: skip
def test_operations_and_parameters_are_those_that_torch_counts(overrides):
    config = paper(*overrides)
    with torch.device("meta"):
        backbone = build_task(config, 1000).backbone
    counted = training_flops(backbone, 224)
    assert 3 * forward_flops(config, 224, 224) == pytest.approx(counted, rel=0.15)
    number = sum(p.numel() for p in backbone.parameters())
    assert parameters(config) == pytest.approx(number, rel=0.15)


def test_sam_takes_twice_and_crops_take_what_they_show():
    plain, sam, dino, probe = (
        paper(), paper("optimizer=sam"), paper("recipe=dino"), paper("recipe=linear_probe")
    )  # fmt: skip
    assert step_flops(sam) == 2 * step_flops(plain)
    assert step_bytes(sam) == 2 * step_bytes(plain)
    student = 2 * step_flops(plain) + 8 * 3 * forward_flops(dino, 96, 96)
    assert step_flops(dino) == pytest.approx(student + 2 * forward_flops(dino, 224, 224))
    assert step_flops(probe) == pytest.approx(step_flops(plain) / 3)


def test_bytes_of_a_block_are_its_passes_over_the_tokens():
    config = paper()
    one_pass = 2 * 196 * 384
    assert step_bytes(config) == pytest.approx(12 * 108 * one_pass)
    stem = step_bytes(paper("stem=conv")) - step_bytes(config)
    assert stem == pytest.approx(3 * 8 * 2 * 112 * 112 * 64)


@pytest.mark.parametrize(
    ("overrides", "trained", "evaluated"),
    [
        ([], 300 * TRAIN, 300 * VAL),
        (["data.fraction=0.1"], 30 * TRAIN, 300 * VAL),
        (["recipe=volo", "model=volo_d1"], 310 * TRAIN, 310 * VAL),
        (["recipe=dino"], 100 * TRAIN, 2 * (TRAIN + VAL)),  # k-NN before and after
        (["recipe=linear_probe"], 100 * TRAIN, VAL),  # features of validation images are kept
        (["recipe=reid"], 120 * 12_936, 2 * (3_368 + 15_913)),
    ],
    ids=["deit", "a tenth of the images", "volo", "dino", "linear probe", "reid"],
)
def test_a_run_is_its_training_and_its_evaluations(overrides, trained, evaluated):
    training, evaluations = parts_of(paper(*overrides))
    assert training.images == pytest.approx(trained)
    assert evaluations.images == evaluated


def test_validation_images_come_again_and_those_of_knn_are_not_kept():
    again = [parts_of(paper(*recipe))[1].again for recipe in ([], ["recipe=dino"], ["recipe=reid"])]
    assert again == [299 * VAL, 0, 0]


def test_images_that_nobody_counted_are_no_work(tmp_path):
    assert parts_of(paper("data=imagefolder", f"data.root={tmp_path}")) == []
