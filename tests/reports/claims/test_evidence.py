"""Which images a record says were right, and which two runs were judged on the same ones."""

import numpy as np
import pytest

from scaledrelu.reports.claims.evidence import right_images, share_images
from tests.helpers.claim_fakes import write_conf
from tests.helpers.table_fakes import finish, plan_of


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
