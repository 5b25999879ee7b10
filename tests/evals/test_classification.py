"""Top-1 counts every image once, in any sharding, whatever the batch size."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from torch import Tensor, nn

from scaledrelu.evals.classification import Top1
from tests.helpers.eval_shards import Shard, split_shards

LOGITS = torch.randn(23, 5, generator=torch.Generator().manual_seed(0))
TARGETS = torch.randint(5, (23,), generator=torch.Generator().manual_seed(1))


def shards(rank: int, world: int, batch: int) -> list[Shard]:
    return split_shards(LOGITS, TARGETS, rank, world, batch)


def evaluate(batches: list[Shard], reduce_sum=lambda x: x, num_images: int = 23):
    top1 = Top1(
        batches=lambda: batches, num_images=num_images, reduce_sum=reduce_sum, autocast=nullcontext
    )
    return top1(nn.Identity())


@pytest.mark.parametrize("batch", [1, 7, 23, 100])
def test_it_is_the_share_of_right_answers_whatever_the_batch(batch: int) -> None:
    metrics, arrays = evaluate(shards(0, 1, batch))
    right = LOGITS.argmax(1) == TARGETS
    assert metrics["val/top1"] == 100 * right.sum().item() / 23
    assert torch.equal(arrays["val/correct"], right)
    expected = nn.functional.cross_entropy(LOGITS, TARGETS).item()
    assert metrics["val/loss"] == pytest.approx(expected, rel=1e-6)


def test_shards_of_three_processes_add_up_to_the_whole() -> None:
    sums: dict[int, list[Tensor]] = {}
    for rank in range(3):
        seen: list[Tensor] = []
        with pytest.raises(RuntimeError, match="not seen exactly once"):
            evaluate(shards(rank, 3, 4), lambda x, seen=seen: seen.append(x) or x)
        sums[rank] = seen
    totals = iter([sum(parts) for parts in zip(*sums.values(), strict=True)])
    metrics, arrays = evaluate(shards(0, 3, 4), lambda _: next(totals))
    whole, whole_arrays = evaluate(shards(0, 1, 23))
    assert metrics["val/top1"] == whole["val/top1"]
    assert metrics["val/loss"] == pytest.approx(whole["val/loss"], rel=1e-6)
    assert torch.equal(arrays["val/correct"], whole_arrays["val/correct"])


def test_a_padded_shard_is_an_error_not_a_wrong_number() -> None:
    doubled = [*shards(0, 1, 23), *shards(0, 1, 1)[:1]]
    with pytest.raises(RuntimeError, match="1 of 23 validation images"):
        evaluate(doubled)
