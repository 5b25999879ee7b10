"""Token similarity against a slow, obvious computation and known cases."""

from __future__ import annotations

import itertools

import pytest
import torch

from scaledrelu.evals.tokens import layer_similarity


def slow(tokens: torch.Tensor, *, absolute: bool) -> float:
    total, count = 0.0, 0
    for image in tokens.double():
        for i, j in itertools.permutations(range(len(image)), 2):
            cosine = float(image[i] @ image[j] / (image[i].norm() * image[j].norm()))
            total += abs(cosine) if absolute else cosine
            count += 1
    return total / count


def test_it_equals_the_definition() -> None:
    tokens = torch.randn(3, 5, 7, generator=torch.Generator().manual_seed(0))
    found = layer_similarity(tokens)
    assert float(found.absolute) == pytest.approx(slow(tokens, absolute=True), rel=1e-5)
    assert float(found.signed) == pytest.approx(slow(tokens, absolute=False), abs=1e-6)


def test_equal_tokens_are_one_and_opposite_ones_cancel_in_the_signed_mean() -> None:
    same = torch.ones(2, 4, 3)
    assert float(layer_similarity(same).signed) == pytest.approx(1.0)
    opposite = torch.tensor([[[1.0, 0.0], [-1.0, 0.0]]])
    assert float(layer_similarity(opposite).absolute) == pytest.approx(1.0)
    assert float(layer_similarity(opposite).signed) == pytest.approx(-1.0)


def test_orthogonal_tokens_are_zero_and_scale_does_not_matter() -> None:
    tokens = torch.eye(4)[None] * torch.tensor([1.0, 5.0, 0.1, 2.0])[:, None]
    assert float(layer_similarity(tokens).absolute) == pytest.approx(0.0, abs=1e-7)


def test_one_token_has_no_pairs() -> None:
    with pytest.raises(ValueError, match="at least 2 tokens"):
        layer_similarity(torch.ones(1, 1, 3))
