"""Which images a record says were right; paired tests against closed forms, scipy and chance."""

import math

import numpy as np
import pytest
from scipy.stats import binomtest

from scaledrelu.reports.claims.decision import Interval, Verdict, is_above
from scaledrelu.reports.claims.per_image import (
    mcnemar,
    over_images,
    right_images,
    share_images,
    stacked,
    widened,
)
from scaledrelu.reports.statistics import estimate
from tests.helpers.claim_fakes import write_conf
from tests.helpers.table_fakes import finish, plan_of


@pytest.mark.parametrize("better", [0, 1, 3, 10, 150])
@pytest.mark.parametrize("worse", [0, 1, 4, 11, 200])
def test_the_exact_test_is_scipys_test_of_a_fair_coin(better, worse):
    total = better + worse
    one = np.arange(total) < better
    expected = binomtest(better, total).pvalue if total else 1.0
    assert mcnemar(0, one, ~one).p == pytest.approx(expected, abs=1e-12)


def test_mcnemar_counts_only_images_on_which_the_runs_differ():
    one = np.array([1, 1, 1, 0, 0, 1], bool)
    other = np.array([1, 0, 0, 0, 1, 0], bool)
    found = mcnemar(3, one, other)
    assert (found.seed, found.only_one, found.only_other) == (3, 3, 1)
    assert found.p == pytest.approx(binomtest(3, 4).pvalue)


@pytest.mark.parametrize(("better", "worse", "n"), [(34, 12, 360), (5, 0, 360), (0, 0, 120)])
def test_over_images_is_the_interval_of_bonett_and_price_for_one_seed(better, worse, n):
    difference = np.concatenate([np.ones(better), -np.ones(worse), np.zeros(n - better - worse)])
    p12, p21 = (better + 1) / (n + 2), (worse + 1) / (n + 2)
    expected = 1.959964 * math.sqrt((p12 + p21 - (p12 - p21) ** 2) / (n + 2))
    assert over_images(difference[None]) == pytest.approx(100 * expected, rel=1e-6)


def test_seeds_that_err_on_the_same_images_tell_no_more_about_images_than_one():
    difference = np.zeros((1, 360))
    difference[0, :20] = 1
    assert over_images(np.repeat(difference, 5, axis=0)) == pytest.approx(over_images(difference))


def test_swapping_the_rows_turns_the_sign_and_keeps_the_width():
    random = np.random.default_rng(0)
    pairs = [(random.random(200) < 0.7, random.random(200) < 0.5) for _ in range(3)]
    swapped = [(b, a) for a, b in pairs]
    one, other = stacked(pairs), stacked(swapped)
    assert (one == -other).all()
    assert over_images(one) == pytest.approx(over_images(other))


def test_one_seed_has_no_interval_and_images_widen_that_of_several():
    assert widened(None, 1.0) is None
    assert widened(4.3, None) == pytest.approx(4.3)
    assert widened(4.3, 2.0) == pytest.approx(math.hypot(4.3, 2.0))


@pytest.mark.parametrize("seeds", [2, 5])
def test_equal_rows_are_seldom_told_apart(seeds):
    """Seeds, images and their interplay are random; nothing differs but by chance."""
    random, wrong, times = np.random.default_rng(seeds), 0, 400
    for _ in range(times):
        hard = random.normal(0, 1, 150)
        rows = []
        for _ in range(2):
            level = 0.5 + random.normal(0, 0.3, (seeds, 1)) + random.normal(0, 0.5, 150)
            rows.append(hard + level + random.normal(0, 1, (seeds, 150)) > 0)
        pairs = list(zip(*rows, strict=True))
        found = stacked(pairs)
        size = estimate(list(100 * found.mean(axis=1)))
        half = widened(size.half, over_images(found))
        verdict = is_above(Interval.around(size.mean, half), 0)
        wrong += verdict is not Verdict.UNDECIDED
    assert wrong / times <= 0.05


@pytest.fixture
def plan(tmp_path):
    write_conf(tmp_path)
    return plan_of(tmp_path)


def stored(plan, **arrays):
    """Return the first run of a plan, finished, with some evidence."""
    run = next(iter(plan.runs.values()))
    np.savez(finish(plan, run.run_id, 50.0) / "evidence.npz", **arrays)
    return run


def test_rank_1_is_right_where_the_first_match_comes_first_among_queries_with_one(plan):
    run = stored(plan, **{"val.first_hit": np.array([1, 3, 0, 1, 2, 0])})
    found = right_images(plan.results, run, "val/rank1", 50.0)
    assert found.tolist() == [True, False, True, False]


def test_a_mean_over_queries_is_no_share_of_them(plan):
    run = stored(plan, **{"val.first_hit": np.array([1, 2]), "val.correct": np.array([1, 0])})
    assert right_images(plan.results, run, "val/map", 50.0) is None


def test_images_of_another_epoch_than_the_value_are_left_out(plan):
    run = stored(plan, **{"val.correct": np.array([True, True, False, False])})
    assert right_images(plan.results, run, "val/top1", 50.0).sum() == 2
    assert right_images(plan.results, run, "val/top1", 75.0) is None


@pytest.mark.parametrize(
    ("change", "same"),
    [
        (("lr.base=2e-3",), True),
        (("data.fraction=0.5",), True),  # of the training images
        (("data.name=other",), False),
        (("data.digest=abc",), False),
        (("data.image_size=32",), False),
    ],
)
def test_runs_share_images_where_their_validation_data_are_the_same(tmp_path, plan, change, same):
    one = next(iter(plan.runs.values()))
    other = next(iter(plan_of(tmp_path, overrides=change).runs.values()))
    assert share_images(one, other) is same
