"""The VOLO task has the official loss, one box per step and group, and one forward per pass."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from scaledrelu.data.batch import Batch
from scaledrelu.models.mix_token import Box
from scaledrelu.models.volo import DenseLogits
from scaledrelu.tasks.base import Progress
from scaledrelu.tasks.volo import Volo, token_label_loss
from tests.helpers.model_builders import MINI_VOLO, make_volo

FIXTURES = Path(__file__).parents[1] / "fixtures"
RECORDED = {
    case["name"]: case
    for case in json.loads((FIXTURES / "token_label.json").read_text())
    if "loss" in case and case["criterion"] != "TokenLabelGTCrossEntropy"  # at 384 pixels only
}
GRID = (3, 3)  # of the recorded cases


@pytest.fixture(scope="module")
def golden():
    with np.load(FIXTURES / "token_label.npz") as arrays:
        return {k: torch.from_numpy(v) for k, v in arrays.items() if k.startswith("loss_")}


def make_task(backbone=None, **changes) -> Volo:
    fields = {"num_classes": 10, "seed": 0, "mix_token": 1.0, "class_weight": 1.0}
    backbone = backbone or make_volo(**MINI_VOLO)
    return Volo(backbone, **(fields | {"token_weight": 0.5} | changes))


def make_batch(step=0, group=0, images=4) -> Batch:
    generator = torch.Generator().manual_seed(100 * step + group)
    return Batch(
        images=torch.randn(images, 3, 16, 16, generator=generator),
        targets=torch.rand(images, 10, generator=generator).softmax(-1),
        group=group,
        token_targets=(4 * torch.rand(images, 16, 10, generator=generator)).softmax(-1),
    )


def at(step: int) -> Progress:
    return Progress(step=step, total_steps=100, epoch=0, steps_per_epoch=100)


def _recorded_targets(golden, case):
    """Split the official layout: ground truth, class target, then tokens row by row."""
    target = golden[case["target"]]
    if target.ndim == 2:
        return target, None
    classes, tokens = target[..., 1], target[..., 2:].transpose(1, 2)
    return classes, tokens


@pytest.mark.parametrize("name", RECORDED)
def test_loss_and_gradients_are_the_official_ones(name, golden):
    case, (targets, token_targets) = RECORDED[name], _recorded_targets(golden, RECORDED[name])
    logits = DenseLogits(*(golden[f"loss_{k}_logits"].clone() for k in ("cls", "aux")))
    leaves = [logits.class_BC.requires_grad_(), logits.tokens_BNC.requires_grad_()]
    loss = token_label_loss(
        logits,
        targets,
        token_targets,
        own_share=1 - Box(*case["box"]).area / math.prod(GRID),
        class_weight=case["cls_weight"],
        token_weight=case["dense_weight"],
    )
    assert loss.total.item() == pytest.approx(case["loss"], abs=1e-5)
    for kind, found in zip(("cls", "aux"), torch.autograd.grad(loss.total, leaves), strict=True):
        torch.testing.assert_close(found, golden[f"loss_grad_{kind}_{name}"], atol=1e-5, rtol=0)


class Recorder(torch.nn.Module):
    """Gives fixed logits and notes what it was asked."""

    token_grid = (4, 4)

    def __init__(self):
        super().__init__()
        self.boxes = []
        self.class_BC = torch.randn(4, 10)
        self.tokens_BNC = torch.randn(4, 16, 10)

    def forward_dense(self, images, box):
        self.boxes.append(box)
        return DenseLogits(self.class_BC, self.tokens_BNC)


def _cross_entropy(logits, targets):
    rows = zip(logits.flatten(0, -2), targets.flatten(0, -2), strict=True)
    losses = [-(t * (x - x.logsumexp(0))).sum() for x, t in rows]
    return sum(losses) / len(losses)


@pytest.mark.parametrize("labelled", [True, False])
def test_the_class_target_is_mixed_by_the_area_swapped_and_token_targets_are_not(labelled):
    net, batch = Recorder(), make_batch()
    task = make_task(net, class_weight=2.0, token_weight=0.3)
    if not labelled:
        batch = Batch(batch.images, batch.targets, batch.group)
    shares = set()
    for step in range(8):
        output = task(batch, at(step))
        share = 1 - net.boxes[-1].area / 16
        mixed = share * batch.targets + (1 - share) * batch.targets.flip(0)
        tokens = batch.token_targets if labelled else batch.targets[:, None].expand(-1, 16, -1)
        parts = _cross_entropy(net.class_BC, mixed), _cross_entropy(net.tokens_BNC, tokens)
        torch.testing.assert_close(output.loss, 2.0 * parts[0] + 0.3 * parts[1])
        torch.testing.assert_close(output.logs, {"loss/class": parts[0], "loss/tokens": parts[1]})
        shares.add(share)
    assert len(shares) > 2


def test_the_box_depends_on_seed_step_and_group_and_on_nothing_else():
    first, again = make_task(Recorder()), make_task(Recorder())
    torch.manual_seed(5), np.random.seed(5)
    keys = [(step, group) for step in range(6) for group in range(4)]
    boxes = {key: first.draw_box(*key) for key in keys}
    assert boxes == {key: again.draw_box(*key) for key in reversed(keys)}
    assert len({str(box) for box in boxes.values()}) > 12
    other = make_task(Recorder(), seed=1)
    assert sum(other.draw_box(*key) == box for key, box in boxes.items()) < 12


@pytest.mark.parametrize("parameter", [1.0, 8.0])
def test_the_share_of_mix_token_is_beta_distributed(parameter, monkeypatch):
    monkeypatch.setattr("scaledrelu.tasks.volo.mix_box", lambda grid, *, lam, generator: lam)
    task = make_task(Recorder(), mix_token=parameter)
    shares = [task.draw_box(step, 0) for step in range(2000)]
    assert np.mean(shares) == pytest.approx(0.5, abs=0.03)
    # Variance of Beta(m, m); 1 is uniform.
    assert np.var(shares) == pytest.approx(0.25 / (2 * parameter + 1), rel=0.1)


def test_without_mix_token_nothing_is_mixed():
    net, batch = Recorder(), make_batch()
    loss = make_task(net, mix_token=0.0)(batch, at(0)).loss
    assert net.boxes == [None]
    parts = (net.class_BC, batch.targets), (net.tokens_BNC, batch.token_targets)
    torch.testing.assert_close(
        loss, sum(w * _cross_entropy(*p) for w, p in zip((1, 0.5), parts, strict=True))
    )


def test_a_pass_runs_the_network_once():
    task, passes = make_task(), []
    for part in (task.backbone.patch_embed, task.backbone.head, task.backbone.aux_head):
        part.register_forward_hook(lambda *_: passes.append(1))
    task(make_batch(), at(0)).loss.backward()
    assert len(passes) == 3
    assert all(parameter.grad is not None for parameter in task.parameters())


def test_equal_logits_cost_the_chance_loss():
    net = Recorder()
    net.class_BC, net.tokens_BNC = torch.zeros(4, 10), torch.zeros(4, 16, 10)
    task = make_task(net)
    assert task.chance_loss == pytest.approx(1.5 * math.log(10))
    assert task(make_batch(), at(0)).loss.item() == pytest.approx(task.chance_loss)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_loss_of_half_precision_logits_is_float32(dtype):
    half, wide, batch = Recorder(), Recorder(), make_batch()
    half.class_BC, half.tokens_BNC = half.class_BC.to(dtype), half.tokens_BNC.to(dtype)
    wide.class_BC, wide.tokens_BNC = half.class_BC.float(), half.tokens_BNC.float()
    loss, expected = (make_task(net)(batch, at(0)).loss for net in (half, wide))
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, expected, atol=0, rtol=1e-6)
