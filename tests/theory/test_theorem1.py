"""Theorem 1 holds in numbers: the same function, a group lasso, and no penalty without decay."""

import numpy as np
import pytest

from scaledrelu.theory import theorem1
from scaledrelu.theory.theorem1 import FirstLayer, group_penalty

RNG = np.random.default_rng


def _layer(seed, num_weights=6):
    rng = RNG(seed)
    return FirstLayer(rng.normal(size=5), rng.normal(size=5), rng.normal(size=(5, num_weights)))


def weight_decay(layer):
    """Return the squared L2 norm of all parameters, what weight decay pulls on."""
    return sum(np.square(part).sum() for part in (layer.alpha, layer.beta, layer.weight))


def best_eta(layer):
    """Return Eq. 4 with the L2 norm of a channel's weights where the paper has their L1 norm."""
    return np.sqrt(np.linalg.norm(layer.weight, axis=1) / np.hypot(layer.alpha, layer.beta))


def test_rescaling_changes_the_parameters_but_not_the_function():
    layer, features = _layer(0), RNG(1).normal(size=(32, 5))
    other = layer.rescaled(RNG(2).uniform(0.2, 5, size=5))
    assert not np.allclose(other.weight, layer.weight)
    np.testing.assert_allclose(other.output(features), layer.output(features), rtol=1e-12)


@pytest.mark.parametrize("form", ["output_by_definition", "output_behind_norm"])
def test_rescaling_changes_the_function_for_the_definition_and_behind_a_norm(form):
    layer, features = _layer(0), RNG(1).normal(size=(32, 5))
    other = layer.rescaled(RNG(2).uniform(0.2, 5, size=5))
    apart = np.abs(getattr(other, form)(features) - getattr(layer, form)(features))
    assert apart.max() > 0.1


def test_the_definition_is_homogeneous_in_beta_alone():
    features, layer = RNG(1).normal(size=(32, 5)), _layer(3)
    twice = theorem1.scaled_relu(features, layer.alpha, 2 * layer.beta)
    once = theorem1.scaled_relu(features, layer.alpha, layer.beta)
    np.testing.assert_allclose(twice, 2 * once)
    both = theorem1.scaled_relu(features, 2 * layer.alpha, 2 * layer.beta)
    assert not np.allclose(both, 2 * once)


def test_both_forms_agree_where_beta_is_positive_and_nowhere_else():
    features = RNG(1).normal(size=(64, 2))
    alpha, beta = np.array([0.3, 0.3]), np.array([2.0, -2.0])
    one = theorem1.affine_relu(features, alpha, beta)
    other = theorem1.scaled_relu(features, alpha / beta, beta)
    np.testing.assert_allclose(one[:, 0], other[:, 0])
    assert np.abs(one[:, 1] - other[:, 1]).max() > 1


@pytest.mark.parametrize("seed", range(3))
def test_the_smallest_weight_decay_is_the_group_penalty_whichever_way_it_is_found(seed):
    layer = _layer(seed)
    group = group_penalty(layer)
    np.testing.assert_allclose(theorem1.smallest_decay(layer), group, rtol=1e-12)
    assert weight_decay(layer.rescaled(best_eta(layer))) == pytest.approx(group.sum())


@pytest.mark.parametrize("seed", range(3))
def test_no_other_eta_comes_below_the_group_penalty(seed):
    layer = _layer(seed)
    smallest = group_penalty(layer).sum()
    for eta in RNG(seed).lognormal(sigma=1.0, size=(100, 5)):
        assert weight_decay(layer.rescaled(eta)) >= smallest
        near = best_eta(layer) * np.exp(0.01 * eta)
        assert weight_decay(layer.rescaled(near)) > smallest


def test_gradient_descent_on_weight_decay_alone_finds_the_group_penalty():
    layer = _layer(3)
    log_eta = np.zeros(5)
    for _ in range(2000):
        now = layer.rescaled(np.exp(log_eta))
        up = np.square(now.alpha) + np.square(now.beta)
        log_eta -= 0.02 * 2 * (up - np.square(now.weight).sum(axis=1))
    found = weight_decay(layer.rescaled(np.exp(log_eta)))
    assert found == pytest.approx(group_penalty(layer).sum(), rel=1e-9)


def test_weight_decay_goes_below_the_entrywise_penalty():
    layer = _layer(4)
    assert (theorem1.smallest_decay(layer) < 0.9 * theorem1.entrywise_penalty(layer)).all()


def test_with_one_weight_per_channel_the_group_penalty_is_entrywise():
    layer = _layer(4, num_weights=1)
    np.testing.assert_allclose(group_penalty(layer), theorem1.entrywise_penalty(layer))
    weights = np.sqrt(layer.alpha**2 + layer.beta**2)
    np.testing.assert_allclose(group_penalty(layer), 2 * weights * np.abs(layer.weight[:, 0]))


def test_weight_decay_on_both_factors_gives_the_group_lasso_and_not_the_entrywise_one():
    target = RNG(0).normal(size=(4, 6)) * np.array([[0.2], [0.5], [1.0], [1.5]])
    scale, weight = theorem1.descend(target, 0.9, steps=5000)
    found = scale[:, None] * weight
    np.testing.assert_allclose(found, theorem1.group_lasso(target, 0.9), atol=1e-6)
    assert np.abs(found - theorem1.entrywise_lasso(target, 0.9)).max() > 0.3
    alive = np.abs(found).max(axis=1) > 1e-6
    assert not alive.all()
    assert (np.abs(found[alive]) > 1e-6).all()
    np.testing.assert_allclose(  # at the optimum both halves of the penalty are equal
        np.abs(scale[alive]), np.linalg.norm(weight[alive], axis=1), rtol=1e-6
    )


@pytest.mark.parametrize("lasso", [theorem1.group_lasso, theorem1.entrywise_lasso])
def test_the_closed_forms_are_minima(lasso):
    target, rng = RNG(0).normal(size=(3, 4)), RNG(1)

    def objective(values):
        sizes = np.linalg.norm(values, axis=1) if lasso is theorem1.group_lasso else np.abs(values)
        return 0.5 * np.square(values - target).sum() + 0.4 * sizes.sum()

    best = lasso(target, 0.4)
    for _ in range(200):
        assert objective(best + 0.1 * rng.normal(size=best.shape)) > objective(best)


def test_without_decay_on_alpha_and_beta_no_penalty_is_left():
    layer, features = _layer(0), RNG(1).normal(size=(8, 5))
    other = layer.rescaled(np.full(5, 1e4))
    np.testing.assert_allclose(other.output(features), layer.output(features), rtol=1e-10)
    left = np.square(other.weight).sum()
    assert theorem1.exempt_decay(layer, 1e4) == pytest.approx(left)
    assert left < 1e-6 * np.square(layer.weight).sum()


def test_a_channel_without_weights_has_no_smallest_decay():
    layer = FirstLayer(np.ones(2), np.ones(2), np.array([[1.0], [0.0]]))
    with pytest.raises(ValueError, match="non-zero"):
        theorem1.smallest_decay(layer)
