"""How far a table agrees with the paper, counted by hand; differences that are and are not one."""

import pytest

from scaledrelu.reports.agreement import crash_count, orders
from scaledrelu.reports.cells import read_cell
from scaledrelu.reports.comparison import against_base, base_of, share_of
from scaledrelu.reports.report import write_reports
from tests.helpers.table_fakes import finish, plan_of, write_table


def table_with(tmp_path, papers, *, misprints=(), columns=None, baseline=None):
    """One block with one row per printed value (or per dictionary of values)."""
    rows = [
        {
            "run": [f"lr.base={number}e-3"],
            "paper": value if isinstance(value, dict) else {"top1": value},
            "misprints": ["top1"] if number in misprints else [],
            "baseline": number == baseline,
        }
        for number, value in enumerate(papers, 1)
    ]
    fields = {"columns": columns} if columns else {}
    write_table(tmp_path / "conf", blocks=[{"label": "b", "rows": rows}], **fields)


def values_of(tmp_path, ours, *, seeds=(0,), more=None):
    """Finish rows with one number per seed (``-x``: crashed at x; None: not at all)."""
    plan = plan_of(tmp_path, seeds=seeds)
    rows = {cell.row.number: cell.run_ids for cell in plan.cells}
    for number, found in enumerate(ours, 1):
        values = found if isinstance(found, tuple) else (found,)
        for name, value in zip(rows[number], values, strict=True):
            if value is not None:
                crash = "collapsed" if value < 0 else None
                finish(plan, name, abs(value), crash=crash, more=more)
    plan = plan_of(tmp_path, seeds=seeds)
    return plan, [read_cell(plan, cell) for cell in plan.cells]


def counts(count):
    return count.both, count.only_ours, count.only_paper, count.neither


def test_crashes_are_counted_beside_the_guess_that_nothing_crashes(tmp_path):
    table_with(tmp_path, ["crash", "crash", 80.0, 81.0, 82.0, 83.0], misprints=[6])
    plan, values = values_of(tmp_path, [-10, 90, -20, 91, None, -30])
    count = crash_count(values)
    assert counts(count) == (1, 1, 1, 1)  # the row without a run and the misprint are left out
    assert (count.alike, count.total, count.never) == (2, 4, 2)
    text = write_reports(plan)[1].read_text()
    assert "| crash here | 1 | 1 |\n| no crash here | 1 | 1 |" in text
    assert (
        'As in the paper: 2 of 4 rows. The constant guess "never a crash" would score 2 of 4. '
        "Crashes of the paper that crash here too: 1 of 2." in text
    )


def test_a_row_is_a_crash_if_more_than_half_of_its_finished_seeds_crashed(tmp_path):
    table_with(tmp_path, ["crash", "crash", "crash"])
    ours = [(-1, -1, 9), (-1, 9, 9), (-1, 9, None)]
    _, values = values_of(tmp_path, ours, seeds=(0, 1, 2))
    assert counts(crash_count(values)) == (1, 0, 2, 0)


def test_a_share_is_one_of_images_or_of_queries_and_a_mean_is_none(tmp_path):
    judged_on = {"metric": "val/valid_queries", "name": "queries with a match"}
    columns = {
        "lr": {"from": "lr.base"},
        "top1": {"metric": "val/top1"},
        "map": {"metric": "val/map", "judged_on": judged_on},
        "r1": {"metric": "val/rank1", "judged_on": judged_on},
    }
    table_with(tmp_path, [{"top1": 80.0, "map": 50.0, "r1": 60.0}], columns=columns)
    more = {"val/map": 40.0, "val/rank1": 50.0, "val/valid_queries": 120.0}
    _, values = values_of(tmp_path, [90], more=more)
    assert [share_of(value) for value in values] == [360, None, 120]


def test_metrics_of_the_same_runs_count_once_and_a_misprint_does_not_hide_the_row(tmp_path):
    columns = {
        "lr": {"from": "lr.base"},
        "top1": {"metric": "val/top1"},
        "top5": {"metric": "val/top5"},
    }
    papers = [{"top1": 80.0, "top5": 95.0}, {"top1": 36.0, "top5": 96.0}]
    table_with(tmp_path, papers, misprints=[2], columns=columns)
    _, values = values_of(tmp_path, [70.0, 71.0], more={"val/top5": 90.0})
    assert counts(crash_count(values)) == (0, 0, 0, 2)


def test_order_is_told_for_rows_that_crash_on_neither_side(tmp_path):
    # pairs of (ours, paper): (70, 80) (75, 82) (72, 83): 2 agree, 1 does not: tau 1/3
    table_with(tmp_path, [80.0, 82.0, 83.0, "crash", 84.0, 85.0], misprints=[6])
    plan, values = values_of(tmp_path, [70, 75, 72, 99, -98, 1])
    (order,) = orders(plan.tables[0], values)
    assert (order.block, order.num_rows) == ("b", 3)
    assert order.tau == pytest.approx(1 / 3)
    text = write_reports(plan)[1].read_text()
    assert "| b | Top-1 | +0.33 | 0 | 3 |" in text


def test_order_of_two_rows_is_not_told(tmp_path):
    table_with(tmp_path, [80.0, 82.0, "crash"])
    plan, values = values_of(tmp_path, [70, 75, 72])
    assert orders(plan.tables[0], values) == []
    assert "tau" not in write_reports(plan)[1].read_text()


def difference(tmp_path, ours, *, seeds=(0, 1, 2)):
    table_with(tmp_path, [80.0, 82.0], baseline=1)
    plan, values = values_of(tmp_path, ours, seeds=seeds)
    found = against_base(values[1], base_of(values[1], values))
    return found, write_reports(plan)[1].read_text()


def test_differences_to_the_base_pair_the_seeds(tmp_path):
    # seed by seed +20, +22, +24: mean 22, half 4.302653 x 2 / sqrt(3) = 4.97
    found, text = difference(tmp_path, [(40, 60, 70), (60, 82, 94)])
    assert (found.size.mean, found.size.n, found.is_decided) == (22.0, 3, True)
    assert "| +2.0 | +22.0 +/- 5.0 |" in text


def test_a_seed_that_one_row_lacks_is_in_no_difference(tmp_path):
    found, text = difference(tmp_path, [(40, None, None), (60, 99, 99)])
    assert (found.size.mean, found.size.n, found.is_decided) == (20.0, 1, False)
    assert "| +2.0 | +20.0 (1 of 3 seeds, undecided) |" in text


def test_a_crashed_seed_is_in_the_difference_with_what_it_ended_at(tmp_path):
    found, _ = difference(tmp_path, [(40, 60, -10), (60, 82, 34)])
    assert found.size.mean == pytest.approx(22.0)


@pytest.mark.parametrize(
    "ours",
    [
        [(40, 60, 70), (60, 50, 90)],  # the interval over seeds contains zero
        [(70, 71, 72), (71, 72, 73.01)],  # clear over seeds, but 3 or 4 of 360 images
    ],
)
def test_a_difference_that_seeds_or_images_cannot_resolve_is_undecided(tmp_path, ours):
    found, text = difference(tmp_path, ours)
    assert not found.is_decided
    assert "(undecided) |" in text
    assert "undecided: the interval over seeds contains zero" in text


def test_one_seed_decides_nothing_and_the_text_says_so_once(tmp_path):
    found, text = difference(tmp_path, [40, 90], seeds=(0,))
    assert not found.is_decided
    assert "| +50.0 |" in text
    assert "no difference between rows is decided" in text
