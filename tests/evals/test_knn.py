"""Weighted k-NN against slow, obvious second implementations, and the spread of features."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from scaledrelu.errors import ConfigError
from scaledrelu.evals import knn as module
from scaledrelu.evals.embedding import SpreadMeter
from scaledrelu.evals.knn import Knn, vote
from tests.helpers.eval_shards import Shard, split_shards

KS = (1, 3, 10, 20)


@dataclass
class Set:
    features: Tensor
    targets: Tensor

    def shards(self, rank: int = 0, world: int = 1, batch: int = 7) -> list[Shard]:
        return split_shards(self.features, self.targets, rank, world, batch)


def clouds(count: int, seed: int, classes: int = 4) -> Set:
    """Overlapping clouds, so that k and the votes matter."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(classes, (count,), generator=generator)
    centres = torch.randn(classes, 6, generator=torch.Generator().manual_seed(9))
    return Set(centres[targets] + 1.3 * torch.randn(count, 6, generator=generator), targets)


def evaluate(
    training: list[Shard], validation: list[Shard], sizes: tuple[int, int], reduce_sum=lambda x: x,
    neighbours=KS, temperature: float = 0.07,
):  # fmt: skip
    evaluator = Knn(
        batches=lambda: validation,
        num_images=sizes[1],
        training=lambda: training,
        num_training=sizes[0],
        reduce_sum=reduce_sum,
        neighbours=neighbours,
        temperature=temperature,
    )
    return evaluator(nn.Identity())


def slow_guess(query, training: Set, k: int, temperature: float) -> int:
    """Sort all training images, the nearest first and in their own order, and count."""
    similar = [
        (-float(query / query.norm() @ (other / other.norm())), index)
        for index, other in enumerate(training.features.double())
    ]
    votes: dict[int, float] = {}
    for negative, index in sorted(similar)[:k]:
        label = int(training.targets[index])
        votes[label] = votes.get(label, 0.0) + math.exp(-negative / temperature)
    return min(votes, key=lambda label: (-votes[label], label))


@pytest.mark.parametrize("count", [1, 23, 110])
@pytest.mark.parametrize("temperature", [0.07, 1.0])
def test_it_agrees_with_sorting_and_counting(count, temperature) -> None:
    training, validation = clouds(60, 0), clouds(count, 1)
    metrics, arrays = evaluate(
        training.shards(), validation.shards(), (60, count), temperature=temperature
    )
    for k in KS:
        guesses = [slow_guess(q, training, k, temperature) for q in validation.features.double()]
        right = np.array(guesses) == validation.targets.numpy()
        assert metrics[f"val/knn{k}"] == pytest.approx(100 * right.mean())
        if k == 20:
            assert arrays["val/correct"].tolist() == right.tolist()


def test_it_agrees_with_scikit_learn_on_handwritten_digits() -> None:
    from sklearn.neighbors import KNeighborsClassifier

    from scaledrelu.data.datasets import open_digits

    splits = open_digits(image_size=8)
    train, val = (
        Set(s.images[:, 0].flatten(1).float(), torch.from_numpy(s.targets))
        for s in (splits.train, splits.val)
    )
    metrics, _ = evaluate(train.shards(batch=500), val.shards(batch=100), (1437, 360))
    unit = [nn.functional.normalize(part.features).double().numpy() for part in (train, val)]
    for k in KS:
        judge = KNeighborsClassifier(
            k, algorithm="brute", weights=lambda far: np.exp((1 - far**2 / 2) / 0.07)
        )
        judge.fit(unit[0], train.targets.numpy())
        expected = 100 * judge.score(unit[1], val.targets.numpy())
        assert metrics[f"val/knn{k}"] == pytest.approx(expected, abs=0.3)  # equally near images
        assert expected > 95


def test_equally_near_images_count_in_their_own_order_and_equal_votes_go_to_the_lower_class():
    similarity = torch.tensor([[0.5, 0.5, 0.9, 0.5, 0.5], [0.1, 0.2, 0.2, 0.2, 0.1]])
    found = vote(
        similarity,
        torch.tensor([3, 1, 2, 1, 0]),
        num_classes=4,
        neighbours=[1, 2, 3, 4, 5],
        temperature=10.0,
    )
    assert {k: found[k].tolist() for k in found} == {
        1: [2, 1], 2: [2, 1], 3: [2, 1], 4: [1, 1], 5: [1, 1],
    }  # fmt: skip


def test_nothing_but_equal_images_vote_like_the_first_k_of_them() -> None:
    classes = torch.arange(300) // 100
    found = vote(
        torch.full((5, 300), 0.25), classes, num_classes=3, neighbours=[7, 150], temperature=0.07
    )
    assert found[7].tolist() == found[150].tolist() == [0] * 5


def test_the_order_of_many_equals_is_that_of_a_stable_sort() -> None:
    similarity = torch.randint(4, (50, 400), generator=torch.Generator().manual_seed(0)).float()
    values, indices = module.nearest(similarity, 150)
    for row, value, index in zip(similarity.numpy(), values, indices, strict=True):
        order = np.argsort(-row, kind="stable")[:150]
        assert index.tolist() == order.tolist()
        assert value.tolist() == row[order].tolist()


def test_a_tiny_temperature_means_the_nearest_and_does_not_overflow() -> None:
    training, validation = clouds(120, 0), clouds(60, 1)
    metrics, _ = evaluate(training.shards(), validation.shards(), (120, 60), temperature=1e-6)
    assert metrics["val/knn20"] == metrics["val/knn1"]


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    training, validation = clouds(120, 0), clouds(61, 1)
    whole = evaluate(training.shards(), validation.shards(batch=61), (120, 61))
    monkeypatch.setattr(module, "CHUNK", 250)
    parts = evaluate(training.shards(), validation.shards(batch=61), (120, 61))
    assert parts[0] == pytest.approx(whole[0])
    assert torch.equal(parts[1]["val/correct"], whole[1]["val/correct"])


class Ranks:
    """Processes that run one after the other: first all speak, then all hear the sums."""

    def __init__(self) -> None:
        self.spoken: list[list[Tensor]] = []

    def run(self, ranks: int, evaluate_rank):
        known = 0
        while True:
            self.spoken, results = [], []
            for rank in range(ranks):
                self.spoken.append([])
                results.append(self._attempt(evaluate_rank, rank, known))
            if results[0] is not None:
                return results
            self.totals = [sum(parts) for parts in zip(*self.spoken, strict=True)]
            known = len(self.totals)

    def _attempt(self, evaluate_rank, rank: int, known: int):
        def reduce_sum(value: Tensor) -> Tensor:
            place = len(self.spoken[rank])
            self.spoken[rank].append(value.clone())
            if place >= known:
                raise LookupError
            return self.totals[place].clone()

        try:
            return evaluate_rank(rank, reduce_sum)
        except LookupError:
            return None


def test_three_processes_find_what_one_finds() -> None:
    training, validation = clouds(121, 0), clouds(50, 1)
    whole = evaluate(training.shards(), validation.shards(), (121, 50))

    def one(rank: int, reduce_sum):
        return evaluate(training.shards(rank, 3), validation.shards(rank, 3), (121, 50), reduce_sum)

    for metrics, arrays in Ranks().run(3, one):
        assert metrics == pytest.approx(whole[0])
        assert torch.equal(arrays["val/correct"], whole[1]["val/correct"])


@pytest.mark.parametrize("name", ["training", "validation"])
def test_a_padded_shard_is_an_error_not_a_wrong_number(name) -> None:
    sets = {"training": clouds(120, 0).shards(), "validation": clouds(50, 1).shards()}
    sets[name] = [*sets[name], sets[name][0]]
    with pytest.raises(RuntimeError, match=f"7 of .* {name} images were not seen exactly once"):
        evaluate(sets["training"], sets["validation"], (120, 50))


def test_more_neighbours_than_training_images_are_refused_in_one_line() -> None:
    with pytest.raises(ConfigError, match=r"neighbours=.* must lie in \[1, 120\]") as caught:
        evaluate(clouds(120, 0).shards(), clouds(5, 1).shards(), (120, 5), neighbours=[10, 200])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("neighbours", "headline"), [([10, 20, 100], "val/knn20"), ([5, 10], "val/knn5")]
)
def test_the_headline_is_twenty_neighbours_where_they_are_asked_for(neighbours, headline) -> None:
    nothing = {"batches": list, "num_images": 1, "training": list, "num_training": 100}
    evaluator = Knn(**nothing, reduce_sum=lambda x: x, neighbours=neighbours, temperature=0.07)
    assert evaluator.headline == headline


def spread(features: Tensor, parts: int = 3):
    meter = SpreadMeter()
    for part in features.chunk(parts):
        meter.see(part)
    return meter.read(lambda x: x)


def test_equal_features_have_no_spread() -> None:
    found = spread(nn.functional.normalize(torch.ones(50, 8)))
    assert found.std == pytest.approx(0, abs=1e-6)
    assert found.rank == 0


def test_two_opposite_features_have_rank_one() -> None:
    features = torch.zeros(50, 8)
    features[:, 0] = torch.tensor([1.0, -1.0]).repeat(25)
    assert spread(features).std == pytest.approx(1 / 8)
    assert spread(features).rank == pytest.approx(1)


def test_features_that_point_everywhere_have_the_largest_spread() -> None:
    axes = torch.cat([torch.eye(8), -torch.eye(8)])
    found = spread(axes)
    assert found.std == pytest.approx(1 / math.sqrt(8))
    assert found.rank == pytest.approx(8)


def test_the_spread_is_that_of_the_scaled_features_and_part_of_the_result() -> None:
    training, validation = clouds(120, 0), clouds(50, 1)
    metrics, _ = evaluate(training.shards(), validation.shards(), (120, 50))
    unit = nn.functional.normalize(validation.features).double()
    assert metrics["val/feature_std"] == pytest.approx(float(unit.std(0, correction=0).mean()))
    share = np.linalg.eigvalsh(np.cov(unit.numpy().T, bias=True))
    share = share / share.sum()
    assert metrics["val/feature_rank"] == pytest.approx(math.exp(-(share * np.log(share)).sum()))


def test_broken_features_are_not_a_number_and_not_an_error() -> None:
    found = spread(torch.full((4, 3), float("nan")))
    assert math.isnan(found.std)
    assert math.isnan(found.rank)
