"""Theorems 1 and 2 hold in numbers."""

import numpy as np
import pytest

from scaledrelu.theory import (
    FirstLayer,
    best_eta,
    operator_norm_bound,
    row_norm_bound,
    scaled_relu,
    similarity_bound,
    token_size,
    weighted_l1,
)

RNG = np.random.default_rng


def _layer(seed, num_weights=6):
    rng = RNG(seed)
    return FirstLayer(rng.normal(size=5), rng.normal(size=5), rng.normal(size=(5, num_weights)))


def test_rescaling_changes_the_parameters_but_not_the_function():
    layer, features = _layer(0), RNG(1).normal(size=(32, 5))
    other = layer.rescaled(RNG(2).uniform(0.2, 5, size=5))
    assert not np.allclose(other.weight, layer.weight)
    np.testing.assert_allclose(other.output(features), layer.output(features), rtol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_the_smallest_weight_decay_over_eta_is_the_weighted_l1_penalty(seed):
    layer = _layer(seed)
    assert layer.rescaled(best_eta(layer)).weight_decay() == pytest.approx(weighted_l1(layer))


@pytest.mark.parametrize("seed", range(5))
def test_no_other_eta_comes_below_the_weighted_l1_penalty(seed):
    layer = _layer(seed)
    for eta in RNG(seed).lognormal(sigma=1.0, size=(200, 5)):
        assert layer.rescaled(eta).weight_decay() >= weighted_l1(layer)
        near = best_eta(layer) * np.exp(0.01 * eta)
        assert layer.rescaled(near).weight_decay() > weighted_l1(layer)


def test_gradient_descent_on_weight_decay_alone_finds_the_weighted_l1_penalty():
    layer = _layer(3)
    log_eta = np.zeros(5)
    for _ in range(2000):
        now = layer.rescaled(np.exp(log_eta))
        up = np.square(now.alpha) + np.square(now.beta)
        log_eta -= 0.02 * 2 * (up - np.square(now.weight).sum(axis=1))
    found = layer.rescaled(np.exp(log_eta)).weight_decay()
    assert found == pytest.approx(weighted_l1(layer), rel=1e-9)


def test_with_one_weight_per_channel_the_penalty_is_a_weighted_l1_norm():
    layer = _layer(4, num_weights=1)
    weights = np.sqrt(layer.alpha**2 + layer.beta**2)
    assert weighted_l1(layer) == pytest.approx(2 * (weights * np.abs(layer.weight[:, 0])).sum())


def test_a_channel_without_weights_has_no_best_eta():
    layer = FirstLayer(np.ones(2), np.ones(2), np.array([[1.0], [0.0]]))
    with pytest.raises(ValueError, match="non-zero"):
        best_eta(layer)


@pytest.mark.parametrize("factor", [0.1, 3.0, 20.0])
def test_norms_are_proportional_to_mean_and_deviation(factor):
    features = RNG(0).normal(size=(197, 384))
    one = token_size(scaled_relu(features, 0.3, 1.0))
    other = token_size(scaled_relu(features, 0.3 * factor, factor))
    for name in ("mean", "std", "operator_norm", "min_row_norm"):
        assert getattr(other, name) == pytest.approx(factor * getattr(one, name))


@pytest.mark.parametrize("alpha_over_beta", [-0.5, 0.0, 0.5, 1.0])
@pytest.mark.parametrize("beta", [0.2, 1.0, 5.0])
@pytest.mark.parametrize("draw", ["standard_normal", "laplace", "uniform"])
def test_theorem_2_bounds_hold_and_are_of_the_right_order(draw, beta, alpha_over_beta):
    features = getattr(RNG(7), draw)(size=(197, 384))
    features = (features - features.mean()) / features.std()
    size = token_size(scaled_relu(features, alpha_over_beta * beta, beta))
    upper = operator_norm_bound(size, num_tokens=197, num_features=384)
    lower = row_norm_bound(size, num_features=384, gamma=0.8)
    assert 0.25 * upper < size.operator_norm <= upper
    assert lower <= size.min_row_norm < 2 * lower


def test_the_row_bound_needs_its_gamma():
    size = token_size(scaled_relu(RNG(0).normal(size=(197, 384)), 0.0, 1.0))
    assert row_norm_bound(size, num_features=384, gamma=0.0) > size.min_row_norm


@pytest.mark.parametrize("alpha", [-0.5, 0.0, 0.5])
def test_mean_cosine_stays_under_the_bound_of_eq_6(alpha):
    tokens = scaled_relu(RNG(0).normal(size=(197, 384)), alpha, 1.0)
    unit = tokens / np.linalg.norm(tokens, axis=1, keepdims=True)
    mean_cosine = ((unit @ unit.T).sum() - 197) / (197 * 196)
    assert 0 < mean_cosine <= similarity_bound(token_size(tokens), num_tokens=197)
