"""Order of a gallery for every query: average precision and CMC as the official protocol has them.

Exact at any size: queries are ranked in blocks, so memory grows with the gallery alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from scaledrelu.errors import DataError

# Q queries, G gallery images, D features, M matches, K first places

RANKS = 50  # of the CMC curve (TransReID R1_mAP_eval, max_rank)
PAIRS = 2**22  # of a query and a gallery image in memory at once; about 40 bytes each
REMOVED = torch.iinfo(torch.int64).max  # behind every image that counts


@dataclass(frozen=True, slots=True)
class Retrieval:
    """How well a gallery was ranked.

    Attributes:
        map: mean average precision over the valid queries, in [0, 1].
        cmc: share of the valid queries with a match among the first k, k = 1..50, float64.
        valid_queries: those with a match on another camera; only they count.
        first_hit: per query, place of its first match from 1, int64; 0 without a match.
    """

    map: float
    cmc: Tensor
    valid_queries: int
    first_hit: Tensor


@dataclass(frozen=True, slots=True)
class Embedded:
    """Images as the protocol sees them, all on one device.

    Attributes:
        features: N x D, float32.
        ids: N persons, int64.
        cameras: N, int64.
    """

    features: Tensor
    ids: Tensor
    cameras: Tensor

    def at(self, chosen: Tensor | slice) -> Embedded:
        """Return some of the images.

        Args:
            chosen: their positions.
        """
        return Embedded(self.features[chosen], self.ids[chosen], self.cameras[chosen])


@dataclass(frozen=True, slots=True)
class Places:
    """Of a block of queries: places Q x M of their matches from 1, the nearest first.

    Of row q only the first ``found[q]`` places mean something.
    """

    ranks: Tensor
    found: Tensor


def rank_gallery(query: Embedded, gallery: Embedded, *, chunk: int | None = None) -> Retrieval:
    """Rank the gallery for every query by Euclidean distance and judge the order.

    Gallery images of the query's person on the query's own camera are left out; a query with no
    image of its person on another camera does not count. Distances are float64, then rounded to
    float32; equal ones keep the order of the gallery. Average precision is the mean over the
    matches of (matches so far) / (place). Features that are not finite give NaN for mAP and CMC,
    and no hit.

    Args:
        query: Q images to look for.
        gallery: G images to find them in; an id that no query has is a distractor.
        chunk: queries ranked at once; memory grows with chunk x G; None chooses.

    Raises:
        DataError: if no query has a match.
    Source: TransReID utils/metrics.py eval_func; recipes D.4. (Its distances are float32, where the
        difference of large squares leaves little of a small distance.)
    """
    size, chunk = len(query.ids), chunk or chunk_for(len(gallery.ids))
    exact, norm_G = _exact(gallery)
    blocks = (query.at(slice(start, start + chunk)) for start in range(0, max(1, size), chunk))
    places = [_places(block, exact, norm_G) for block in blocks]
    precision_Q = torch.cat([_average_precision(part) for part in places])
    valid_Q = torch.cat([part.found for part in places]) > 0
    first_Q = torch.cat([part.ranks[:, 0] for part in places]).masked_fill(~valid_Q, 0)
    if not bool(valid_Q.any()):
        raise DataError(
            f"retrieval: none of the {size} queries shows a person whom another camera saw "
            f"among the {len(gallery.ids)} gallery images; check that query and gallery belong "
            "to the same data set"
        )
    hits_K = torch.bincount(first_Q[valid_Q].clamp(max=RANKS + 1), minlength=RANKS + 2)[1:-1]
    cmc_K = hits_K.cumsum(0).double() / valid_Q.sum()
    if not bool(query.features.isfinite().all() & gallery.features.isfinite().all()):
        precision_Q, cmc_K, first_Q = precision_Q * torch.nan, cmc_K * torch.nan, first_Q * 0
    mean = float(precision_Q[valid_Q].mean())
    return Retrieval(mean, cmc_K, int(valid_Q.sum()), first_Q)


def first_places(query: Embedded, gallery: Embedded, *, count: int) -> Tensor:
    """Return the positions Q x count of the nearest gallery images in the order that is judged.

    -1 stands where the gallery ends, without the images that are left out (see ``rank_gallery``).

    Args:
        query: Q images to look for.
        gallery: images to find them in.
        count: K, places to return.
    """
    keys_QG = _order_keys(query, *_exact(gallery))
    nearest = keys_QG.topk(min(count, len(gallery.ids)), largest=False)
    first_QK = nearest.indices.masked_fill(nearest.values == REMOVED, -1)
    return F.pad(first_QK, (0, count - first_QK.shape[1]), value=-1)


def chunk_for(gallery: int) -> int:
    """Return how many queries to rank at once in a gallery of that many images."""
    return max(1, PAIRS // gallery)


def _exact(gallery: Embedded) -> tuple[Embedded, Tensor]:
    """Return the gallery with features in float64, and their squared lengths."""
    exact = replace(gallery, features=gallery.features.double())
    return exact, exact.features.square().sum(1)


def _places(query: Embedded, gallery: Embedded, norm_G: Tensor) -> Places:
    """Count, for every match, the images that stand no further back: no gallery is sorted."""
    keys_QG = _order_keys(query, gallery, norm_G)
    same_QG = query.ids[:, None] == gallery.ids
    match_QG = same_QG & (keys_QG != REMOVED)
    found_Q = match_QG.sum(1)
    matches_QM = _sorted_matches(keys_QG, match_QG, found_Q)
    slot_QG = torch.searchsorted(matches_QM, keys_QG)  # the first match no nearer than the image
    count_QM = slot_QG.new_zeros(len(found_Q), matches_QM.shape[1] + 1)
    count_QM.scatter_add_(1, slot_QG, torch.ones_like(slot_QG))
    return Places(count_QM[:, :-1].cumsum(1), found_Q)


def _order_keys(query: Embedded, gallery: Embedded, norm_G: Tensor) -> Tensor:
    """Return integers Q x G, all different in a row, in the order of the ranking.

    The high half is the distance, the low half the position in the gallery; what is left out is
    ``REMOVED``.
    """
    features_QD = query.features.double()
    distance_QG = torch.addmm(norm_G, features_QD, gallery.features.T, alpha=-2)
    distance_QG += features_QD.square().sum(1, keepdim=True)
    # Not negative, and no -0.0: then the bits are in the order of the numbers.
    bits_QG = distance_QG.clamp_(min=0.0).add_(0.0).float().view(torch.int32)
    position_G = torch.arange(len(norm_G), device=norm_G.device)
    keys_QG = (bits_QG.long() << 32).bitwise_or_(position_G)
    left_out_QG = query.ids[:, None] == gallery.ids
    left_out_QG &= query.cameras[:, None] == gallery.cameras
    return keys_QG.masked_fill_(left_out_QG, REMOVED)


def _sorted_matches(keys_QG: Tensor, match_QG: Tensor, found_Q: Tensor) -> Tensor:
    """Return the keys Q x M of every query's matches, ascending, filled up with ``REMOVED``."""
    rows, columns = match_QG.nonzero(as_tuple=True)
    starts_Q = found_Q.cumsum(0) - found_Q
    place = torch.arange(len(rows), device=rows.device) - starts_Q[rows]
    matches_QM = keys_QG.new_full((len(found_Q), max(1, int(found_Q.max()))), REMOVED)
    matches_QM[rows, place] = keys_QG[rows, columns]
    return matches_QM.sort(dim=1).values


def _average_precision(places: Places) -> Tensor:
    nth_M = torch.arange(1, places.ranks.shape[1] + 1, device=places.ranks.device)
    precision_QM = nth_M.double() / places.ranks
    precision_QM = precision_QM.where(nth_M <= places.found[:, None], 0.0)
    return precision_QM.sum(1) / places.found  # 0 / 0 = NaN without a match
