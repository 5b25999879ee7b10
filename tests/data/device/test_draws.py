"""Keyed draws: each image's own, spread as they should be, without a loop over images."""

import math
import sys

import numpy as np
import pytest
import torch

from scaledrelu.data.device.draws import keyed_normal, keyed_uniforms, sent


def test_keyed_uniforms_are_uniform_and_uncorrelated_between_neighbours():
    count = 20_000
    zeros = np.zeros(count, dtype=np.int64)
    draws = keyed_uniforms(123, np.arange(count), zeros, 4)
    assert draws.min() >= 0
    assert draws.max() < 1
    expected = count / 50
    for column in draws.T:
        chi2 = ((np.histogram(column, 50, (0, 1))[0] - expected) ** 2 / expected).sum()
        assert 20 < chi2 < 95  # 49 degrees of freedom
        assert abs(np.corrcoef(column[:-1], column[1:])[0, 1]) < 0.03
    others = [
        keyed_uniforms(124, np.arange(count), zeros, 4),
        keyed_uniforms(123, np.arange(count), zeros + 1, 4),
    ]
    columns = np.concatenate([draws, *others], axis=1)
    assert np.abs(np.corrcoef(columns.T) - np.eye(12)).max() < 0.03


def test_more_draws_leave_the_first_ones_as_they_are():
    keys = np.arange(10), np.zeros(10, dtype=np.int64)
    assert (keyed_uniforms(5, *keys, 45)[:, :5] == keyed_uniforms(5, *keys, 5)).all()


def test_keyed_normal_is_normal_and_differs_between_keys():
    noise = keyed_normal(torch.tensor([1, 2, 2**32 - 1]), (3, 64, 64)).flatten(1)
    assert noise.isfinite().all()
    for row in noise:
        assert row.mean().item() == pytest.approx(0, abs=0.04)
        assert row.std().item() == pytest.approx(1, abs=0.03)
        inside = (row.abs() < 1).float().mean().item()
        assert inside == pytest.approx(math.erf(1 / math.sqrt(2)), abs=0.02)
    assert torch.corrcoef(noise).fill_diagonal_(0).abs().max() < 0.04


def test_numbers_of_all_kinds_and_shapes_are_sent_as_they_are():
    random = np.random.RandomState(0)
    arrays = [
        random.rand(3, 1, 7),
        random.rand(5) < 0.5,
        random.randint(0, 256, (3, 31)).astype(np.uint8),
        np.empty((0, 256), dtype=np.uint8),
        random.randint(-9, 9, (2, 5)).T,  # not in the order of memory
        random.rand(1).astype(np.float32),
    ]
    for found, array in zip(sent(arrays, torch.device("cpu")), arrays, strict=True):
        assert torch.equal(found, torch.from_numpy(array))
        assert found.dtype == torch.from_numpy(array).dtype


def test_draws_of_many_images_take_no_more_calls_than_those_of_one():
    """What takes its time is the calls; a clock would measure the machine too."""

    def calls(count: int) -> int:
        seen = []
        keys = np.arange(count) * 7, np.zeros(count, dtype=np.int64)
        sys.setprofile(lambda frame, event, argument: seen.append(event))
        try:
            keyed_uniforms(9, *keys, 45)
        finally:
            sys.setprofile(None)
        return sum(event in ("call", "c_call") for event in seen)

    assert calls(64) == calls(1) < 100
