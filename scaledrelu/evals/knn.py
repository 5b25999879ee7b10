"""Weighted k-NN on frozen features, exact for any number of images and processes (recipes C.3)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from scaledrelu.config.evaluation import knn_headline
from scaledrelu.errors import ConfigError
from scaledrelu.evals.embedding import SpreadMeter, check_seen, embed, embed_set

# N training images, Q others, D features, C classes, K nearest training images

CHUNK = 2**26  # similarities in memory at once


@dataclass(frozen=True, slots=True)
class Memory:
    """The whole training set in its order: features N x D of length 1, and N classes."""

    features: Tensor
    classes: Tensor


class Knn:
    """Lets the nearest training images vote on every validation image.

    Features are what the model makes of an image, in float32, scaled to length 1: for a ViT without
    classifier the class token after the final norm. Equally near training images count in the order
    of the training set; among equal votes the lower class wins.

    Args:
        batches: yields (images, targets, indices) of this process's shard of the validation set,
            on the device.
        num_images: size of the whole validation set; the shards must add up to it.
        training: yields the same for the training set, not augmented, with the same transform.
        num_training: images of the whole training set.
        reduce_sum: sum of a tensor over all processes.
        neighbours: k, one or several.
        temperature: a vote counts exp(similarity / temperature).

    Raises:
        ConfigError: if a k is more than the training set has.
    Source: DINO eval_knn.py; recipes C.3.
    """

    def __init__(
        self,
        *,
        batches: Callable[[], Iterable[Any]],
        num_images: int,
        training: Callable[[], Iterable[Any]],
        num_training: int,
        reduce_sum: Callable[[Tensor], Tensor],
        neighbours: Sequence[int],
        temperature: float,
    ) -> None:
        self.batches, self.num_images = batches, num_images
        self.training, self.num_training = training, num_training
        self.reduce_sum = reduce_sum
        self.neighbours, self.temperature = tuple(neighbours), temperature
        if max(neighbours) > num_training:
            raise ConfigError(
                f"evaluation.build: neighbours={list(neighbours)}: must lie in [1, {num_training}] "
                "(the number of training images); remove the others"
            )

    @property
    def headline(self) -> str:
        """Name of the metric that stands for the others: that of k = 20, or of the first k."""
        return knn_headline(self.neighbours)

    @torch.no_grad()
    def __call__(self, model: nn.Module) -> tuple[dict[str, float], dict[str, Tensor]]:
        """Return ``val/knn<k>`` in percent, and per-image correctness of the headline's k.

        ``val/feature_std`` and ``val/feature_rank`` say how far the validation features spread
        (see ``embedding.Spread``).

        Raises:
            RuntimeError: if the shards do not add up to the sets.
        """
        memory = self._remember(model)
        num_classes = int(memory.classes.max()) + 1
        rows = {k: row for row, k in enumerate(self.neighbours)}
        device = memory.classes.device
        correct_KQ = torch.zeros(len(rows), self.num_images, dtype=torch.int64, device=device)
        seen_Q = torch.zeros_like(correct_KQ[0])
        meter = SpreadMeter()
        for batch in self.batches():
            features_BD = embed(model, batch.images)
            meter.see(features_BD)
            seen_Q[batch.indices] += 1
            for k, guess_B in self._classify(features_BD, memory, num_classes).items():
                correct_KQ[rows[k], batch.indices] = (guess_B == batch.targets).long()
        correct_KQ, seen_Q = self.reduce_sum(correct_KQ), self.reduce_sum(seen_Q)
        check_seen(seen_Q, "validation")
        spread = meter.read(self.reduce_sum)
        metrics = {
            f"val/knn{k}": 100.0 * int(correct_KQ[row].sum()) / self.num_images
            for k, row in rows.items()
        }
        metrics |= {"val/feature_std": spread.std, "val/feature_rank": spread.rank}
        headline = rows[int(self.headline.removeprefix("val/knn"))]
        return metrics, {"val/correct": correct_KQ[headline].bool().cpu()}

    def _remember(self, model: nn.Module) -> Memory:
        """Embed the training images of all processes."""
        features_ND, own_N = embed_set(
            model, self.training(), self.num_training, reduce_sum=self.reduce_sum, name="training"
        )
        return Memory(features_ND, self.reduce_sum(own_N))

    def _classify(self, features_BD: Tensor, memory: Memory, num_classes: int) -> dict[int, Tensor]:
        parts = [
            vote(
                queries_QD @ memory.features.T,
                memory.classes,
                num_classes=num_classes,
                neighbours=self.neighbours,
                temperature=self.temperature,
            )
            for queries_QD in features_BD.split(max(1, CHUNK // self.num_training))
        ]
        return {k: torch.cat([part[k] for part in parts]) for k in self.neighbours}


def vote(
    similarity_QN: Tensor,
    classes_N: Tensor,
    *,
    num_classes: int,
    neighbours: Sequence[int],
    temperature: float,
) -> dict[int, Tensor]:
    """Return the class that the k nearest vote for, for every k.

    Args:
        similarity_QN: cosine similarity of Q images to the training set.
        classes_N: classes of the training set, int64.
        num_classes: C.
        neighbours: k, one or several.
        temperature: a vote counts exp(similarity / temperature).
    """
    values_QK, indices_QK = nearest(similarity_QN, max(neighbours))
    # Relative to the nearest: the winner is the same, and nothing overflows at any temperature.
    weight_QK = ((values_QK - values_QK[:, :1]).double() / temperature).exp()
    class_QK = classes_N[indices_QK]
    votes_QC = weight_QK.new_zeros(len(class_QK), num_classes)
    winners, counted = {}, 0
    for k in sorted(set(neighbours)):
        votes_QC.scatter_add_(1, class_QK[:, counted:k], weight_QK[:, counted:k])
        winners[k], counted = votes_QC.argmax(dim=1), k
    return winners


def nearest(similarity_QN: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the largest values of every row and where they stand; equal ones from the left.

    ``topk`` promises no order among equals, and collapsed features are all equal.

    Args:
        similarity_QN: any finite values.
        count: K, at most N.
    """
    values_QK, indices_QK = similarity_QN.topk(count)
    last_Q1 = values_QK[:, -1:]
    left_out_Q = (similarity_QN == last_Q1).sum(1) > (values_QK == last_Q1).sum(1)
    indices_QK, order_QK = indices_QK.sort(dim=1)
    values_QK = values_QK.gather(1, order_QK)
    values_QK, order_QK = values_QK.sort(dim=1, descending=True, stable=True)
    indices_QK = indices_QK.gather(1, order_QK)
    if bool(left_out_Q.any()):
        values, indices = similarity_QN[left_out_Q].sort(dim=1, descending=True, stable=True)
        values_QK[left_out_Q], indices_QK[left_out_Q] = values[:, :count], indices[:, :count]
    return values_QK, indices_QK
