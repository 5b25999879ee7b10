"""A linear probe trains its classifier on the features of DINO's evaluation, and nothing else."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from scaledrelu.config.compose import compose
from scaledrelu.engine.step import Update
from scaledrelu.errors import ConfigError
from scaledrelu.evals.classification import FrozenTop1, Top1
from scaledrelu.models.tokens import attention_weight_norms, layer_tokens, watch_largest
from scaledrelu.optim.params import parameter_groups
from scaledrelu.runs.build import build_task
from scaledrelu.runs.optimisation import build_schedule
from scaledrelu.tasks.base import Progress
from scaledrelu.tasks.linear_probe import LinearProbe
from tests.helpers.step_toys import make_update

START = Progress(0, 4, 0, 4)


@pytest.fixture
def vit() -> Callable[..., nn.Module]:
    """Build a mini ViT with noisy weights and running statistics, without a classifier."""

    def make(*overrides: str) -> nn.Module:
        torch.manual_seed(0)
        model = build_task(compose(["profile=smoke", *overrides]), 10).backbone
        model.reset_classifier(0)
        for tensor in model.state_dict().values():
            if tensor.is_floating_point():
                tensor.add_(torch.rand_like(tensor) * 0.1)
        return model

    return make


def batch_of(images: torch.Tensor) -> SimpleNamespace:
    targets = nn.functional.one_hot(torch.arange(len(images)) % 10, 10).float()
    return SimpleNamespace(images=images, targets=targets, group=0)


def sgd(task: nn.Module, lr: float = 0.1) -> Update:
    optimizer = torch.optim.SGD(parameter_groups(task, 0.0), lr=lr, momentum=0.9)
    return make_update(task, optimizer)


def class_tokens_by_hand(vit: nn.Module, images: torch.Tensor, count: int) -> torch.Tensor:
    patches = vit.patch_embed(images).flatten(2).transpose(1, 2)
    tokens = torch.cat((vit.cls_token.expand(len(images), -1, -1), patches), 1) + vit.pos_embed
    after = []
    for block in vit.blocks:
        tokens = tokens + block.attn(block.norm1(tokens))
        tokens = tokens + block.mlp(block.norm2(tokens))
        after.append(tokens[:, 0])
    return torch.cat([vit.norm(token) for token in after[-count:]], dim=-1)


@pytest.mark.parametrize("count", [1, 4])
def test_features_are_the_normalised_class_tokens_of_the_last_blocks_in_their_order(
    vit, count
) -> None:
    probe = LinearProbe(vit("stem=conv"), num_classes=10, num_blocks=count).backbone
    images = torch.randn(5, 3, 16, 16)
    expected = class_tokens_by_hand(probe.frozen, images, count)
    assert probe.embed(images).shape == (5, count * 64, 1, 1)
    torch.testing.assert_close(probe.embed(images).flatten(1), expected)


def test_a_deit_small_gives_1536_features() -> None:
    config = compose(["profile=paper", "launch=local", "stem=patchify", "model.depth=4"])
    backbone = build_task(config, 2).backbone
    assert (
        LinearProbe(backbone, num_classes=1000, num_blocks=4).backbone.classifier.in_features
        == 1536
    )


def test_the_classifier_starts_as_in_eval_linear(vit) -> None:
    classifier = LinearProbe(vit("stem=conv"), num_classes=1000, num_blocks=4).backbone.classifier
    assert float(classifier.weight.detach().std()) == pytest.approx(0.01, rel=0.01)
    assert float(classifier.weight.detach().abs().max()) > 0.025  # not truncated
    assert not classifier.bias.any()


def test_training_moves_the_classifier_and_nothing_of_the_backbone(vit) -> None:
    task = LinearProbe(vit("stem=conv", "model.drop_path=0.5"), num_classes=10, num_blocks=4)
    before = copy.deepcopy(task.state_dict())
    update, images = sgd(task), torch.randn(8, 3, 16, 16)
    for step in range(3):
        task.train()  # as the loop does after an evaluation
        report = update([batch_of(images)], Progress(step, 3, 0, 3))
    assert float(report.loss) < math.log(10)
    assert any("running_mean" in name for name in before)
    for name, value in task.state_dict().items():
        assert torch.equal(value, before[name]) != name.startswith("backbone.classifier."), name
    trained = [name for name, p in task.named_parameters() if p.requires_grad]
    assert trained == ["backbone.classifier.weight", "backbone.classifier.bias"]
    assert all(p.grad is None for p in task.backbone.frozen.parameters())


def test_features_ignore_drop_path_and_batch_statistics_in_training_mode(vit) -> None:
    task = LinearProbe(
        vit("stem=conv", "model.drop_path=0.5"), num_classes=10, num_blocks=4
    ).train()
    images = torch.randn(8, 3, 16, 16)
    assert task.training
    assert not any(module.training for module in task.backbone.frozen.modules())
    together, alone = task.backbone.embed(images), task.backbone.embed(images[:1])
    torch.testing.assert_close(together[:1], alone, rtol=1e-3, atol=1e-3)
    assert torch.equal(together, task.backbone.embed(images))


def test_features_are_float32_under_autocast(vit) -> None:
    probe = LinearProbe(vit("stem=conv"), num_classes=10, num_blocks=4).backbone
    images = torch.randn(4, 3, 16, 16)
    plain = probe.embed(images)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(probe.embed(images), plain)


def test_images_and_their_features_train_alike(vit) -> None:
    task = LinearProbe(vit("stem=conv"), num_classes=10, num_blocks=4)
    other = copy.deepcopy(task)
    images = torch.randn(8, 3, 16, 16)
    sgd(task)([batch_of(images)], START)
    sgd(other)([batch_of(other.backbone.embed(images))], START)
    torch.testing.assert_close(task.state_dict(), other.state_dict())
    torch.testing.assert_close(task.backbone(images), other.backbone(other.backbone.embed(images)))


def test_more_blocks_than_there_are_is_an_error(vit) -> None:
    with pytest.raises(ConfigError, match=r"num_blocks=7: must lie in \[1, 6\]"):
        LinearProbe(vit("stem=conv"), num_classes=10, num_blocks=7)


def test_evidence_of_a_probe_is_that_of_its_backbone(vit) -> None:
    probe = LinearProbe(vit("stem=conv"), num_classes=10, num_blocks=4).backbone.eval()
    images = torch.randn(2, 3, 16, 16)
    ours, bare = layer_tokens(probe, images), layer_tokens(probe.frozen, images)
    assert all(torch.equal(a, b) for a, b in zip(ours, bare, strict=True))
    assert torch.equal(attention_weight_norms(probe), attention_weight_norms(probe.frozen))
    with watch_largest(probe) as largest:
        probe(images)
    assert float(largest.score) > 0


@dataclass(frozen=True)
class Batch:
    images: torch.Tensor
    targets: torch.Tensor
    indices: torch.Tensor


def evaluators(images: torch.Tensor) -> dict[str, Any]:
    """Both evaluators over the same batches, counting how often the batches are asked for."""
    asked = []

    def batches():
        asked.append(1)
        for at in range(0, len(images), 4):
            indices = torch.arange(at, min(at + 4, len(images)))
            yield Batch(images[indices], indices % 10, indices)

    fields = {"num_images": len(images), "reduce_sum": lambda x: x, "autocast": nullcontext}
    return {
        "plain": Top1(batches=batches, **fields),
        "frozen": FrozenTop1(batches=batches, **fields),
        "asked": asked,
    }


def test_cached_validation_features_give_the_same_top1_and_are_made_once(vit) -> None:
    task = LinearProbe(vit("stem=conv"), num_classes=10, num_blocks=4)
    images = torch.randn(10, 3, 16, 16)
    both = evaluators(images)
    for step in range(3):
        plain, correct = both["plain"](task.backbone)
        frozen, also_correct = both["frozen"](task.backbone)
        assert frozen == pytest.approx(plain)
        assert torch.equal(correct["val/correct"], also_correct["val/correct"])
        sgd(task)([batch_of(images)], Progress(step, 3, 0, 3))
    assert len(both["asked"]) == 3 + 1


def test_the_rate_is_the_official_cosine_per_epoch_down_to_zero() -> None:
    config = compose([
        "profile=paper", "launch=local", "lr=linear256", "lr.base=1e-3", "warmup=none",
        "schedule.epochs=100", "schedule.unit=epoch", "schedule.delay_epochs=0",
        "schedule.min_lr=0",
    ])  # fmt: skip
    schedule = build_schedule(config, 3)
    peak = 1e-3 * 1024 / 256
    assert schedule.total_steps == 300
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=peak)
    official = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 100, eta_min=0)
    for epoch in range(100):
        closed = 0.5 * peak * (1 + math.cos(math.pi * epoch / 100))
        for step in (3 * epoch, 3 * epoch + 2):
            assert schedule.at(step) == pytest.approx(closed, rel=1e-12)
        assert optimizer.param_groups[0]["lr"] == pytest.approx(closed, rel=1e-9)
        optimizer.step()
        official.step()
