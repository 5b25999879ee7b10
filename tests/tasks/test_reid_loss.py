"""The triplet loss mines the hardest pairs of a batch and stays finite where features coincide."""

import math

import pytest
import torch

from scaledrelu.tasks.reid_loss import hardest_distances, soft_margin_triplet

HAND = torch.tensor([[0.0], [1.0], [3.0], [10.0]])  # four images on a line, two of each identity
HAND_IDS = torch.tensor([4, 4, 7, 7])


def slowly(features, ids):
    """Pair by pair, as one would explain it."""
    losses = []
    for i, own in enumerate(ids):
        distances = [(features[i] - other).pow(2).sum().sqrt() for other in features]
        positive = max(d for d, other in zip(distances, ids, strict=True) if other == own)
        negative = min(d for d, other in zip(distances, ids, strict=True) if other != own)
        losses.append(torch.log1p(torch.exp(positive - negative)))
    return torch.stack(losses).mean()


def test_the_hardest_pairs_of_a_line_are_found_by_hand():
    hardest = hardest_distances(HAND, HAND_IDS)
    assert hardest.positive_B.tolist() == [1, 1, 7, 7]
    assert hardest.negative_B.tolist() == [3, 2, 2, 9]
    terms = [math.log(1 + math.exp(x)) for x in (1 - 3, 1 - 2, 7 - 2, 7 - 9)]
    assert soft_margin_triplet(HAND, HAND_IDS).item() == pytest.approx(sum(terms) / 4, rel=1e-6)


@pytest.mark.parametrize("ids", [[0, 0, 0, 1, 1, 2], [5, 3, 5, 3, 9, 9], [0, 1, 2, 3, 4, 4]])
def test_loss_and_gradient_are_those_of_a_loop_over_pairs(ids):
    draw = torch.Generator().manual_seed(0)
    features = torch.randn(6, 5, generator=draw, dtype=torch.float64).requires_grad_()
    loss, expected = soft_margin_triplet(features, torch.tensor(ids)), slowly(features, ids)
    torch.testing.assert_close(loss, expected)
    ours = torch.autograd.grad(loss, features)[0]
    # The loop's root has an infinite slope at an image's distance to itself, where ours is 0.
    theirs = torch.autograd.grad(expected, features)[0]
    known = theirs.isfinite()
    assert known.any()
    torch.testing.assert_close(ours[known], theirs[known])
    assert torch.autograd.gradcheck(lambda x: soft_margin_triplet(x, torch.tensor(ids)), features)


def test_features_are_not_normalised():
    near, far = (hardest_distances(scale * HAND, HAND_IDS) for scale in (1, 10))
    torch.testing.assert_close(far.positive_B, 10 * near.positive_B)
    torch.testing.assert_close(far.negative_B, 10 * near.negative_B)


def test_equal_features_cost_ln_2_and_pass_no_gradient():
    features = torch.full((4, 3), 100.1).requires_grad_()
    loss = soft_margin_triplet(features, HAND_IDS)
    loss.backward()
    assert loss.item() == pytest.approx(math.log(2))
    assert torch.equal(features.grad, torch.zeros(4, 3))


def test_a_repeated_image_is_its_own_positive_at_exactly_no_distance():
    draw = torch.Generator().manual_seed(1)
    image, other = torch.randn(2, 384, generator=draw) * 50
    features = torch.stack([image, image, other, other]).requires_grad_()
    hardest = hardest_distances(features, HAND_IDS)
    assert hardest.positive_B.tolist() == [0.0] * 4
    soft_margin_triplet(features, HAND_IDS).backward()
    assert features.grad.isfinite().all()


def test_without_a_foreign_image_nothing_is_lost_and_nothing_breaks():
    features = HAND.clone().requires_grad_()
    ids = torch.zeros(4, dtype=torch.int64)
    loss = soft_margin_triplet(features, ids)
    loss.backward()
    assert hardest_distances(features, ids).negative_B.isinf().all()
    assert loss.item() == 0
    assert torch.equal(features.grad, torch.zeros(4, 1))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_distances_of_half_precision_features_are_float32(dtype):
    draw = torch.Generator().manual_seed(2)
    features = (100 * torch.randn(8, 64, generator=draw)).to(dtype)  # squares beyond 65,504
    ids = torch.arange(8) // 2
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = hardest_distances(features, ids)
    expected = hardest_distances(features.double(), ids)
    assert found.positive_B.dtype == found.negative_B.dtype == torch.float32
    torch.testing.assert_close(found.positive_B.double(), expected.positive_B, rtol=1e-6, atol=0)
    torch.testing.assert_close(found.negative_B.double(), expected.negative_B, rtol=1e-6, atol=0)
