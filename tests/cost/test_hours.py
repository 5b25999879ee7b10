"""GPU-hours: images over the lower of two rates, evaluations included, never below the floor."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scaledrelu.cost.hours import cost_of, least, official, ours, tuned
from scaledrelu.cost.speed import Basis
from scaledrelu.cost.work import step_bytes, step_flops
from tests.helpers.speeds import CROPS, HOST, RECORDS, paper

TRAIN, VAL, HOUR = 1_281_167, 50_000, 3600
ALONE = ["launch.nproc=1", "launch.cache_val=false"]
SIXTEEN = "launch.workers=16"
WITH = (ours(RECORDS), RECORDS)


def test_the_loader_decides_where_it_is_the_slower():
    cost = cost_of(paper("stem=conv", *HOST, *ALONE, SIXTEEN), ours(RECORDS), RECORDS)
    assert cost.by_loader
    assert cost.basis is Basis.MEASURED
    seconds = 300 * TRAIN / 1600 + 300 * VAL / 2400  # reference path; evaluations as device path
    assert cost.hours.likely == pytest.approx(seconds / HOUR)


def test_the_step_decides_where_it_is_the_slower_and_eight_gpus_lose_some_of_it():
    overrides = ["stem=conv", *CROPS, SIXTEEN]
    decoding = ["launch.cache_val=false"]
    one, eight = (cost_of(paper(*overrides, *more), *WITH) for more in (ALONE, decoding))
    evaluations = 300 * VAL / 2400
    assert not one.by_loader
    assert one.hours.likely == pytest.approx((300 * TRAIN / 2000 + evaluations) / HOUR)
    assert eight.hours.likely == pytest.approx((300 * TRAIN / (0.95 * 2000) + evaluations) / HOUR)
    assert eight.hours.low < eight.hours.likely < eight.hours.high


def test_loading_in_the_training_process_is_no_faster_than_one_process():
    none, one = (
        cost_of(paper(*HOST, f"launch.workers={count}"), ours(RECORDS), RECORDS) for count in (0, 1)
    )
    assert none == one


def test_images_in_memory_wait_for_no_loader():
    config = paper("stem=conv", *CROPS, *ALONE)
    waiting = replace(config, data=replace(config.data, in_memory=True))
    cost = cost_of(waiting, ours(RECORDS), RECORDS)
    assert not cost.by_loader
    assert cost.hours.likely == pytest.approx((300 * TRAIN / 2000 + 300 * VAL / 6000) / HOUR)


def test_kept_crops_are_decoded_once_and_then_wait_for_no_loader():
    kept, decoded = (
        cost_of(paper("stem=conv", *CROPS, SIXTEEN, f"launch.cache_val={word}"), *WITH).hours.likely
        for word in ("true", "false")
    )
    saved = 299 * VAL * (1 / 2400 - 1 / 6000)  # device path, forward pass
    assert decoded - kept == pytest.approx(saved / HOUR)


def test_every_gpu_evaluates_all_images_in_the_official_script_unless_told_not_to():
    config = paper("stem=conv")
    plain, shared = (
        cost_of(config, replace(side(RECORDS), workers=lambda _: 16), RECORDS).hours.likely
        for side in (official, tuned)
    )
    assert plain - shared == pytest.approx(7 * 300 * VAL / 2400 / HOUR)


def test_official_scripts_have_the_loader_processes_of_their_defaults():
    workers = official(RECORDS).workers
    assert workers(paper()) == workers(paper("recipe=dino")) == 10
    assert workers(paper("recipe=volo", "model=volo_d1")) == 8
    assert tuned(RECORDS).workers(paper()) == 16


def test_the_floor_is_operations_or_bytes_whichever_takes_longer():
    config = paper("stem=conv")
    slow = replace(RECORDS, peak=step_flops(config))  # one image a second
    images = 300 * TRAIN + 300 * VAL / 3
    assert least(config, slow) == pytest.approx(images / HOUR)
    fast = replace(RECORDS, peak=1e30)
    assert least(config, fast) == pytest.approx(images * step_bytes(config) / 4.8e12 / HOUR)


@pytest.mark.parametrize("recipe", ["deit", "dino", "volo", "reid", "linear_probe"])
def test_no_side_is_below_the_floor(recipe):
    config = paper(f"recipe={recipe}")
    floor = least(config, RECORDS)
    for side in (official, tuned, ours):
        assert 0 < floor < cost_of(config, side(RECORDS), RECORDS).hours.low


def test_a_loader_that_nobody_measured_leaves_the_hours_unknown():
    known = {name: RECORDS.alone[name] for name in ("reference", "device")}
    without = replace(RECORDS, alone=known)
    assert cost_of(paper("recipe=dino", *HOST), ours(without), without) is None
    assert cost_of(paper(*HOST), ours(without), without) is not None
