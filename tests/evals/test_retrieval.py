"""mAP and CMC against a slow, obvious second implementation, known cases and several processes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from scaledrelu.errors import DataError
from scaledrelu.evals.ranking import Embedded, chunk_for, first_places, rank_gallery
from scaledrelu.evals.retrieval import PICTURED, RetrievalMap, spread_evenly
from tests.helpers.eval_shards import Shard, split_shards


class Set(Embedded):
    """Images whose pixels are their features."""

    def shards(self, rank: int = 0, world: int = 1, batch: int = 7) -> list[Shard]:
        return split_shards(self.features, self.ids, rank, world, batch)


def people(count: int, seed: int, *, persons: int, distractors: float = 0.0) -> Set:
    """Whole-number features: distances are exact, and many are equal."""
    draw = torch.Generator().manual_seed(seed)
    ids = torch.randint(1, persons + 1, (count,), generator=draw)
    ids[torch.rand(count, generator=draw) < distractors] = 0
    centres = torch.randint(-2, 3, (persons + 1, 3), generator=torch.Generator().manual_seed(5))
    noise = torch.randint(-1, 2, (count, 3), generator=draw)
    return Set((centres[ids] + noise).float(), ids, torch.randint(1, 4, (count,), generator=draw))


def slow(query: Set, gallery: Set) -> list[tuple[float, int] | None]:
    """Per query: average precision and place of the first match, by the words of the protocol."""
    results: list[tuple[float, int] | None] = []
    for q in range(len(query.ids)):
        person, camera = int(query.ids[q]), int(query.cameras[q])
        order = sorted(
            range(len(gallery.ids)),
            key=lambda g: (((query.features[q] - gallery.features[g]) ** 2).sum().item(), g),
        )
        kept = [
            g for g in order if (int(gallery.ids[g]), int(gallery.cameras[g])) != (person, camera)
        ]
        right = [int(gallery.ids[g]) == person for g in kept]
        precisions = [sum(right[: i + 1]) / (i + 1) for i in range(len(kept)) if right[i]]
        if precisions:
            results.append((sum(precisions) / len(precisions), right.index(True) + 1))
        else:
            results.append(None)
    return results


@pytest.mark.parametrize("chunk", [1, 7, 1000])
@pytest.mark.parametrize(
    ("persons", "size", "distractors"),
    [(4, 60, 0.0), (6, 80, 0.4), (30, 40, 0.2), (60, 70, 0.0)],
    ids=["many-matches", "distractors", "few-matches", "queries-without-a-match"],
)
def test_it_agrees_with_sorting_and_counting(persons, size, distractors, chunk) -> None:
    query = people(25, 1, persons=persons)
    gallery = people(size, 2, persons=persons, distractors=distractors)
    expected = slow(query, gallery)
    found = rank_gallery(query, gallery, chunk=chunk)
    valid = [result for result in expected if result]
    assert found.valid_queries == len(valid)
    assert found.map == pytest.approx(np.mean([ap for ap, _ in valid]), rel=1e-12)
    for k in range(1, 51):
        share = np.mean([first <= k for _, first in valid])
        assert float(found.cmc[k - 1]) == pytest.approx(share, rel=1e-12)
    assert found.first_hit.tolist() == [result[1] if result else 0 for result in expected]


def test_the_random_cases_hold_what_the_protocol_is_about() -> None:
    query, gallery = people(25, 1, persons=60), people(70, 2, persons=60)
    assert 0 < sum(result is None for result in slow(query, gallery)) < 25
    same = query.ids[:, None] == gallery.ids
    assert bool((same & (query.cameras[:, None] == gallery.cameras)).any())
    distance = torch.cdist(query.features, gallery.features)
    assert all(len(row.unique()) < len(row) for row in distance)
    assert bool((people(80, 2, persons=6, distractors=0.4).ids == 0).any())


def case(gallery: list[tuple[float, int, int]], *, person: int = 1, camera: int = 1):
    """One query at 0; the gallery is (distance, person, camera)."""
    distances, ids, cameras = zip(*gallery, strict=True)
    return (
        Embedded(torch.tensor([[0.0]]), torch.tensor([person]), torch.tensor([camera])),
        Embedded(
            torch.tensor(distances).float()[:, None], torch.tensor(ids), torch.tensor(cameras)
        ),
    )


def test_average_precision_is_the_plain_one_and_not_the_area_by_trapezoids() -> None:
    found = rank_gallery(*case([(1, 1, 2), (2, 9, 2), (3, 9, 2), (4, 1, 2)]), chunk=1)
    assert found.map == pytest.approx((1 / 1 + 2 / 4) / 2)  # trapezoids: 0.708
    assert found.cmc.tolist() == [1.0] * 50


def test_the_own_camera_s_images_are_left_out_for_the_query_s_person_only() -> None:
    found = rank_gallery(*case([(1, 1, 1), (2, 9, 1), (3, 1, 2), (4, 1, 1), (5, 1, 3)]), chunk=1)
    assert found.first_hit.tolist() == [2]
    assert found.map == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert found.cmc[:2].tolist() == [0.0, 1.0]


@pytest.mark.parametrize(("right_first", "hit"), [(True, 1), (False, 2)])
def test_equal_distances_keep_the_order_of_the_gallery(right_first: bool, hit: int) -> None:
    images = [(1.0, 1, 2), (1.0, 9, 2)]
    found = rank_gallery(*case(images if right_first else images[::-1]), chunk=1)
    assert found.first_hit.tolist() == [hit]


def test_distractors_count_as_wrong_images() -> None:
    assert rank_gallery(*case([(1, 0, 2), (2, 1, 2)]), chunk=1).map == pytest.approx(0.5)


def test_features_need_no_unit_length_and_may_lie_far_out() -> None:
    query, gallery = people(25, 1, persons=6), people(80, 2, persons=6)
    shift = torch.tensor([100.0, -50.0, 7.0])  # squares stay whole numbers below 2**24
    moved = [Set(part.features + shift, part.ids, part.cameras) for part in (query, gallery)]
    here = rank_gallery(query, gallery, chunk=10)
    there = rank_gallery(*moved, chunk=10)
    assert there.map == here.map
    assert torch.equal(there.first_hit, here.first_hit)


@pytest.mark.parametrize("spread", [1e-1, 1e-3, 1e-5])
def test_features_that_are_all_but_equal_are_told_apart(spread: float) -> None:
    def near(count: int, seed: int) -> Set:
        draw = torch.Generator().manual_seed(seed)
        centre = torch.randn(64, generator=torch.Generator().manual_seed(9))
        noise = spread * torch.randn(count, 64, generator=draw)
        found = people(count, seed, persons=6)
        unit = nn.functional.normalize(centre + noise)
        return Set(unit, found.ids, found.cameras)

    query, gallery = near(30, 1), near(200, 2)
    exact = [Set(s.features.double(), s.ids, s.cameras) for s in (query, gallery)]
    expected = slow(*exact)
    found = rank_gallery(query, gallery, chunk=7)
    assert found.first_hit.tolist() == [result[1] if result else 0 for result in expected]
    valid = [ap for ap, _ in filter(None, expected)]
    assert found.map == pytest.approx(np.mean(valid), rel=1e-12)


def test_a_gallery_without_any_match_is_refused_in_one_line() -> None:
    with pytest.raises(DataError, match=r"none of the 1 queries .* 2 gallery images") as caught:
        rank_gallery(*case([(1, 9, 2), (2, 1, 1)]), chunk=1)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_broken_features_are_not_a_number_and_not_an_error(value: float) -> None:
    found = rank_gallery(*case([(1.0, 1, 2), (value, 9, 2)]), chunk=1)
    assert math.isnan(found.map)
    assert bool(found.cmc.isnan().all())
    assert found.first_hit.tolist() == [0]
    assert found.valid_queries == 1


def test_the_first_places_are_those_that_are_judged() -> None:
    query, gallery = people(25, 1, persons=6), people(80, 2, persons=6, distractors=0.4)
    judged = rank_gallery(query, gallery, chunk=25)
    first = first_places(query, gallery, count=80)
    for q, row in enumerate(first.tolist()):
        kept = [g for g in row if g >= 0]
        assert row == kept + [-1] * (80 - len(kept))
        gap = ((query.features[q] - gallery.features[kept]) ** 2).sum(1).tolist()
        assert list(zip(gap, kept, strict=True)) == sorted(zip(gap, kept, strict=True))
        own = (gallery.ids == query.ids[q]) & (gallery.cameras == query.cameras[q])
        assert sorted(kept) == (~own).nonzero().flatten().tolist()
        right = (gallery.ids[kept] == query.ids[q]).tolist()
        assert judged.first_hit[q] == (right.index(True) + 1 if True in right else 0)


def test_first_places_end_with_the_gallery() -> None:
    first = first_places(*case([(2, 9, 2), (1, 1, 2), (0, 1, 1)]), count=4)
    assert first.tolist() == [[1, 0, -1, -1]]


def evaluate(query, gallery, sets: tuple[Set, Set], reduce_sum=lambda x: x):
    evaluator = RetrievalMap(
        query=lambda: query,
        gallery=lambda: gallery,
        query_ids=sets[0].ids.numpy(),
        query_cameras=sets[0].cameras.numpy(),
        gallery_ids=sets[1].ids.numpy(),
        gallery_cameras=sets[1].cameras.numpy(),
        reduce_sum=reduce_sum,
    )
    return evaluator(nn.Identity())


def noisy(count: int, seed: int) -> Set:
    found = people(count, seed, persons=9)
    noise = 0.3 * torch.rand(count, 3, generator=torch.Generator().manual_seed(seed))
    return Set(found.features + noise, found.ids, found.cameras)


def test_the_evaluator_judges_directions_in_percent() -> None:
    query, gallery = noisy(30, 1), noisy(90, 2)
    unit = [Set(nn.functional.normalize(s.features), s.ids, s.cameras) for s in (query, gallery)]
    results = [result for result in slow(*unit) if result]
    metrics, arrays = evaluate(query.shards(), gallery.shards(batch=11), (query, gallery))
    assert metrics == pytest.approx(
        {
            "val/map": 100 * np.mean([ap for ap, _ in results]),
            **{f"val/rank{k}": 100 * np.mean([f <= k for _, f in results]) for k in (1, 5, 10)},
            "val/valid_queries": len(results),
        }
    )
    assert RetrievalMap.headline in metrics
    assert arrays["val/first_hit"].tolist() == [r[1] if r else 0 for r in slow(*unit)]


def test_the_pictured_queries_come_with_their_own_first_places() -> None:
    query, gallery = noisy(30, 1), noisy(90, 2)
    _, arrays = evaluate(query.shards(), gallery.shards(), (query, gallery))
    pictured, first = arrays["val/pictured"], arrays["val/first_places"]
    assert first.shape == (PICTURED, 10)
    for q, row in zip(pictured.tolist(), first, strict=True):
        right = (gallery.ids[row] == query.ids[q]).tolist()
        hit = int(arrays["val/first_hit"][q])
        assert hit == (right.index(True) + 1 if True in right else hit)
        assert any(right) == (1 <= hit <= 10)


@pytest.mark.parametrize(("total", "count", "expected"), [(10, 3, [0, 3, 6]), (2, 5, [0, 1])])
def test_pictured_queries_are_spread_over_all(total, count, expected) -> None:
    assert spread_evenly(total, count).tolist() == expected


def test_three_processes_find_what_one_finds() -> None:
    sets = noisy(30, 1), noisy(90, 2)
    whole = evaluate(*(part.shards() for part in sets), sets)
    spoken: list[list[Tensor]] = [[] for _ in range(3)]
    for round_ in range(4):  # features and counts of two sets
        totals = [sum(parts) for parts in zip(*spoken, strict=True)]
        spoken = [[] for _ in range(3)]
        for rank in range(3):
            with pytest.raises(LookupError):
                evaluate(*_shards(sets, rank), sets, _speak(spoken[rank], totals))
        assert len(spoken[0]) == round_ + 1
    totals = [sum(parts) for parts in zip(*spoken, strict=True)]
    for rank in range(3):
        metrics, arrays = evaluate(*_shards(sets, rank), sets, _speak([], totals))
        assert metrics == whole[0]
        assert all(torch.equal(arrays[name], whole[1][name]) for name in arrays)


def _shards(sets: tuple[Set, Set], rank: int) -> list[list[Shard]]:
    return [part.shards(rank, 3) for part in sets]


def _speak(said: list[Tensor], totals: list[Tensor]):
    def reduce_sum(value: Tensor) -> Tensor:
        said.append(value.clone())
        if len(said) > len(totals):
            raise LookupError
        return totals[len(said) - 1].clone()

    return reduce_sum


@pytest.mark.parametrize("name", ["query", "gallery"])
def test_a_padded_shard_is_an_error_not_a_wrong_number(name: str) -> None:
    sets = {"query": noisy(30, 1), "gallery": noisy(90, 2)}
    shards = {key: part.shards() for key, part in sets.items()}
    shards[name].append(shards[name][0])
    with pytest.raises(RuntimeError, match=f"7 of .* {name} images were not seen exactly once"):
        evaluate(*shards.values(), tuple(sets.values()))


def test_blocks_shrink_with_the_gallery_and_never_vanish() -> None:
    assert chunk_for(82_161) * 82_161 <= 2**22
    assert chunk_for(2**40) == 1


def test_the_speed_script_reports_what_it_ranked(capsys: pytest.CaptureFixture[str]) -> None:
    from scripts.bench_retrieval import main, parse

    main(
        parse(
            [
                "--query",
                "30",
                "--gallery",
                "200",
                "--persons",
                "10",
                "--cameras",
                "3",
                "--features",
                "8",
            ]
        )
    )
    line = capsys.readouterr().out
    assert line.startswith("30 x 200, 8 features, cpu, ")
    assert "30 valid queries" in line
