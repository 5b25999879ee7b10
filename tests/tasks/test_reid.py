"""ReID learns identities behind BNNeck and distances before it, group by group."""

import math

import pytest
import torch
from torch import nn

from scaledrelu.data.batch import Batch
from scaledrelu.optim.params import parameter_groups
from scaledrelu.tasks.base import Progress
from scaledrelu.tasks.reid import Reid
from scaledrelu.tasks.reid_loss import by_products, soft_margin_triplet
from tests.helpers.model_builders import make_vit
from tests.helpers.step_toys import make_update

CLASSES = 5
START = Progress(0, 40, 0, 40)


class Linear(nn.Module):
    """A backbone of one layer: 3 x 4 x 2 pixels to 6 features."""

    num_features = 6

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(24, 6)

    def forward(self, images):
        return self.layer(images.flatten(1))


def make_task(backbone=None, **changes) -> Reid:
    fields = {
        "num_classes": CLASSES,
        "id_weight": 1.0,
        "triplet_weight": 1.0,
        "distances": "products",
    }
    return Reid(backbone or Linear(), **(fields | changes))


def make_batch(group=0, size=(4, 2)) -> Batch:
    """Three identities with two images each, one-hot."""
    draw = torch.Generator().manual_seed(group)
    ids = torch.randperm(CLASSES, generator=draw)[:3].repeat_interleave(2)
    images = torch.randn(6, 3, *size, generator=draw)
    return Batch(images, nn.functional.one_hot(ids, CLASSES).float(), group)


def test_the_loss_is_the_weighted_sum_of_both_parts_on_either_side_of_the_neck():
    task, batch = make_task(id_weight=0.7, triplet_weight=0.3), make_batch()
    with torch.no_grad():
        task.neck.weight.uniform_(0.5, 2)
        task.classifier.weight.normal_()
    output = task(batch, START)
    features, ids = task.backbone(batch.images), batch.targets.argmax(1)
    standard = (features - features.mean(0)) / (features.var(0, correction=0) + 1e-5).sqrt()
    logits = (standard * task.neck.weight) @ task.classifier.weight.T
    picked = logits[range(6), ids] - logits.exp().sum(1).log()
    triplet = soft_margin_triplet(features, ids, by_products)
    torch.testing.assert_close(output.logs["loss/id"], -picked.mean())
    torch.testing.assert_close(output.logs["loss/triplet"], triplet)
    torch.testing.assert_close(output.loss, -0.7 * picked.mean() + 0.3 * triplet)
    right = (logits.argmax(1) == ids).float().mean()
    assert output.logs["accuracy"] == right


def test_the_new_parts_start_as_in_the_official_model():
    torch.manual_seed(0)
    backbone = Linear()
    backbone.num_features = 384
    task = make_task(backbone, num_classes=751)
    weight = task.classifier.weight.detach()
    assert weight.shape == (751, 384)
    assert task.classifier.bias is None
    assert weight.std().item() == pytest.approx(1e-3, rel=0.01)
    assert weight.abs().max() > 3e-3  # not truncated
    assert torch.equal(task.neck.weight, torch.ones(384))
    assert torch.equal(task.neck.bias, torch.zeros(384))
    assert [name for name, p in task.named_parameters() if not p.requires_grad] == ["neck.bias"]


def test_a_new_classifier_costs_the_chance_loss_whatever_the_triplet_part_says():
    for scale in (1, 1000):
        task = make_task()
        with torch.no_grad():
            task.backbone.layer.weight.mul_(scale)
        output = task(make_batch(), START)
        assert task.chance_loss == math.log(CLASSES)
        assert output.logs[task.judged].item() == pytest.approx(math.log(CLASSES), abs=0.01)
    assert output.loss > 10 * task.chance_loss


def test_the_hardest_pair_is_looked_for_within_the_group():
    task, batches = make_task(), [make_batch(0), make_batch(1)]
    alone = [task(batch, START).logs["loss/triplet"] for batch in batches]
    images, targets = (torch.cat([getattr(b, n) for b in batches]) for n in ("images", "targets"))
    together = task(Batch(images, targets, 0), START).logs["loss/triplet"]
    assert together > sum(alone) / 2 + 0.01  # more candidates, harder pairs
    grads = torch.autograd.grad(alone[0], task.backbone.layer.weight)[0]
    other = Batch(batches[1].images * 9, batches[1].targets, 1)
    again = [task(batch, START).logs["loss/triplet"] for batch in (batches[0], other)]
    assert again[0] == alone[0]
    assert torch.equal(torch.autograd.grad(again[0], task.backbone.layer.weight)[0], grads)


def test_smoothed_targets_keep_their_identities():
    task, batch = make_task(), make_batch()
    smooth = Batch(batch.images, 0.9 * batch.targets + 0.1 / CLASSES, 0)
    hard, soft = task(batch, START).logs, task(smooth, START).logs
    assert soft["loss/triplet"] == hard["loss/triplet"]
    assert soft["accuracy"] == hard["accuracy"]
    assert soft["loss/id"] != hard["loss/id"]


def test_without_weight_the_triplet_part_moves_nothing():
    batch, grads = make_batch(), []
    for weight in (0.0, 1.0):
        task = make_task(triplet_weight=weight)
        output = task(batch, START)
        grads.append(torch.autograd.grad(output.loss, task.backbone.layer.weight)[0])
        if weight == 0:
            only_id = torch.autograd.grad(
                task(batch, START).logs["loss/id"], task.backbone.layer.weight
            )[0]
    torch.testing.assert_close(grads[0], only_id)
    assert (grads[0] - grads[1]).abs().max() > 1e-3


def test_evaluators_embed_with_the_class_token_before_the_neck():
    torch.manual_seed(0)
    vit = make_vit(image_size=(64, 32), patch_size=4, num_classes=0)
    task, batch = make_task(vit).eval(), make_batch(size=(64, 32))
    seen = []
    task.neck.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    with torch.no_grad():
        task(batch, START)
        embedded = task.backbone(batch.images)
        tokens = vit.forward_features(batch.images)  # after the final LayerNorm
    assert task.backbone.patch_embed.grid_size == (16, 8)
    assert torch.equal(embedded, seen[0])
    assert torch.equal(embedded, tokens[:, 0])
    assert task.headless


def test_updates_learn_the_identities_and_leave_the_necks_bias_at_zero():
    task = make_task()
    groups = parameter_groups(task, 1e-4, decay_all=True, bias_lr_factor=2.0)
    optimizer = torch.optim.SGD(groups, lr=0.05, momentum=0.9)
    for group in optimizer.param_groups:
        group["lr"] *= group.get("peak_factor", 1.0)
    update, batches = make_update(task, optimizer, groups_local=(0, 1)), [make_batch(0)] * 2
    reports = [update(batches, Progress(step, 40, 0, 40)) for step in range(40)]
    assert reports[-1].logs["loss/id"] < 0.5 * task.chance_loss
    assert reports[-1].logs["loss/triplet"] < reports[0].logs["loss/triplet"]
    assert reports[-1].logs["accuracy"] == 1
    assert not task.neck.bias.any()
    assert task.neck.num_batches_tracked == 40  # running statistics follow group 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_loss_under_autocast_is_float32(dtype):
    task, batch = make_task(), make_batch()
    with torch.autocast("cpu", dtype=dtype):
        half = task(batch, START)
        assert task.backbone(batch.images).dtype == dtype
    plain = task(batch, START)
    assert half.loss.dtype == half.logs["loss/id"].dtype == torch.float32
    torch.testing.assert_close(half.loss, plain.loss, rtol=0.05, atol=0)
    half.loss.backward()
    assert all(p.grad.isfinite().all() for p in task.parameters() if p.requires_grad)


def test_both_losses_of_a_half_precision_network_are_taken_in_float32():
    task, batch, seen = make_task().bfloat16(), make_batch(), []
    task.classifier.register_forward_hook(lambda _, __, logits: seen.append(logits.float()))
    with torch.no_grad():
        task.classifier.weight.normal_()
    output = task(Batch(batch.images.bfloat16(), batch.targets, 0), START)
    expected = -(batch.targets * seen[0].log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(output.logs["loss/id"], expected)
    assert output.loss.dtype == output.logs["loss/triplet"].dtype == torch.float32
