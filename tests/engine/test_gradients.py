import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from scaledrelu.engine.gradients import add_gradients, seed_draws
from tests.helpers.step_toys import (
    DropPath,
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


def gradient_by_hand(weights, batch):
    """Loss and gradient of `smooth_net`, written out in float64."""
    w1, b1, w2, b2 = weights
    x, y = batch.images.numpy(), batch.targets.numpy()
    hidden = np.tanh(x @ w1.T + b1)
    logits = hidden @ w2.T + b2
    exp = np.exp(logits - logits.max(1, keepdims=True))
    prob = exp / exp.sum(1, keepdims=True)
    loss = -np.log(prob[np.arange(len(y)), y]).mean()
    d_logits = prob.copy()
    d_logits[np.arange(len(y)), y] -= 1
    d_logits /= len(y)
    d_hidden = d_logits @ w2 * (1 - hidden**2)
    return loss, [d_hidden.T @ x, d_hidden.sum(0), d_logits.T @ hidden, d_logits.sum(0)]


def mean_gradient(weights, batches):
    each = [gradient_by_hand(weights, batch)[1] for batch in batches]
    return [sum(parts) / len(batches) for parts in zip(*each, strict=True)]


def climb(weights, gradient, rho):
    norm = math.sqrt(sum((g**2).sum() for g in gradient))
    return [w + rho * g / norm for w, g in zip(weights, gradient, strict=True)]


def final_gradient(weights, batches, mode, rho):
    if mode == "plain":
        return mean_gradient(weights, batches)
    if mode == "together":
        return mean_gradient(climb(weights, mean_gradient(weights, batches), rho), batches)
    moved = [climb(weights, gradient_by_hand(weights, b)[1], rho) for b in batches]
    each = [gradient_by_hand(w, b)[1] for w, b in zip(moved, batches, strict=True)]
    return [sum(parts) / len(batches) for parts in zip(*each, strict=True)]


@pytest.mark.parametrize("num_groups", [1, 3])
@pytest.mark.parametrize("mode", ["plain", "together", "per_group"])
def test_three_steps_equal_an_independent_float64_computation(mode, num_groups):
    task = Toy(smooth_net())
    optimizer = adamw(task)
    spec = None if mode == "plain" else sam(rho=0.3, per_group=mode == "per_group")
    update = make_update(task, optimizer, sam=spec, groups_local=range(num_groups))
    weights = [p.detach().numpy().copy() for p in task.parameters()]
    first = [np.zeros_like(w) for w in weights]
    second = [np.zeros_like(w) for w in weights]
    for step in range(3):
        batches = [vectors(step, group) for group in range(num_groups)]
        report = update(batches, at(step))
        losses = [gradient_by_hand(weights, b)[0] for b in batches]
        gradient = final_gradient(weights, batches, mode, 0.3)
        assert float(report.loss) == pytest.approx(np.mean(losses), rel=1e-9)
        norm = math.sqrt(sum((g**2).sum() for g in gradient))
        assert float(report.grad_norm) == pytest.approx(norm, rel=1e-9)
        for w, g, m, v in zip(weights, gradient, first, second, strict=True):
            w *= 1 - 0.01 * 0.05
            m += 0.1 * (g - m)
            v += 0.001 * (g**2 - v)
            corrected = np.sqrt(v / (1 - 0.999 ** (step + 1))) + 1e-8
            w -= 0.01 * m / (1 - 0.9 ** (step + 1)) / corrected
        for p, w in zip(task.parameters(), weights, strict=True):
            np.testing.assert_allclose(p.detach().numpy(), w, rtol=1e-9, atol=1e-12)


def run(net, *, steps=3, **changes):
    task = Toy(net)
    update = make_update(task, adamw(task), groups_local=(0, 1), **changes)
    for step in range(steps):
        update([pictures(step, 0), pictures(step, 1)], at(step))
    return task


@pytest.mark.parametrize("per_group", [False, True])
def test_sam_of_radius_zero_is_its_base_optimizer_bit_for_bit(per_group):
    plain = run(conv_net())
    flat = run(conv_net(), sam=sam(rho=0.0, per_group=per_group, same_masks=True))
    steep = run(conv_net(), sam=sam(rho=0.1, per_group=per_group, same_masks=True))
    for (name, a), b in zip(plain.state_dict().items(), flat.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    assert not torch.equal(plain.backbone[0].weight, steep.backbone[0].weight)


def test_both_passes_see_the_same_batches():
    for per_group, order in ((False, [0, 1, 0, 1]), (True, [0, 0, 1, 1])):
        task = run(conv_net(), steps=1, sam=sam(per_group=per_group))
        assert [group for _, group in task.calls] == order
        for group in (0, 1):
            seen = [b for b in task.batches if b.group == group]
            assert seen[0] is seen[1]


def test_draws_are_those_of_torchs_own_seeding():
    for seed in (0, 2**63 - 1):
        torch.manual_seed(seed)
        expected = torch.rand(5)
        torch.rand(3)
        seed_draws(seed, torch.device("cpu"))
        assert torch.equal(torch.rand(5), expected)


@pytest.mark.gpu
def test_draws_on_a_gpu_are_those_of_torchs_own_seeding():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    for device in ("cuda", "cuda:0"):
        torch.manual_seed(7)
        expected = torch.rand(5), torch.rand(5, device=device)
        seed_draws(7, torch.device(device))
        assert torch.equal(torch.rand(5), expected[0])
        assert torch.equal(torch.rand(5, device=device), expected[1])


class Calls(TorchDispatchMode):
    """Counts what is asked of the device."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += 1
        return func(*args, **kwargs or {})


def test_gradients_are_added_in_one_call_and_those_that_a_group_lacks_count_as_zero():
    params = [nn.Parameter(torch.zeros(3)) for _ in range(4)]
    total, calls = {}, []
    for held in ([0, 1], [0, 1, 2], [1, 2]):
        for i, p in enumerate(params):
            p.grad = torch.full((3,), float(10**i)) if i in held else None
        with Calls() as seen:
            add_gradients(total, params)
        calls.append(seen.count)
    assert calls == [0, 1, 1]
    assert [total[p][0].item() if p in total else None for p in params] == [2, 30, 200, None]


@pytest.mark.parametrize("same_masks", [False, True])
def test_masks_of_the_second_pass_are_redrawn_unless_asked(same_masks):
    task = Toy(nn.Sequential(DropPath(), nn.Linear(5, 3, dtype=torch.float64)))
    update = make_update(task, adamw(task), sam=sam(rho=0.0, same_masks=same_masks))
    update([vectors(0, 0, images=40)], at(0))
    assert torch.equal(*task.outputs) == same_masks


def test_random_draws_are_keyed_by_seed_step_and_group_alone():
    def draws(seed, step, groups, disturb):
        task = Toy(nn.Sequential(DropPath(), nn.Linear(5, 3, dtype=torch.float64)))
        nn.init.ones_(task.backbone[1].weight)
        nn.init.zeros_(task.backbone[1].bias)
        update = make_update(task, adamw(task), seed=seed, groups_local=groups)
        torch.manual_seed(disturb)
        update([vectors(0, 9, images=40)] * len(groups), at(step))
        return task.outputs

    base = draws(0, 0, (0, 1), 1)
    again = draws(0, 0, (1, 0), 2)  # other order, other generator state
    assert torch.equal(base[0], again[1])
    assert torch.equal(base[1], again[0])
    assert not torch.equal(base[0], base[1])
    assert not torch.equal(base[0], draws(0, 1, (0,), 1)[0])
    assert not torch.equal(base[0], draws(1, 0, (0,), 1)[0])


def test_second_pass_under_autocast_sees_the_moved_weights():
    task = Toy(nn.Linear(5, 3))
    update = make_update(task, adamw(task), sam=sam(rho=1.0), autocast="bf16")
    batch = vectors(0, 0)
    update([type(batch)(batch.images.float(), batch.targets, 0)], at(0))
    assert task.outputs[0].dtype == torch.bfloat16
    assert not torch.equal(*task.outputs)


def test_batches_that_do_not_match_the_groups_are_refused():
    task = Toy(smooth_net())
    for spec in (None, sam(), sam(per_group=True)):
        update = make_update(task, adamw(task), sam=spec, groups_local=(0, 1))
        with pytest.raises(ValueError, match="zip"):
            update.gradients([vectors(0, 0)], at(0))
