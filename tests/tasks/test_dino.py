"""DINO's student, teacher and centre move as the official ones do."""

import copy
import json
import math
from pathlib import Path

import pytest
import torch
from timm.layers import DropPath
from torch import nn

from scaledrelu.tasks.base import Progress
from tests.helpers.dino_toys import (
    HEAD,
    SAM,
    TOTAL,
    Crops,
    adamw,
    at,
    crops,
    make_dino,
    make_update,
)

GOLDEN = json.loads((Path(__file__).parents[1] / "fixtures" / "schedules_dino.json").read_text())
CASES = pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda c: f"{c['epochs']}epochs")


@CASES
def test_teacher_momentum_and_temperature_equal_the_recorded_official_ones(case):
    names = ("teacher_temp", "warmup_teacher_temp", "warmup_teacher_temp_epochs")
    settings = {name: case[name] for name in names}
    task = make_dino(teacher_momentum=case["momentum_teacher"], **settings)
    total = case["epochs"] * case["steps_per_epoch"]
    for step, expected in enumerate(case["momentum_per_step"]):
        epoch = step // case["steps_per_epoch"]
        t = Progress(step, total, epoch, case["steps_per_epoch"])
        assert task.momentum(t) == pytest.approx(expected, rel=1e-9)
    for epoch, expected in enumerate(case["teacher_temp_per_epoch"]):
        assert task.temperature(epoch) == pytest.approx(expected, rel=1e-9)


def test_momentum_of_the_published_run_is_met():
    task, values = make_dino(), GOLDEN["published_run_spot_values"]
    for step, expected in zip(values["step"], values["momentum"], strict=True):
        found = task.momentum(Progress(step, 250_200, step // 2502, 2502))
        assert found == pytest.approx(expected, rel=1e-9)


def test_teacher_starts_as_the_student_without_drop_path_or_gradients():
    task = make_dino(drop_path=0.5)
    pairs = [(task.student, task.teacher), (task.student_head, task.teacher_head)]
    for student, teacher in pairs:
        for (name, own), other in zip(
            student.state_dict().items(), teacher.state_dict().values(), strict=True
        ):
            assert torch.equal(own, other), name
            assert own.data_ptr() != other.data_ptr()
        assert not any(p.requires_grad for p in teacher.parameters())
    rates = [[m.drop_prob for m in net.modules() if isinstance(m, DropPath)] for net in pairs[0]]
    assert max(rates[0]) == 0.5
    assert max(rates[1]) == 0.0
    images = crops(0, 0).images
    assert torch.equal(task.teacher(images), task.teacher(images))
    assert not torch.equal(task.student(images), task.student(images))


def test_evaluators_and_later_runs_get_the_teacher():
    task = make_dino()
    assert task.backbone is task.teacher
    assert task.networks() == (task.student, task.teacher)
    assert task.headless
    assert task.chance_loss == math.log(HEAD["out_dim"])
    assert not any(name.startswith("backbone") for name in task.state_dict())


def loss_by_hand(task, batch, centre, temp):
    """The loss from the networks' scores, pair by pair, every crop normalised with its size."""
    sizes = [batch.images] if batch.local is None else [batch.images, batch.local]
    views = [
        view
        for images in sizes
        for view in task.student_head(task.student(images)).split(len(batch.images) // 2)
    ]
    teacher = task.teacher_head(task.teacher(batch.images)).chunk(2)
    terms = []
    for i, scores in enumerate(teacher):
        wanted = torch.softmax((scores - centre) / temp, -1)
        terms += [
            nn.functional.cross_entropy(view / 0.1, wanted)
            for j, view in enumerate(views)
            if j != i
        ]
    assert len(terms) == 2 * len(views) - 2
    return sum(terms) / len(terms)


@pytest.mark.parametrize("local", [0, 3])
def test_loss_of_a_batch_equals_its_pairs_one_by_one(local):
    task = make_dino(teacher_temp=0.07, warmup_teacher_temp=0.05, warmup_teacher_temp_epochs=3)
    task.centre.copy_(torch.randn(HEAD["out_dim"]))
    batch = crops(0, 0, local=local)
    assert (batch.local is None) == (local == 0)
    output = task(batch, at(4))  # epoch 1 of 3 warm-up epochs
    expected = loss_by_hand(task, batch, task.centre, 0.06)
    assert output.loss.item() == pytest.approx(expected.item(), rel=1e-10)
    own = torch.autograd.grad(output.loss, list(task.student.parameters()))
    other = torch.autograd.grad(expected, list(task.student.parameters()))
    for a, b in zip(own, other, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-12)
    assert 0 < output.logs["teacher/entropy_fraction"] < 1
    assert not any(value.requires_grad for value in output.logs.values())


def train(task, steps, *, groups=(0,), start=0, optimizer=None, **changes):
    optimizer = optimizer or adamw(task)
    update = make_update(task, optimizer, groups_local=groups, **changes)
    task.train()
    for step in range(start, start + steps):
        update([crops(step, group) for group in groups], at(step))
    return optimizer


def teacher_mean(task, step, groups):
    with torch.no_grad():
        each = [copy.deepcopy(task).teacher for _ in groups]
        scores = [
            task.teacher_head(net(crops(step, group).images))
            for net, group in zip(each, groups, strict=True)
        ]
    return torch.cat(scores).mean(0)


@pytest.mark.parametrize("sam", [None, SAM], ids=["plain", "sam"])
def test_centre_is_the_moving_average_of_the_mean_over_all_groups(sam):
    task, groups = make_dino(centre_momentum=0.7, teacher_momentum=0.5), (0, 1, 2)
    optimizer, expected = adamw(task), torch.zeros(HEAD["out_dim"], dtype=torch.float64)
    for step in range(3):
        expected = 0.7 * expected + 0.3 * teacher_mean(task, step, groups)
        train(task, 1, start=step, groups=groups, optimizer=optimizer, sam=sam)
        torch.testing.assert_close(task.centre, expected, rtol=1e-10, atol=1e-14)
    assert task.centre.abs().max() > 1e-3


def test_every_group_uses_the_centre_from_before_the_step():
    task, seen = make_dino(centre_momentum=0.0), []
    update = make_update(task, adamw(task), groups_local=(0, 1))
    for step in range(2):
        before = task.centre.clone()
        report = update.gradients([crops(step, g) for g in (0, 1)], at(step))
        assert torch.equal(task.centre, before)
        frozen = copy.deepcopy(task)
        losses = [loss_by_hand(frozen, crops(step, g), before, 0.04) for g in (0, 1)]
        assert report.loss.item() == pytest.approx(sum(losses).item() / 2, rel=1e-9)
        update.apply(torch.tensor(False), at(step))
        seen.append(task.centre.clone())
    assert not torch.equal(*seen)


def test_sam_moves_centre_and_teacher_statistics_as_a_plain_step_does():
    plain, steep = make_dino(), make_dino()
    train(plain, 1)
    train(steep, 1, sam=SAM)
    assert torch.equal(plain.centre, steep.centre)
    for a, b in zip(plain.teacher.buffers(), steep.teacher.buffers(), strict=True):
        assert torch.equal(a, b)
    weight = "blocks.0.attn.qkv.weight"
    assert not torch.equal(plain.student.get_parameter(weight), steep.student.get_parameter(weight))


def test_gradients_taken_twice_count_once():
    task, once = make_dino(), make_dino()
    update = make_update(task, adamw(task))
    update.gradients([crops(0, 0)], at(0))
    update([crops(0, 0)], at(0))
    train(once, 1)
    assert torch.equal(task.centre, once.centre)


def test_teacher_weights_follow_the_updated_student_by_the_momentum_of_the_step():
    task = make_dino(teacher_momentum=0.8, freeze_last_layer_epochs=0)
    optimizer = adamw(task)
    pairs = [(task.student, task.teacher), (task.student_head, task.teacher_head)]
    expected = [p.detach().clone() for _, net in pairs for p in net.parameters()]
    for step in range(3):
        train(task, 1, start=step, optimizer=optimizer)
        m = 1 - 0.5 * 0.2 * (1 + math.cos(math.pi * step / TOTAL))
        students = [p.detach() for net, _ in pairs for p in net.parameters()]
        expected = [m * old + (1 - m) * p for old, p in zip(expected, students, strict=True)]
        found = [p for _, net in pairs for p in net.parameters()]
        for p, wanted, student in zip(found, expected, students, strict=True):
            torch.testing.assert_close(p, wanted, rtol=1e-12, atol=1e-15)
            assert student.numel() == HEAD["out_dim"] or not torch.equal(p, student)
    own, others = (dict(net.named_buffers()) for net in (task.teacher, task.student))
    assert not any(torch.equal(own[name], others[name]) for name in own)


def test_a_step_that_the_scaler_skips_still_moves_teacher_and_centre():
    task = make_dino(dtype=torch.float32)
    task.teacher.pos_embed.add_(1.0)  # so that following the unchanged student shows
    student = copy.deepcopy(task.student.state_dict())
    teacher = task.teacher.pos_embed.clone()
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127)
    update = make_update(task, adamw(task), scaler=scaler, autocast="fp16")
    update([crops(0, 0, dtype=torch.float32)], at(0))
    assert scaler.get_scale() == 2.0**126
    for name, p in task.student.named_parameters():
        assert torch.equal(p, student[name]), name
    assert not torch.equal(task.teacher.pos_embed, teacher)
    assert task.centre.abs().max() > 0


def norms_of(net):
    return [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]


@pytest.mark.parametrize("sam", [None, SAM], ids=["plain", "sam"])
def test_running_statistics_of_both_networks_follow_group_zero(sam):
    start = make_dino()
    student, teacher = copy.deepcopy(start.student), copy.deepcopy(start.teacher)
    batch = crops(0, 0)
    student(batch.images), student(batch.local), teacher(batch.images)
    task = make_dino()
    update = make_update(task, adamw(task), groups_local=(2, 0, 1), sam=sam)
    update([crops(0, group) for group in (2, 0, 1)], at(0))
    for net, alone, calls in ((task.student, student, 2), (task.teacher, teacher, 1)):
        assert len(norms_of(net)) == 3
        for norm, expected in zip(norms_of(net), norms_of(alone), strict=True):
            assert int(norm.num_batches_tracked) == calls
            torch.testing.assert_close(norm.running_mean, expected.running_mean)
            torch.testing.assert_close(norm.running_var, expected.running_var)


@pytest.mark.parametrize("scaled", [False, True], ids=["plain", "fp16"])
def test_last_layer_stays_in_the_first_epoch_and_moves_after_it(scaled):
    dtype = torch.float32 if scaled else torch.float64
    task = make_dino(dtype=dtype, freeze_last_layer_epochs=1)
    optimizer, last = adamw(task), task.student_head.last_layer.direction
    start, first = last.detach().clone(), task.student_head.mlp[0].weight.detach().clone()
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**-6) if scaled else None
    kind = {"scaler": scaler, "autocast": "fp16" if scaled else "none"}
    update = make_update(task, optimizer, **kind)
    for step in range(6):  # four steps an epoch
        update([crops(step, 0, dtype=dtype)], at(step))
        assert torch.equal(last, start) == (step < 4)
        assert (last in optimizer.state) == (step >= 4)
    assert scaler is None or scaler.get_scale() == 2.0**-6  # no step was skipped
    assert not torch.equal(task.student_head.mlp[0].weight, first)
    assert torch.equal(
        task.student_head.last_layer.magnitude, torch.ones(HEAD["out_dim"], 1, dtype=dtype)
    )


@pytest.mark.parametrize("sam", [None, SAM], ids=["plain", "sam"])
def test_a_resumed_run_equals_the_uninterrupted_one_bit_for_bit(sam, tmp_path):
    whole = make_dino(drop_path=0.3, dtype=torch.float32)
    half = copy.deepcopy(whole)

    def go(task, steps, start, optimizer):
        update = make_update(task, optimizer, sam=sam, groups_local=(0, 1))
        for step in range(start, start + steps):
            update([crops(step, g, dtype=torch.float32) for g in (0, 1)], at(step))

    go(whole, 6, 0, adamw(whole))
    optimizer = adamw(half)
    go(half, 3, 0, optimizer)
    saved = {"task": half.state_dict(), "optimizer": optimizer.state_dict()}
    torch.save(saved, tmp_path / "saved.pt")
    state = torch.load(tmp_path / "saved.pt", weights_only=True)
    again = make_dino(seed=1, drop_path=0.3, dtype=torch.float32)
    assert not torch.equal(again.teacher.pos_embed, half.teacher.pos_embed)
    optimizer = adamw(again)
    again.load_state_dict(state["task"])
    optimizer.load_state_dict(state["optimizer"])
    go(again, 3, 3, optimizer)
    for (name, expected), found in zip(
        whole.state_dict().items(), again.state_dict().values(), strict=True
    ):
        assert torch.equal(found, expected), name
    assert whole.centre.abs().max() > 0


def test_what_is_trained_is_the_student_and_its_head_without_the_magnitudes():
    task = make_dino()
    trained = {n for n, p in task.named_parameters() if p.requires_grad}
    assert {n.split(".")[0] for n in trained} == {"student", "student_head"}
    assert "student_head.last_layer.magnitude" not in trained
    free = make_dino(norm_last_layer=False)
    assert free.student_head.last_layer.magnitude.requires_grad
    assert not free.teacher_head.last_layer.magnitude.requires_grad


def test_positions_and_class_token_decay_as_in_the_official_groups():
    task = make_dino()
    exempt, decaying = ({id(p) for p in group["params"]} for group in adamw(task).param_groups)
    for name, p in task.named_parameters():
        if p.requires_grad:
            assert id(p) in (exempt if p.ndim == 1 else decaying), name
    assert {id(task.student.pos_embed), id(task.student.cls_token)} <= decaying


def test_collapse_of_the_networks_shows_in_the_logs():
    images = torch.randn(16, 3, 16, 16, dtype=torch.float64)
    batch = Crops(images, None, 0)
    healthy = make_dino()(batch, at(0)).logs
    task = make_dino()
    for p in task.teacher.parameters():
        p.zero_()
    task.teacher.norm.bias.fill_(1.0)  # the same features for every image
    dead = task(batch, at(0)).logs
    assert dead["teacher/feature_std"] < 1e-6 < healthy["teacher/feature_std"]
    assert dead["teacher/divergence"] < 1e-6 < healthy["teacher/divergence"]
    task.centre.copy_(-100.0 * torch.nn.functional.one_hot(torch.tensor(3), HEAD["out_dim"]))
    peaked = task(batch, at(0)).logs
    assert peaked["teacher/mean_entropy"] < 1e-6
    task.centre.copy_(task.teacher_head(task.teacher(images)).mean(0))
    flat = task(batch, at(0)).logs
    assert flat["teacher/entropy_fraction"] == pytest.approx(1)
