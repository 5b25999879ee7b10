from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from scaledrelu.bench.cases import Case
from scaledrelu.bench.flops import task_flops, training_flops
from scaledrelu.bench.measure import (
    Sides,
    UnequalWorkError,
    build_sides,
    check_same_work,
    measure_case,
    steppers,
)
from scaledrelu.bench.plain import shifted
from scaledrelu.config.compose import compose
from scaledrelu.runs.build import build_task

CPU = torch.device("cpu")
TINY = Case("smoke", "conv", batch=4)


def sides_of(case: Case, *, peak_lr_scale: float = 1.0) -> Sides:
    sides = build_sides(case, CPU)
    for group in sides.plain.optimizer.param_groups:
        group["lr"] *= peak_lr_scale
    return sides


@pytest.mark.parametrize(
    "case",
    [
        TINY,
        replace(TINY, optimizer="sam"),
        replace(TINY, stem="patchify", precision="bf16", channels_last=False),
        replace(TINY, optimizer="sam", precision="fp16_2021"),
        replace(TINY, defaults=True, fused=False),
        replace(TINY, whole_loop=True),
        replace(TINY, stem="patchify", batch=8, groups=2),
        replace(TINY, stem="patchify", batch=8, groups=2, at_once=True),
        replace(TINY, recipe="volo", batch=8),
        replace(TINY, recipe="volo", stem="patchify", precision="bf16", batch=8),
        replace(TINY, recipe="dino"),
        replace(TINY, recipe="dino", stem="patchify", precision="bf16"),
    ],
    ids=lambda case: case.label,
)
def test_the_plain_step_does_the_work_of_ours(case: Case):
    sides = sides_of(case)
    start = [p.detach().clone() for p in sides.ours.task.parameters()]
    gap = check_same_work(sides)
    assert gap < (3e-4 if case.precision == "fp32" else 0.1)
    assert any(
        not torch.equal(a, b) for a, b in zip(start, sides.ours.task.parameters(), strict=True)
    )


@pytest.mark.parametrize("recipe", ["deit", "volo", "dino"])
def test_compiled_sides_mark_every_step(monkeypatch: pytest.MonkeyPatch, recipe: str):
    marks = []
    monkeypatch.setattr(torch.compiler, "cudagraph_mark_step_begin", lambda: marks.append(1))
    case = replace(TINY, recipe=recipe, optimizer="sam" if recipe == "deit" else "adamw", batch=8)
    sides = build_sides(replace(case, compiled=True), CPU)
    sides.plain.compile("default")
    for number, step in enumerate(steppers(sides, case), start=1):
        with torch.compiler.set_stance("force_eager"):
            step()
        assert len(marks) == number


def test_another_rate_of_the_plain_step_is_noticed():
    with pytest.raises(UnequalWorkError, match="loss gaps"):
        check_same_work(sides_of(TINY, peak_lr_scale=3.0))


def test_a_plain_step_without_its_second_pass_is_noticed():
    sides = sides_of(replace(TINY, optimizer="sam"))
    sides.plain.rho = None
    with pytest.raises(UnequalWorkError, match="loss gaps"):
        check_same_work(sides)


def test_other_weights_or_exemptions_of_the_plain_step_are_noticed():
    sides = sides_of(TINY)
    with torch.no_grad():
        sides.plain.model.head.weight.add_(0.01 * torch.randn(sides.plain.model.head.weight.shape))
    with pytest.raises(UnequalWorkError, match="loss gaps"):
        check_same_work(sides)
    sides = sides_of(TINY)
    sides.plain.optimizer.param_groups[0]["weight_decay"] = 0.1
    with pytest.raises(UnequalWorkError, match="weight decay"):
        check_same_work(sides)


def test_another_part_of_the_method_is_noticed():
    volo = sides_of(replace(TINY, recipe="volo", batch=8))
    volo.ours.task.token_weight = 0.25
    with pytest.raises(UnequalWorkError, match="loss gaps"):
        check_same_work(volo)
    dino = sides_of(replace(TINY, recipe="dino"))
    dino.plain.task.settings = replace(dino.plain.task.settings, centre_momentum=0.9)
    with pytest.raises(UnequalWorkError, match="loss gaps"):
        check_same_work(dino)


def test_tokens_are_mixed_while_the_time_is_taken():
    sides = sides_of(replace(TINY, recipe="volo", batch=8))
    check_same_work(sides)
    assert sides.ours.task.mix_token == sides.plain.model.beta == 1.0
    assert sides.plain.model.mix_token
    assert not sides.ours.task.backbone.mix_token


@pytest.mark.slow
def test_timms_own_volo_has_our_weights():
    case = Case("paper", "conv", recipe="volo", batch=2, channels_last=False, defaults=True)
    sides = sides_of(case)
    assert type(sides.plain.model).__module__ == "timm.models.volo"
    assert check_same_work(sides) < 1e-4


def test_operations_of_dino_are_those_of_its_crops_and_heads():
    case = replace(TINY, stem="patchify", recipe="dino", batch=2)
    sides = sides_of(case)
    task, side, crops = sides.ours.task, sides.config.data.image_size, sides.batch
    small = sides.config.augment.multi_crop
    body = 2 * training_flops(task.student, side)
    body += small.num_local * training_flops(task.student, small.local_size)
    forward = 2 * forward_flops(task.teacher, crops.images[:1])
    views = 2 + small.num_local
    head = forward_flops(task.student_head, torch.zeros(1, task.student.num_features))
    expected = body + forward + head * (3 * views + 2)
    assert task_flops(task, crops, sides.ours.now, 2) == pytest.approx(expected, rel=0.02)


def forward_flops(model: torch.nn.Module, one: torch.Tensor) -> float:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(one)
    return counter.get_total_flops()


def test_drop_path_is_off_for_the_check_and_on_for_the_timing():
    sides = sides_of(replace(TINY, more=("model.drop_path=0.1",)))
    rates = [block.drop_path1.drop_prob for block in sides.ours.task.backbone.blocks[1:]]
    check_same_work(sides)
    assert rates == [b.drop_path1.drop_prob for b in sides.ours.task.backbone.blocks[1:]]
    assert max(rates) == pytest.approx(0.1)


@pytest.mark.parametrize("swapped", [False, True])
def test_either_side_may_hold_the_first_weights(swapped: bool):
    torch.manual_seed(0)
    sides = build_sides(TINY, CPU, swapped=swapped)
    ours, plain = sides.ours.task.backbone, sides.plain.model
    assert ours is not plain
    first = {id(p) for p in ours.parameters()}
    assert first.isdisjoint(id(p) for p in plain.parameters())
    trained = {id(p) for group in sides.ours.optimizer.param_groups for p in group["params"]}
    assert trained == first
    check_same_work(sides)


def test_both_sides_of_the_whole_loop_train_on_fresh_images():
    sides = sides_of(replace(TINY, whole_loop=True))
    ours, plain = steppers(sides, TINY)
    losses = {float(ours()) for _ in range(3)}, {float(plain()) for _ in range(3)}
    assert [len(seen) for seen in losses] == [3, 3]
    assert sides.ours.count == 3


def test_a_row_holds_rates_work_and_utilisation():
    row = measure_case(replace(TINY, optimizer="sam"), CPU, blocks=2, turn_seconds=0.0)
    assert len(row.ratios) == 2
    assert row.images_per_s == pytest.approx(4 * row.steps_per_s)
    utilisation = row.images_per_s * row.gflop_per_image * 1e9 / (row.peak_tflops * 1e12)
    assert row.mfu_percent == pytest.approx(100 * utilisation)
    plain = measure_case(TINY, CPU, blocks=1, turn_seconds=0.0)
    assert row.gflop_per_image == pytest.approx(2 * plain.gflop_per_image)
    assert row.parameters == plain.parameters


@pytest.mark.parametrize(("stem", "gflop"), [("patchify", 27.48), ("conv", 35.12)])
@pytest.mark.parametrize("precision", ["fp16", "fp16_2021"])
def test_counted_operations_are_those_of_deit_small(stem: str, gflop: float, precision: str):
    config = compose(["profile=paper", f"stem={stem}", f"precision={precision}"])
    with torch.device("meta"):
        backbone = build_task(config, 1000).backbone
    assert training_flops(backbone, 224) / 1e9 == pytest.approx(gflop, abs=0.005)


def test_a_shift_moves_whole_images_and_lets_zeros_in():
    images = torch.rand(64, 3, 5, 5) + 1
    moved = shifted(images, 1)
    assert moved.shape == images.shape
    kinds = set()
    for before, after in zip(images, moved, strict=True):
        padded = torch.nn.functional.pad(before, [1] * 4)
        places = [(y, x) for y in range(3) for x in range(3)]
        found = [
            p for p in places if torch.equal(after, padded[:, p[0] : p[0] + 5, p[1] : p[1] + 5])
        ]
        assert len(found) == 1
        kinds.add(found[0])
    assert len(kinds) == 9
    assert shifted(images, 0) is images
