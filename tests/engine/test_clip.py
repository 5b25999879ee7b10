"""Clipping tensor by tensor bounds each gradient alone, after unscaling, without reading it."""

import math

import pytest
import torch
from torch import nn

from scaledrelu.config.group import fields_of
from scaledrelu.config.optimizer import OptimizerConfig
from scaledrelu.engine.step import CLIPS, clip_each
from tests.helpers.step_toys import (
    Toy,
    adamw,
    at,
    conv_net,
    make_update,
    pictures,
    sam,
    smooth_net,
    vectors,
)


def with_gradients(*gradients):
    params = []
    for gradient in gradients:
        p = nn.Parameter(torch.zeros_like(gradient))
        p.grad = gradient.clone()
        params.append(p)
    return params


def test_only_gradients_over_the_limit_shrink_and_each_by_its_own_norm():
    torch.manual_seed(0)
    small, large, huge = torch.randn(3) * 0.1, torch.randn(4, 5) * 7, torch.randn(2, 3, 3) * 1e4
    params = [*with_gradients(small, large, huge), nn.Parameter(torch.zeros(2))]
    clip_each(params, 3.0)
    assert torch.equal(params[0].grad, small)
    assert params[3].grad is None
    for p, before in ((params[1], large), (params[2], huge)):
        expected = before * 3.0 / (before.norm() + 1e-6)
        torch.testing.assert_close(p.grad, expected)
        assert p.grad.norm().item() == pytest.approx(3.0, rel=1e-6)


def test_a_gradient_of_zeros_stays_and_one_that_is_not_finite_does_not_heal():
    zeros, bad, fine = with_gradients(torch.zeros(3), torch.tensor([math.inf, 1.0]), torch.ones(4))
    clip_each([zeros, bad, fine], 3.0)
    assert torch.equal(zeros.grad, torch.zeros(3))
    assert not bad.grad.isfinite().all()
    assert torch.equal(fine.grad, torch.ones(4))
    clip_each([nn.Parameter(torch.zeros(2))], 3.0)


@pytest.mark.parametrize("scaled", [False, True], ids=["plain", "scaled"])
@pytest.mark.parametrize("spec", [None, sam()], ids=["plain", "sam"])
def test_an_update_clips_the_unscaled_gradient_of_each_tensor(spec, scaled):
    moves = {}
    for limit in (None, 0.3):
        task = Toy(smooth_net())
        start = [p.detach().clone() for p in task.parameters()]
        sgd = torch.optim.SGD(task.parameters(), lr=1.0)
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**12) if scaled else None
        update = make_update(task, sgd, sam=spec, scaler=scaler, clip_grad=limit, clip="per_tensor")
        update([vectors(0, 0)], at(0))
        moves[limit] = [p.detach() - w for p, w in zip(task.parameters(), start, strict=True)]
    norms = [float(move.norm()) for move in moves[None]]
    assert min(norms) < 0.3 < sorted(norms)[-2]
    for free, clipped in zip(moves[None], moves[0.3], strict=True):
        expected = free * min(1.0, 0.3 / float(free.norm()))
        torch.testing.assert_close(clipped, expected, rtol=1e-4, atol=1e-9)


def test_global_stays_the_default():
    finals = []
    for how in ({}, {"clip": "global"}, {"clip": "per_tensor"}):
        task = Toy(smooth_net())
        make_update(task, torch.optim.SGD(task.parameters(), lr=1.0), clip_grad=0.05, **how)(
            [vectors(0, 0)], at(0)
        )
        finals.append(torch.cat([p.detach().flatten() for p in task.parameters()]))
    assert torch.equal(finals[0], finals[1])
    assert not torch.allclose(finals[0], finals[2])


def test_an_overflow_is_still_skipped_with_clipping_tensor_by_tensor():
    task = Toy(smooth_net())
    optimizer, scaler = adamw(task), torch.amp.GradScaler("cpu", init_scale=1024.0)
    update = make_update(task, optimizer, scaler=scaler, clip_grad=3.0, clip="per_tensor")
    before = [p.detach().clone() for p in task.parameters()]
    task.trap = {(0, 0)}
    update([vectors(0, 0)], at(0))
    assert scaler.get_scale() == 512.0
    assert all(torch.equal(a, b) for a, b in zip(before, task.parameters(), strict=True))


def test_every_allowed_word_of_clipping_is_known_here():
    clip = next(one for one in fields_of(OptimizerConfig) if one.name == "clip")
    assert set(CLIPS) == set(clip.allowed.words)


@pytest.mark.gpu
def test_on_a_gpu_clipping_never_waits():
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    task = Toy(conv_net(dtype=torch.float32).cuda())
    update = make_update(
        task, adamw(task), clip_grad=0.1, clip="per_tensor", device=torch.device("cuda")
    )
    batch = pictures(0, 0, torch.float32)
    batch = type(batch)(batch.images.cuda(), batch.targets.cuda(), 0)
    update([batch], at(0))
    torch.cuda.set_sync_debug_mode("error")
    try:
        update([batch], at(1))
    finally:
        torch.cuda.set_sync_debug_mode("default")
