"""Top-1 accuracy, exact on any number of processes: integer counts, un-padded shards."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scaledrelu.evals.embedding import check_seen


class Top1:
    """Classifies a validation set and counts.

    Args:
        batches: yields (images, targets, indices) of this process's shard, on the device.
        num_images: size of the whole validation set; the shards must add up to it.
        reduce_sum: sum of a tensor over all processes.
        autocast: makes the context of the run's precision.
    """

    headline = "val/top1"

    def __init__(
        self,
        *,
        batches: Callable[[], Iterable[Any]],
        num_images: int,
        reduce_sum: Callable[[Tensor], Tensor],
        autocast: Callable[[], AbstractContextManager[Any]],
    ) -> None:
        self.batches, self.num_images = batches, num_images
        self.reduce_sum, self.autocast = reduce_sum, autocast

    @torch.no_grad()
    def __call__(self, model: nn.Module) -> tuple[dict[str, float], dict[str, Tensor]]:
        """Return ``val/top1`` in percent and ``val/loss``, and per-image correctness.

        Raises:
            RuntimeError: if the shards do not add up to the validation set.
        """
        correct_N = seen_N = loss = None
        for batch in self.batches():
            if correct_N is None:
                device = batch.images.device
                correct_N = torch.zeros(self.num_images, dtype=torch.int64, device=device)
                seen_N = torch.zeros_like(correct_N)
                loss = torch.zeros((), dtype=torch.float64, device=device)
            with self.autocast():
                logits_BC = model(batch.images)
            logits_BC = logits_BC.float()
            hit_B = logits_BC.argmax(dim=1) == batch.targets
            correct_N[batch.indices] = hit_B.long()
            seen_N[batch.indices] += 1
            loss += F.cross_entropy(logits_BC, batch.targets, reduction="sum").double()
        correct_N, seen_N, loss = map(self.reduce_sum, (correct_N, seen_N, loss))
        check_seen(seen_N, "validation")
        metrics = {
            "val/top1": 100.0 * int(correct_N.sum()) / self.num_images,
            "val/loss": float(loss) / self.num_images,
        }
        return metrics, {"val/correct": correct_N.bool().cpu()}


class FrozenTop1(Top1):
    """Top-1 of a classifier on features that never change: they are computed once.

    The model has ``embed(images)`` and takes its result in place of images, as
    ``tasks.linear_probe.Probe`` does. Meant for one validation set and one frozen model.
    """

    _kept: list[Any] | None = None  # batches with features in place of images

    def __call__(self, model: nn.Module) -> tuple[dict[str, float], dict[str, Tensor]]:
        """Return what ``Top1`` returns; the first call embeds the images."""
        if self._kept is None:
            self._kept = [replace(b, images=model.embed(b.images)) for b in self.batches()]
            self.batches = lambda: self._kept
        return super().__call__(model)
