"""The triplet loss mines the hardest pairs of a batch, with the official numerics or exactly."""

import math

import pytest
import torch

from scaledrelu.tasks.reid_loss import (
    by_differences,
    by_products,
    hardest_distances,
    soft_margin_triplet,
)

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
    hardest = hardest_distances(HAND, HAND_IDS, by_products)
    assert hardest.positive_B.tolist() == [1, 1, 7, 7]
    assert hardest.negative_B.tolist() == [3, 2, 2, 9]
    terms = [math.log(1 + math.exp(x)) for x in (1 - 3, 1 - 2, 7 - 2, 7 - 9)]
    assert soft_margin_triplet(HAND, HAND_IDS, by_products).item() == pytest.approx(
        sum(terms) / 4, rel=1e-6
    )


@pytest.mark.parametrize("measure", [by_products, by_differences])
@pytest.mark.parametrize("ids", [[0, 0, 0, 1, 1, 2], [5, 3, 5, 3, 9, 9], [0, 1, 2, 3, 4, 4]])
def test_loss_and_gradient_are_those_of_a_loop_over_pairs(ids, measure):
    draw = torch.Generator().manual_seed(0)
    features = torch.randn(6, 5, generator=draw, dtype=torch.float64).requires_grad_()
    loss = soft_margin_triplet(features, torch.tensor(ids), measure)
    expected = slowly(features, ids)
    # Inner products leave a rounding error, and at least 1e-6, between an image and itself.
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=0)
    ours = torch.autograd.grad(loss, features)[0]
    # The loop's root has an infinite slope at an image's distance to itself.
    theirs = torch.autograd.grad(expected, features)[0]
    known = theirs.isfinite()
    assert known.any()
    torch.testing.assert_close(ours[known], theirs[known], rtol=1e-5, atol=1e-8)


def test_features_are_not_normalised():
    near, far = (hardest_distances(scale * HAND, HAND_IDS, by_products) for scale in (1, 10))
    torch.testing.assert_close(far.positive_B, 10 * near.positive_B)
    torch.testing.assert_close(far.negative_B, 10 * near.negative_B)


def test_products_are_those_of_the_run_s_precision_and_squares_are_float32():
    features = 3 * torch.randn(8, 64, generator=torch.Generator().manual_seed(2))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = by_products(features)
    wide = features.double()
    square = wide.square().sum(1)
    rounded = (features.bfloat16().double() @ features.bfloat16().double().T).bfloat16().double()
    expected = (square[:, None] + square - 2 * rounded).clamp(min=1e-12).sqrt()
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, rtol=1e-3, atol=1e-3)
    exact = by_products(features)
    assert not torch.allclose(found, exact, rtol=0.01)
    others = ~torch.eye(8, dtype=torch.bool)
    torch.testing.assert_close(exact[others], by_differences(features)[others])


def test_equal_features_are_a_millionth_apart_by_products_and_cost_ln_2():
    features = torch.full((4, 3), 0.5).requires_grad_()
    assert by_products(features).tolist() == [[pytest.approx(1e-6)] * 4] * 4
    loss = soft_margin_triplet(features, HAND_IDS, by_products)
    loss.backward()
    assert loss.item() == pytest.approx(math.log(2))
    assert features.grad.abs().max() == 0


def test_a_margin_beyond_float32_is_a_crash_as_in_the_official_code():
    far = torch.tensor([[0.0], [100.0], [1.0], [101.0]]).requires_grad_()
    ids = torch.tensor([0, 0, 1, 1])  # every positive is 100 away, every negative 1
    loss = soft_margin_triplet(far, ids, by_products)
    loss.backward()
    assert loss.item() == math.inf
    assert not far.grad.isfinite().all()
    assert soft_margin_triplet(0.8 * far, ids, by_products).item() == pytest.approx(79.2, rel=1e-5)


def test_by_differences_a_repeated_image_is_at_exactly_no_distance_and_passes_no_gradient():
    draw = torch.Generator().manual_seed(1)
    image, other = torch.randn(2, 384, generator=draw) * 50
    features = torch.stack([image, image, other, other]).requires_grad_()
    hardest = hardest_distances(features, HAND_IDS, by_differences)
    assert hardest.positive_B.tolist() == [0.0] * 4
    soft_margin_triplet(features, HAND_IDS, by_differences).backward()
    assert features.grad.isfinite().all()
    equal = torch.full((4, 3), 100.1).requires_grad_()
    soft_margin_triplet(equal, HAND_IDS, by_differences).backward()
    assert torch.equal(equal.grad, torch.zeros(4, 3))


@pytest.mark.parametrize("measure", [by_products, by_differences])
def test_without_a_foreign_image_nothing_is_lost_and_nothing_breaks(measure):
    features = HAND.clone().requires_grad_()
    ids = torch.zeros(4, dtype=torch.int64)
    loss = soft_margin_triplet(features, ids, measure)
    loss.backward()
    assert hardest_distances(features, ids, measure).negative_B.isinf().all()
    assert loss.item() == 0
    assert torch.equal(features.grad, torch.zeros(4, 1))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_differences_of_half_precision_features_are_float32(dtype):
    draw = torch.Generator().manual_seed(2)
    features = (100 * torch.randn(8, 64, generator=draw)).to(dtype)  # squares beyond 65,504
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = by_differences(features)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), by_differences(features.double()), rtol=1e-6, atol=0)
