"""What a plan costs is counted by hand as torch counts it, and said where it is printed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from scaledrelu.bench.flops import training_flops
from scaledrelu.config.compose import compose_unpinned
from scaledrelu.config.identity import canonical
from scaledrelu.launch.cost import cost_text, disk_bytes, forward_flops, parameters, step_flops
from scaledrelu.launch.estimate import Estimate
from scaledrelu.runs.build import build_task
from scaledrelu.runs.record import Status
from scaledrelu.tables.plan import PlannedRun

PAPER = ["profile=paper"]
UNKNOWN = lambda run: Estimate(None, measured=False)  # noqa: E731


@pytest.mark.parametrize(
    "overrides",
    [[], ["stem=conv"], ["stem=conv_plain", "stem.strides=[2,2,2]", "stem.proj_kernel=8"],
     ["recipe=volo", "model=volo_d1"]],
)  # fmt: skip
def test_operations_and_parameters_are_those_that_torch_counts(overrides):
    config = compose_unpinned([*PAPER, *overrides])
    with torch.device("meta"):
        backbone = build_task(config, 1000).backbone
    counted = training_flops(backbone, 224)
    assert 3 * forward_flops(config, 224, 224) == pytest.approx(counted, rel=0.15)
    number = sum(p.numel() for p in backbone.parameters())
    assert parameters(config) == pytest.approx(number, rel=0.15)


def test_sam_takes_twice_and_crops_take_what_they_show():
    plain, sam, dino = (
        step_flops(compose_unpinned([*PAPER, *more]))
        for more in ([], ["optimizer=sam"], ["recipe=dino"])
    )
    assert sam == 2 * plain
    assert dino > 2 * plain
    assert disk_bytes(compose_unpinned([*PAPER, "recipe=dino"])) > 0


def planned(config, number):
    name = f"deit-{number:012x}"
    return PlannedRun(name, (), 0, config, canonical(config), None, None, 0, Status.MISSING, None)


def test_a_plan_says_gpu_hours_wall_time_disk_and_cores_and_on_what_they_rest():
    config = compose_unpinned([*PAPER, "stem=conv"])
    todo = [planned(config, number) for number in range(4)]
    text = cost_text(todo, gpus=8, estimate=UNKNOWN)
    hours = float(text.partition("cost: ")[2].partition(" GPU")[0].replace(",", ""))
    assert 4 * 40 < hours < 4 * 200, "DeiT-S, 300 epochs"
    for said in ("on 8 GPUs", "GB", "cores to decode images", "A100", "25% of it used"):
        assert said in text
    assert "0 of 4 runs from measured speed" in text


def test_measured_speed_goes_before_arithmetic():
    config = compose_unpinned([*PAPER, "launch=ddp8"])
    text = cost_text(
        [planned(config, 1)], gpus=8, estimate=lambda _: Estimate(3600.0 * 10, measured=True)
    )
    assert text.startswith("cost: 80 GPU-hours, 10h 00m on 8 GPUs")
    assert "1 of 1 runs from measured speed)" in text


def test_images_that_nobody_counted_are_said_to_be_unknown(tmp_path: Path):
    config = compose_unpinned([*PAPER, "data=imagefolder", f"data.root={tmp_path}"])
    text = cost_text([planned(config, 1)], gpus=1, estimate=UNKNOWN)
    assert "and 1 runs of unknown length" in text
    assert "on 1 GPU;" in text
