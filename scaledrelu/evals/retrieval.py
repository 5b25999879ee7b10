"""Person retrieval: a model's mAP and Rank-k on a query set and a gallery."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from scaledrelu.evals.embedding import embed_set
from scaledrelu.evals.ranking import Embedded, first_places, rank_gallery

# Q queries, G gallery images, N images of either, D features, P pictured queries, K first places

PICTURED = 24  # queries whose first places are kept for a picture
FIRST_PLACES = 10


class RetrievalMap:
    """Looks every query up in the gallery.

    Features are what the model makes of an image, in float32, scaled to length 1. Every process
    embeds its shards and ranks the whole set.

    Args:
        query: yields (images, targets, indices) of this process's shard of the queries, on the
            device.
        gallery: yields the same for the gallery, distractors included.
        query_ids: Q person ids.
        query_cameras: Q cameras.
        gallery_ids: G person ids; those of distractors belong to no query.
        gallery_cameras: G cameras.
        reduce_sum: sum of a tensor over all processes.

    Source: TransReID utils/metrics.py R1_mAP_eval; recipes D.4.
    """

    headline = "val/map"

    def __init__(
        self,
        *,
        query: Callable[[], Iterable[Any]],
        gallery: Callable[[], Iterable[Any]],
        query_ids: np.ndarray,
        query_cameras: np.ndarray,
        gallery_ids: np.ndarray,
        gallery_cameras: np.ndarray,
        reduce_sum: Callable[[Tensor], Tensor],
    ) -> None:
        self.query, self.gallery = query, gallery
        self.query_ids, self.query_cameras = query_ids, query_cameras
        self.gallery_ids, self.gallery_cameras = gallery_ids, gallery_cameras
        self.reduce_sum = reduce_sum

    @torch.no_grad()
    def __call__(self, model: nn.Module) -> tuple[dict[str, float], dict[str, Tensor]]:
        """Return mAP and Rank-1, 5, 10 in percent and the number of valid queries.

        The arrays are ``val/first_hit`` (see ``Retrieval``), ``val/pictured`` (a few queries,
        spread evenly) and ``val/first_places`` (their nearest gallery images, see
        ``first_places``).

        Raises:
            RuntimeError: if the shards do not add up to the sets.
            DataError: if no query has a match.
        """
        query = self._embed(model, self.query, self.query_ids, self.query_cameras, "query")
        gallery = self._embed(
            model, self.gallery, self.gallery_ids, self.gallery_cameras, "gallery"
        )
        found = rank_gallery(query, gallery)
        pictured_P = spread_evenly(len(query.ids), PICTURED)
        first_PK = first_places(query.at(pictured_P), gallery, count=FIRST_PLACES)
        metrics = {"val/map": 100.0 * found.map}
        metrics |= {f"val/rank{k}": 100.0 * float(found.cmc[k - 1]) for k in (1, 5, 10)}
        metrics["val/valid_queries"] = float(found.valid_queries)
        return metrics, {
            "val/first_hit": found.first_hit.cpu(),
            "val/pictured": pictured_P,
            "val/first_places": first_PK.cpu(),
        }

    def _embed(
        self,
        model: nn.Module,
        batches: Callable[[], Iterable[Any]],
        ids: np.ndarray,
        cameras: np.ndarray,
        name: str,
    ) -> Embedded:
        """Embed a set and return it with its persons and cameras."""
        features_ND, _ = embed_set(
            model, batches(), len(ids), reduce_sum=self.reduce_sum, name=name
        )
        places = (torch.as_tensor(part, device=features_ND.device) for part in (ids, cameras))
        return Embedded(features_ND, *places)


def spread_evenly(total: int, count: int) -> Tensor:
    """Return ``count`` positions evenly spread over ``total``, or all if there are fewer.

    Args:
        total: number of positions.
        count: number of positions wanted.
    """
    count = min(total, count)
    return torch.arange(count) * total // count
