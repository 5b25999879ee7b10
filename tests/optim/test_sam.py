import math

import numpy as np
import pytest
import torch
from torch import nn

from scaledrelu.optim.sam import SamPerturbation, climb_unread


def make_params(seed=0, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    params = [
        nn.Parameter(torch.randn(shape, generator=generator)) for shape in ((4, 3), (3,), (2, 2, 2))
    ]
    for p in params:
        p.grad = torch.randn(p.shape, generator=generator) * scale
    return params


def test_weights_move_by_rho_along_the_global_gradient():
    params = make_params()
    before = [p.detach().double().numpy().copy() for p in params]
    grads = [p.grad.double().numpy() for p in params]
    norm = math.sqrt(sum((g**2).sum() for g in grads))
    with SamPerturbation(params, rho=0.1) as perturbation:
        for p, w, g in zip(params, before, grads, strict=True):
            np.testing.assert_allclose(p.detach().numpy(), w + 0.1 * g / norm, rtol=1e-6, atol=1e-7)
        moved = [p.detach().double().numpy() - w for p, w in zip(params, before, strict=True)]
    assert math.sqrt(sum((e**2).sum() for e in moved)) == pytest.approx(0.1, rel=1e-5)
    assert bool(perturbation.finite)


def test_loss_scale_does_not_change_the_move():
    plain, scaled = make_params(), make_params(scale=65536.0)
    with SamPerturbation(plain, rho=0.1), SamPerturbation(scaled, rho=0.1):
        for a, b in zip(plain, scaled, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)


def test_weights_come_back_bit_for_bit():
    params = make_params()
    for p in params:  # magnitudes at which adding and subtracting would lose bits
        p.data.mul_(1e-6)
    before = [p.detach().clone() for p in params]
    with SamPerturbation(params, rho=0.3):
        assert not any(torch.equal(p, w) for p, w in zip(params, before, strict=True))
    assert all(torch.equal(p, w) for p, w in zip(params, before, strict=True))


def test_weights_come_back_after_an_exception():
    params = make_params()
    before = [p.detach().clone() for p in params]
    perturbation = SamPerturbation(params, rho=0.3)
    with pytest.raises(KeyboardInterrupt), perturbation:
        raise KeyboardInterrupt
    assert all(torch.equal(p, w) for p, w in zip(params, before, strict=True))
    with perturbation:  # and the next use works
        assert not torch.equal(params[0], before[0])
    assert torch.equal(params[0], before[0])


def test_gradients_are_left_alone():
    params = make_params()
    grads = [p.grad.clone() for p in params]
    with SamPerturbation(params, rho=0.3):
        pass
    assert all(torch.equal(p.grad, g) for p, g in zip(params, grads, strict=True))


@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan])
def test_non_finite_gradient_moves_nothing_and_is_told(bad):
    params = make_params()
    params[1].grad[0] = bad
    before = [p.detach().clone() for p in params]
    with SamPerturbation(params, rho=0.1) as perturbation:
        assert all(torch.equal(p, w) for p, w in zip(params, before, strict=True))
    assert not bool(perturbation.finite)
    params[1].grad[0] = 0.0
    with perturbation:
        assert not torch.equal(params[0], before[0])
    assert bool(perturbation.finite)


def test_zero_gradient_moves_nothing():
    params = make_params(scale=0.0)
    before = [p.detach().clone() for p in params]
    with SamPerturbation(params, rho=0.1) as perturbation:
        assert all(torch.equal(p, w) for p, w in zip(params, before, strict=True))
    assert bool(perturbation.finite)


def test_parameters_without_gradient_stay():
    params = make_params()
    params[0].grad = None
    still = params[0].detach().clone()
    with SamPerturbation(params, rho=0.1):
        assert torch.equal(params[0], still)
    for p in params:
        p.grad = None
    with SamPerturbation(params, rho=0.1):
        pass


def test_entering_twice_is_refused_and_harmless():
    params = make_params()
    before = [p.detach().clone() for p in params]
    perturbation = SamPerturbation(params, rho=0.1)
    with perturbation, pytest.raises(RuntimeError, match="already perturbed"), perturbation:
        pass
    assert all(torch.equal(p, w) for p, w in zip(params, before, strict=True))


@pytest.mark.parametrize("bad", [None, math.inf, math.nan])
def test_the_move_of_a_gpu_is_the_same_and_masked_by_the_flag(bad):
    params, factor = make_params(), torch.tensor(0.25)
    expected = [p.detach() + 0.25 * p.grad for p in params]
    if bad is not None:
        params[1].grad[0], expected = bad, [p.detach().clone() for p in params]
    with torch.no_grad():
        climb_unread(params, [p.grad for p in params], factor, torch.tensor(bad is None))
    for p, w in zip(params, expected, strict=True):
        torch.testing.assert_close(p.detach(), w, rtol=1e-6, atol=1e-7 if bad is None else 0)


def test_a_parameter_that_gets_its_gradient_later_is_kept_as_well():
    params = make_params()
    late, params[0].grad = params[0].grad, None
    before = [p.detach().clone() for p in params]
    perturbation = SamPerturbation(params, rho=0.1)
    with perturbation:
        pass
    params[0].grad = late
    with perturbation:
        assert not any(torch.equal(p, w) for p, w in zip(params, before, strict=True))
    assert all(torch.equal(p, w) for p, w in zip(params, before, strict=True))


@pytest.mark.gpu
def test_on_a_gpu_a_non_finite_gradient_moves_nothing_without_a_wait():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    params = [nn.Parameter(p.detach().cuda()) for p in make_params()]
    before = [p.detach().clone() for p in params]
    for p in params:
        p.grad = torch.ones_like(p)
    params[1].grad[0] = math.nan
    perturbation = SamPerturbation(params, rho=0.1)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        with perturbation:
            inside = [p.detach().clone() for p in params]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert all(torch.equal(p, w) for p, w in zip(inside, before, strict=True))
    assert not bool(perturbation.finite)
