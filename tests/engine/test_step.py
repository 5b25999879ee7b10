import math

import pytest
import torch
from torch import nn

from scaledrelu.config.group import fields_of
from scaledrelu.config.precision import PrecisionConfig
from scaledrelu.engine.autocast import DTYPES
from scaledrelu.engine.step import _found_inf
from tests.helpers.step_toys import (
    Batch,
    Toy,
    adamw,
    at,
    conv_net,
    make_update,
    pictures,
    sam,
    sgd,
    smooth_net,
    state_of,
    vectors,
)

MODES = [None, sam(), sam(per_group=True)]
MODE_IDS = ["plain", "sam", "sam_each"]


def cpu_scaler(scale=1024.0):
    return torch.amp.GradScaler("cpu", init_scale=scale)


def unchanged(before, after):
    return all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("spec", MODES, ids=MODE_IDS)
def test_loss_scaling_changes_neither_the_update_nor_the_report(spec):
    finals, norms = [], []
    for scaler in (None, cpu_scaler(2.0**12)):
        task = Toy(smooth_net())
        update = make_update(task, adamw(task), sam=spec, scaler=scaler, groups_local=(0, 1))
        for step in range(3):
            report = update([vectors(step, 0), vectors(step, 1)], at(step))
        finals.append(list(task.parameters()))
        norms.append(float(report.grad_norm))
        assert scaler is None or scaler.get_scale() == 2.0**12
        assert bool(report.finite)
    for a, b in zip(*finals, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)
    assert norms[0] == pytest.approx(norms[1], rel=1e-6)


@pytest.mark.parametrize("spec", MODES, ids=MODE_IDS)
def test_overflow_under_a_scaler_skips_the_step_and_backs_off_once(spec):
    task = Toy(smooth_net())
    optimizer, scaler = adamw(task), cpu_scaler()
    update = make_update(task, optimizer, sam=spec, scaler=scaler, groups_local=(0, 1))
    update([vectors(0, 0), vectors(0, 1)], at(0))
    before = state_of(task, optimizer)
    task.trap = {(1, 1)}  # first pass only: the second gradient is finite
    report = update([vectors(1, 0), vectors(1, 1)], at(1))
    assert unchanged(before, state_of(task, optimizer))
    assert scaler.get_scale() == 512.0
    assert bool(report.finite)  # a step that the scaler skips is not divergence
    assert not math.isfinite(float(report.grad_norm))
    update([vectors(2, 0), vectors(2, 1)], at(2))
    assert not unchanged(before, state_of(task, optimizer))


@pytest.mark.parametrize("spec", MODES, ids=MODE_IDS)
def test_fp16_autocast_trains_and_survives_a_scale_that_is_too_large(spec):
    task = Toy(conv_net(dtype=torch.float32))
    optimizer, scaler = adamw(task), cpu_scaler(2.0**40)
    update = make_update(task, optimizer, sam=spec, scaler=scaler, autocast="fp16")
    before, scales = state_of(task, optimizer), []
    for step in range(40):
        scales.append(scaler.get_scale())
        report = update([pictures(0, 0, torch.float32)], at(step))
        assert bool(report.finite)
        if scaler.get_scale() < scales[-1]:
            norm = task.backbone[1]
            assert torch.equal(before[0], task.backbone[0].weight)
            assert torch.isfinite(norm.running_mean).all()
    assert scales[:3] == [2.0**40, 2.0**39, 2.0**38]
    assert scales[-1] == scales[-5] < 2.0**38
    assert (task.backbone[0].weight != before[0]).all()
    assert task.outputs[0].dtype == torch.float16


def test_non_finite_gradient_without_a_scaler_is_divergence():
    task = Toy(smooth_net())
    update = make_update(task, adamw(task))
    assert bool(update.gradients([vectors(0, 0)], at(0)).finite)
    task.trap = {(1, 0)}
    report = update.gradients([vectors(1, 0)], at(1))
    assert math.isfinite(float(report.loss))
    assert not bool(report.finite)


@pytest.mark.parametrize("scaled", [False, True], ids=["plain", "scaled"])
@pytest.mark.parametrize("spec", MODES, ids=MODE_IDS)
def test_a_non_finite_loss_of_any_group_is_reported(spec, scaled):
    task = Toy(smooth_net())
    scaler = cpu_scaler() if scaled else None
    update = make_update(task, adamw(task), sam=spec, scaler=scaler, groups_local=(0, 1))
    bad = vectors(0, 1)
    bad.images[0, 0] = math.nan
    assert not bool(update.gradients([vectors(0, 0), bad], at(0)).finite)


@pytest.mark.parametrize("spec", MODES[1:], ids=MODE_IDS[1:])
def test_a_non_finite_loss_of_the_second_pass_alone_is_reported(spec):
    class Cliff(Toy):
        def forward(self, batch, t):
            output = super().forward(batch, t)
            return output if len(self.calls) < 2 else type(output)(output.loss * math.nan)

    task = Cliff(smooth_net())
    report = make_update(task, adamw(task), sam=spec, scaler=cpu_scaler()).gradients(
        [vectors(0, 0)], at(0)
    )
    assert math.isfinite(float(report.loss))
    assert not bool(report.finite)


@pytest.mark.parametrize("fused", [False, True], ids=["loop", "fused"])
@pytest.mark.parametrize("scaled", [False, True], ids=["plain", "scaled"])
@pytest.mark.parametrize("spec", MODES, ids=MODE_IDS)
def test_a_skipped_update_leaves_everything_as_it_was(spec, scaled, fused):
    task = Toy(conv_net(dtype=torch.float32))
    optimizer = adamw(task, fused=fused)
    scaler = cpu_scaler() if scaled else None
    update = make_update(task, optimizer, sam=spec, scaler=scaler, clip_grad=1.0)
    down, up = torch.tensor(False), torch.tensor(True)
    update.gradients([pictures(0, 0, torch.float32)], at(0))
    start = state_of(task, optimizer)
    update.apply(down, at(0))
    before = state_of(task, optimizer)
    assert not unchanged(start, before[: len(start)])
    for step in (1, 2):  # the flag is sticky: it masks sound gradients as well
        batch = pictures(step, 0, torch.float32)
        batch.images[0] = math.nan if step == 1 else 1.0
        update.gradients([batch], at(step))
        assert not torch.equal(before[2], task.backbone[1].running_mean)
        update.apply(up, at(step))
        assert unchanged(before, state_of(task, optimizer))


def test_a_flag_that_is_down_changes_no_bit():
    finals = []
    for plain in (True, False):
        task = Toy(conv_net())
        optimizer = adamw(task)
        update = make_update(task, optimizer)
        for step in range(2):
            update.gradients([pictures(step, 0)], at(step))
            optimizer.step() if plain else update.apply(torch.tensor(False), at(step))
        finals.append(task.state_dict())
    for name in finals[0]:
        assert torch.equal(finals[0][name], finals[1][name]), name


@pytest.mark.parametrize("flag", [False, True])
def test_fused_optimizer_masks_itself_by_the_flag(flag):
    task = Toy(conv_net(dtype=torch.float32))
    optimizer = adamw(task, fused=True)
    update = make_update(task, optimizer)
    update([pictures(0, 0, torch.float32)], at(0))
    before = state_of(task, optimizer)
    for p in task.parameters():
        p.grad.fill_(math.nan if flag else 1.0)
    with _found_inf(optimizer, torch.tensor(flag)):
        optimizer.step()
    assert unchanged(before, state_of(task, optimizer)) == flag
    assert not hasattr(optimizer, "found_inf")


@pytest.mark.parametrize("clip", [1e-3, 1e3])
@pytest.mark.parametrize("spec", MODES, ids=MODE_IDS)
@pytest.mark.parametrize("scaled", [False, True], ids=["plain", "scaled"])
def test_clipping_bounds_what_is_applied_and_not_what_is_reported(spec, clip, scaled):
    moves = {}
    for limit in (None, clip):
        task = Toy(smooth_net())
        start = [p.detach().clone() for p in task.parameters()]
        sgd = torch.optim.SGD(task.parameters(), lr=1.0)
        scaler = cpu_scaler() if scaled else None
        update = make_update(task, sgd, sam=spec, clip_grad=limit, scaler=scaler)
        report = update([vectors(0, 0)], at(0))
        moved = [p.detach() - w for p, w in zip(task.parameters(), start, strict=True)]
        moves[limit] = float(torch.nn.utils.get_total_norm(moved))
        assert float(report.grad_norm) == pytest.approx(moves[None], rel=1e-6)
    assert moves[clip] == pytest.approx(min(clip, moves[None]), rel=1e-2)


def test_hooks_see_the_unscaled_gradient_and_the_updated_weights():
    class Hooked(Toy):
        def after_backward(self, t):
            norm = torch.nn.utils.get_total_norm([p.grad for p in self.parameters()])
            self.hooks.append(("backward", t.step, float(norm), self.weight()))

        def after_update(self, t):
            self.hooks.append(("update", t.step, None, self.weight()))

        def weight(self):
            return float(self.backbone[0].weight.detach()[0, 0])

    task = Hooked(smooth_net())
    start = task.weight()
    update = make_update(task, adamw(task), scaler=cpu_scaler(), sam=sam(), clip_grad=1e-3)
    report = update([vectors(7, 0)], at(7))
    (first, step, norm, weight), (second, _, _, updated) = task.hooks
    assert (first, second, step) == ("backward", "update", 7)
    assert norm == pytest.approx(float(report.grad_norm), rel=1e-6)
    assert weight == start != updated


def test_report_averages_the_groups_of_the_first_pass():
    task = Toy(smooth_net())
    update = make_update(task, adamw(task), sam=sam(rho=5.0), groups_local=(0, 1))
    batches = [vectors(0, 0), vectors(0, 1)]
    report = update.gradients(batches, at(0))
    with torch.no_grad():
        logits = [task.backbone(b.images) for b in batches]
    losses = [
        nn.functional.cross_entropy(x, b.targets) for x, b in zip(logits, batches, strict=True)
    ]
    assert float(report.loss) == pytest.approx(float(sum(losses)) / 2, rel=1e-9)
    right = [(task.outputs[i].argmax(1) == batches[i].targets).float().mean() for i in (0, 1)]
    assert float(report.logs["accuracy"]) == pytest.approx(float(sum(right)) / 2)
    assert not report.loss.requires_grad


def test_gradients_move_no_weight_and_leave_no_old_gradient():
    task = Toy(smooth_net())
    optimizer = adamw(task)
    update = make_update(task, optimizer, sam=sam())
    before = state_of(task, optimizer)
    norms = [float(update.gradients([vectors(0, 0)], at(0)).grad_norm) for _ in range(2)]
    assert unchanged(before, state_of(task, optimizer))
    assert norms[0] == norms[1]


def test_applying_twice_is_refused():
    task = Toy(smooth_net())
    update = make_update(task, adamw(task))
    update.gradients([vectors(0, 0)], at(0))
    update.apply(torch.tensor(False), at(0))
    with pytest.raises(RuntimeError, match="nothing to apply"):
        update.apply(torch.tensor(False), at(0))


def test_every_allowed_word_is_known_here():
    (found,) = (one for one in fields_of(PrecisionConfig) if one.name == "autocast")
    assert set(DTYPES) == set(found.allowed.words)


@pytest.mark.gpu
@pytest.mark.parametrize("scaled", [False, True], ids=["bf16", "fp16"])
@pytest.mark.parametrize("spec", MODES, ids=MODE_IDS)
@pytest.mark.parametrize("make", [adamw, sgd])
def test_on_a_gpu_an_update_never_waits_and_a_flag_masks_it(make, spec, scaled):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    device = torch.device("cuda")
    task = Toy(conv_net(dtype=torch.float32)).to(device)
    optimizer = make(task, fused=True)
    scaler = torch.amp.GradScaler("cuda", init_scale=1024.0) if scaled else None
    update = make_update(
        task, optimizer, sam=spec, scaler=scaler, device=device,
        autocast="fp16" if scaled else "bf16",
    )  # fmt: skip
    cpu = pictures(0, 0, torch.float32)
    batch = Batch(cpu.images.to(device), cpu.targets.to(device), 0)
    flags = torch.tensor([False, True], device=device)
    update([batch], at(0))  # allocates what is allocated once
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for step in (1, 2):
            update.gradients([batch], at(step))
            update.apply(flags[0], at(step))
        before = state_of(task, optimizer)
        update.gradients([batch], at(3))
        update.apply(flags[1], at(3))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert unchanged(before, state_of(task, optimizer))
