"""Token similarity against a slow, obvious computation and known cases."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F

from scaledrelu.evals.tokens import layer_similarity
from tests.helpers.memory import Allocated
from tests.helpers.pretended_gpu import pretended_gpu

B, N, D = 3, 12, 4  # images, tokens, channels: B x N x N is more than anything else


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


@pytest.mark.parametrize("offset", [0.0, 3.0])  # tokens all over, and tokens of much the same way
def test_many_tokens_cost_no_accuracy(offset: float) -> None:
    tokens = torch.randn(4, 784, 32, generator=torch.Generator().manual_seed(0)) + offset
    unit = F.normalize(tokens.double(), dim=-1)
    cosine = unit @ unit.transpose(1, 2)
    cosine = cosine[:, ~torch.eye(784, dtype=torch.bool)]
    found = layer_similarity(tokens)
    assert float(found.absolute) == pytest.approx(float(cosine.abs().mean()), abs=2e-7)
    assert float(found.signed) == pytest.approx(float(cosine.mean()), abs=2e-7)


def test_the_tokens_are_left_alone_and_a_bad_one_shows() -> None:
    tokens = torch.randn(B, N, D)
    before = tokens.clone()
    layer_similarity(tokens)
    assert torch.equal(tokens, before)
    tokens[1, 2, 3] = torch.nan
    assert layer_similarity(tokens).absolute.isnan()
    assert layer_similarity(tokens).signed.isnan()


def test_a_gpu_is_asked_for_no_value() -> None:
    with pretended_gpu():
        found = layer_similarity(torch.empty(B, N, D, device="cuda"))
    assert found.absolute.device.type == found.signed.device.type == "cuda"


def test_only_the_cosines_take_the_memory_of_all_pairs() -> None:
    tokens = torch.randn(B, N, D)
    with Allocated() as memory:
        layer_similarity(tokens)
    assert sorted(memory.sizes)[-2:] == [4 * B * N * D, 4 * B * N * N]
