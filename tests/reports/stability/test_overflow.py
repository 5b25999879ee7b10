"""Overflow of fp16 and crashes, counted over fabricated runs."""

from __future__ import annotations

import csv
import json
import math

import numpy as np
import pytest
from scipy import stats

from scaledrelu.reports.stability.files import write_stability
from scaledrelu.reports.stability.overflow import EITHER, LIMIT, predict, watch_runs
from tests.helpers.table_fakes import finish, plan_of, write_grid

OVER, UNDER = 2 * LIMIT, LIMIT / 2


def fabricate(
    plan, name, *, activation, score, crash=None, judged=1.0, series=None, dead_from=None
):
    """Leave a run with these maxima; series: steps done -> (activation, score)."""
    folder = finish(plan, name, crash=crash)
    result = json.loads((folder / "result.json").read_text())
    stretch = {"first_step": dead_from, "last_step": 99, "left": False}
    result["judgement"] |= {"last_mean": judged, "dead_stretches": [stretch] if dead_from else []}
    if crash:
        result["crash"]["step"] = 99
    (folder / "result.json").write_text(json.dumps(result))
    maxima = {"max.activation": activation, "max.score": score}
    np.savez(folder / "evidence.npz", **{k: v for k, v in maxima.items() if v is not None})
    rows = [{"epoch": 0, "step": 5, "train/loss": 1.0}]
    for step, (one, other) in (series or {}).items():
        largest = {"largest/activation": one, "largest/score": other}
        rows.append({"epoch": 0, "step": step, **largest})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def watched(tmp_path):
    """A function that fabricates runs and reads them back."""

    def make(*runs):
        write_grid(tmp_path / "conf", stems=["conv"])
        plan = plan_of(tmp_path, "rates", seeds=tuple(range(4)))
        for name, fields in zip(plan.runs, runs, strict=False):
            fabricate(plan, name, **fields)
        plan = plan_of(tmp_path, "rates", seeds=tuple(range(4)))
        return watch_runs(plan, plan.tables[0])

    return make


def test_the_count_is_overflow_by_crash_beside_the_better_constant_guess(watched) -> None:
    runs = watched(
        {"activation": 1, "score": OVER, "crash": "collapsed"},
        {"activation": OVER, "score": OVER},
        {"activation": OVER, "score": 1},
        {"activation": 1, "score": UNDER, "crash": "collapsed"},
        {"activation": 1, "score": LIMIT},  # the largest number that fp16 has
        {"activation": 1, "score": 1},
    )
    score, activation, either = (predict(runs, k) for k in ("score", "activation", EITHER))
    counts = [
        (p.over_crash, p.over_held, p.under_crash, p.under_held)
        for p in (score, activation, either)
    ]
    assert counts == [(1, 1, 1, 3), (0, 2, 2, 2), (1, 2, 1, 2)]
    assert (score.right, score.constant, score.total) == (4, 4, 6)
    assert either.tau is None


def test_a_constant_guess_may_also_be_that_all_crash(watched) -> None:
    runs = watched(*[{"activation": 1, "score": OVER, "crash": "collapsed"}] * 3)
    assert predict(runs, "score").constant == 3


def test_the_order_is_kendalls_of_the_logarithm_and_a_lost_loss_is_the_largest(watched) -> None:
    sizes, judged = [3e1, 5e6, 2e2, 8e3, 1e7], [0.5, 2.4, 0.9, 0.7, None]
    runs = watched(
        *(
            {
                "activation": 1,
                "score": size,
                "judged": loss,
                "crash": None if loss else "non_finite",
            }
            for size, loss in zip(sizes, judged, strict=True)
        )
    )
    found = predict(runs, "score")
    expected = stats.kendalltau(np.log(sizes), [loss or 1e9 for loss in judged]).statistic
    assert (found.tau, found.num_ranked) == (pytest.approx(expected), 5)


def test_a_value_that_was_no_number_is_an_overflow(watched) -> None:
    run = watched({"activation": math.nan, "score": 1.0, "series": {5: ("nan", 1.0)}})[0]
    assert run.is_over("activation")
    assert not run.is_over("score")
    assert run.first_over(EITHER) == 5


def test_when_it_overflowed_is_the_first_evaluation_that_saw_it(watched) -> None:
    dies = {"activation": 1, "score": OVER, "crash": "collapsed", "dead_from": 50}
    runs = watched(
        {**dies, "series": {20: (1, UNDER), 40: (1, OVER), 60: (1, UNDER)}},
        {**dies, "series": {40: (1, UNDER), 60: (1, OVER)}},  # seen when it was dead already
        dies,  # a record of an older version
    )
    assert [run.first_over("score") for run in runs] == [40, 60, None]
    assert [run.died_at for run in runs] == [50, 50, 50]
    assert [run.has_series for run in runs] == [True, True, False]
    found = predict(runs, "score")
    assert (found.before, found.timed, found.over_crash) == (1, 2, 3)


def test_a_crash_before_any_evaluation_is_not_recorded_and_not_counted(watched) -> None:
    runs = watched(
        {"activation": None, "score": None, "crash": "non_finite"},
        {"activation": 1, "score": 1},
    )
    assert runs[0].is_over(EITHER) is None
    assert predict(runs, EITHER).total == 1
    assert predict(runs[:1], EITHER) is None


def harm(tmp_path, run, *files):
    """Damage files of a record and read all runs again."""
    for name in files:
        (tmp_path / "results" / "runs" / run.run.run_id / name).write_bytes(b"{")
    plan = plan_of(tmp_path, "rates", seeds=tuple(range(4)))
    return plan, watch_runs(plan, plan.tables[0])


def test_damaged_records_cost_their_own_values_only(watched, tmp_path) -> None:
    runs = watched({"activation": OVER, "score": 1}, {"activation": 1, "score": 1})
    _, again = harm(tmp_path, runs[0], "evidence.npz", "metrics.jsonl")
    assert [run.is_over(EITHER) for run in again] == [None, False]


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("metrics.jsonl", "metrics.jsonl damaged in line 1 ("),
        ("evidence.npz", "evidence.npz damaged"),
    ],
)
def test_a_damaged_record_is_called_damaged_and_not_unrecorded(watched, tmp_path, name, said):
    held, crashed = {"series": {5: (1, 1)}}, {"crash": "non_finite"}
    empty = {"activation": None, "score": None}
    runs = watched({**empty, **held}, {**empty, **crashed})
    before = page_of(plan_of(tmp_path, "rates", seeds=tuple(range(4))))
    assert "damaged files" not in before
    assert "since they crashed before an evaluation: 1." in before
    plan, _ = harm(tmp_path, runs[1], name)
    page = page_of(plan)
    assert f"- `{runs[1].run.run_id}`: {said}" in page
    assert "crashed before an evaluation" not in page
    place = tmp_path / "results" / "mini" / "stability" / "rates_runs.csv"
    lines = {line["run_id"]: line for line in csv.DictReader(place.read_text().splitlines())}
    assert lines[runs[0].run.run_id]["overflow"] == "no"
    own = lines[runs[1].run.run_id]
    assert (own["overflow"], own["overflow_seen_at"]) == ("damaged", "damaged")


def page_of(plan):
    (page, *_) = write_stability(plan, plan.tables[0])
    return page.read_text()
