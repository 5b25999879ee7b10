"""Theorem 2 and Eq. 6 hold where they do, and the cosine is what closed forms say."""

import math

import numpy as np
import pytest
from scipy import integrate, stats

from scaledrelu.theory import theorem2
from scaledrelu.theory.theorem1 import affine_relu

RNG = np.random.default_rng


@pytest.mark.parametrize("factor", [0.1, 20.0])
def test_norms_are_proportional_to_mean_and_deviation_and_the_cosine_is_not(factor):
    features = RNG(0).normal(size=(49, 96))
    one, other = affine_relu(features, 0.3, 1.0), affine_relu(features, 0.3 * factor, factor)
    sizes = theorem2.token_size(one), theorem2.token_size(other)
    for name in ("mean", "std", "operator_norm", "min_row_norm"):
        assert getattr(sizes[1], name) == pytest.approx(factor * getattr(sizes[0], name))
    cosines = theorem2.mean_cosine(one).absolute, theorem2.mean_cosine(other).absolute
    assert cosines[0] == pytest.approx(cosines[1], rel=1e-12)


@pytest.mark.parametrize("shift", [-0.5, 0.0, 1.0])
@pytest.mark.parametrize("kind", ["normal", "laplace", "uniform"])
def test_theorem_2_bounds_hold_and_are_of_the_right_order(kind, shift):
    tokens = theorem2.draw_tokens(7, 196, 384, kind=kind)
    size = theorem2.token_size(affine_relu(tokens, shift, 1.0))
    upper = theorem2.operator_norm_bound(size)
    lower = np.sqrt(384 * (size.mean**2 + (1 - 0.8) * size.std**2))
    assert 0.25 * upper < size.operator_norm <= upper
    assert lower <= size.min_row_norm < 2 * lower


@pytest.mark.parametrize("kind", ["normal", "laplace", "uniform"])
def test_elements_are_drawn_with_mean_zero_and_variance_one(kind):
    tokens = theorem2.draw_tokens(0, 300, 300, kind=kind)
    assert tokens.mean() == pytest.approx(0, abs=0.01)
    assert tokens.std() == pytest.approx(1, abs=0.01)


def test_the_row_bound_needs_its_gamma():
    size = theorem2.token_size(affine_relu(RNG(0).normal(size=(49, 96)), 0.0, 1.0))
    gamma = theorem2.gamma_needed(size)
    assert 0.1 < gamma < 1
    bound = np.sqrt(96 * (size.mean**2 + (1 - gamma) * size.std**2))
    assert bound == pytest.approx(size.min_row_norm)


@pytest.mark.parametrize("shift", [-2.0, -0.7, 0.0, 1.3])
def test_moments_of_a_shifted_relu_are_its_integrals(shift):
    for power, found in zip((1, 2), theorem2.relu_moments(shift), strict=True):
        expected, _ = integrate.quad(
            lambda z, p=power: (z + shift) ** p * stats.norm.pdf(z), -shift, 12
        )
        assert found == pytest.approx(expected, rel=1e-8)


def test_the_cosine_rises_under_a_relu_from_0_04_to_one_over_pi():
    tokens = theorem2.draw_tokens(0, 196, 384)
    before, after = (theorem2.mean_cosine(t).absolute for t in (tokens, np.maximum(tokens, 0)))
    assert before == pytest.approx(0.0407, abs=0.0005)
    assert before == pytest.approx(theorem2.cosine_before(384), rel=0.02)
    assert after == pytest.approx(1 / math.pi, rel=0.01)
    assert theorem2.cosine_after(0.0) == pytest.approx(1 / math.pi, rel=1e-12)


@pytest.mark.parametrize("num_features", [2, 16, 384])
def test_the_cosine_before_is_the_mean_of_one_coordinate_of_a_sphere(num_features):
    # The squared coordinate of a uniform direction is Beta(1/2, (D - 1)/2).
    expected = stats.beta(0.5, (num_features - 1) / 2).expect(math.sqrt)
    assert theorem2.cosine_before(num_features) == pytest.approx(expected, rel=1e-3)


def test_the_cosine_falls_only_below_a_clearly_negative_shift():
    at = theorem2.falls_below(384)
    assert -1.6 < at < -1.4
    assert theorem2.cosine_after(at) == pytest.approx(theorem2.cosine_before(384))
    tokens = theorem2.draw_tokens(1, 100, 384)
    before = theorem2.mean_cosine(tokens).absolute
    for shift, rises in ((at + 0.2, True), (at - 0.2, False)):
        after = theorem2.mean_cosine(np.maximum(tokens + shift, 0)).absolute
        assert (after > before) == rises


def test_the_drawn_threshold_meets_the_closed_form_where_features_are_many():
    drawn = theorem2.falls_below_drawn(384, num_tokens=60, seeds=[0])
    assert drawn == pytest.approx(theorem2.falls_below(384), abs=0.05)


@pytest.mark.parametrize("correlation", [-1.0, -0.5, 0.0, 0.4, 1.0])
def test_the_arc_cosine_kernel_is_the_cosine_after_a_relu(correlation):
    z, noise = RNG(0).standard_normal((2, 200_000))
    other = correlation * z + math.sqrt(1 - correlation**2) * noise
    cut = np.maximum([z, other], 0)
    assert theorem2.mean_cosine(cut).signed == pytest.approx(
        theorem2.arc_cosine(correlation), abs=0.01
    )
    assert theorem2.arc_cosine(correlation) >= correlation


def test_the_mean_cosine_is_that_of_a_loop_over_pairs():
    tokens = RNG(0).normal(size=(5, 3))
    pairs = [
        float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))
        for i, a in enumerate(tokens)
        for j, b in enumerate(tokens)
        if i != j
    ]
    found = theorem2.mean_cosine(tokens)
    assert found.signed == pytest.approx(np.mean(pairs))
    assert found.absolute == pytest.approx(np.mean(np.abs(pairs)))


def test_a_token_of_zeros_is_like_no_other_and_leaves_no_bound():
    tokens = np.array([[1.0, 1.0], [0.0, 0.0]])
    found = theorem2.mean_cosine(tokens)
    assert found.absolute == found.signed == 0
    assert theorem2.similarity_bound(theorem2.token_size(tokens)) == math.inf


@pytest.mark.parametrize(("shift", "n", "d"), [(0.0, 196, 384), (1.0, 300, 100), (None, 196, 384)])
def test_the_operator_norm_has_its_closed_form(shift, n, d):
    tokens = theorem2.draw_tokens(0, n, d)
    mean, std = 0.0, 1.0
    if shift is not None:
        tokens = np.maximum(tokens + shift, 0)
        mean, square = theorem2.relu_moments(shift)
        std = math.sqrt(square - mean**2)
    limit = theorem2.operator_norm_limit(mean, std, n, d)
    assert theorem2.token_size(tokens).operator_norm == pytest.approx(limit, rel=0.03)


@pytest.mark.parametrize("mean", [0.0, 0.07, 0.2])
def test_a_small_mean_and_noise_both_count_in_the_operator_norm(mean):
    tokens = theorem2.draw_tokens(0, 400, 500) + mean
    limit = theorem2.operator_norm_limit(mean, 1.0, 400, 500)
    assert theorem2.token_size(tokens).operator_norm == pytest.approx(limit, rel=0.03)


@pytest.mark.parametrize("shift", [-0.5, 0.0, 0.5])
def test_mean_cosine_stays_under_the_bound_of_eq_6(shift):
    tokens = affine_relu(RNG(0).normal(size=(49, 96)), shift, 1.0)
    bound = theorem2.similarity_bound(theorem2.token_size(tokens))
    assert 0 < theorem2.mean_cosine(tokens).absolute <= bound


def test_eq_6_does_not_bound_the_absolute_cosine_of_signed_tokens():
    tokens = theorem2.draw_tokens(0, 196, 384)
    bound = theorem2.similarity_bound(theorem2.token_size(tokens))
    found = theorem2.mean_cosine(tokens)
    assert abs(found.signed) <= bound < found.absolute


def test_matrix_bernstein_for_one_matrix_gives_more_than_it_assumes():
    log_term = math.log(580 / 0.05)
    assert theorem2.bernstein_bound(0.0, 1.0, 196, 384) == pytest.approx(2 / 3 * log_term)
    assert theorem2.bernstein_bound(0.5, 0.0, 196, 384) == pytest.approx(
        math.sqrt(2 * 580 * 0.25 * log_term)
    )
    assert theorem2.bernstein_bound(0.0, 1.0, 2, 3) > 1.0  # so for any size above
