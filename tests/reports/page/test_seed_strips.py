"""Where the dots of a row lie."""

from __future__ import annotations

import re

import pytest

from scaledrelu.reports.cells import read_cell
from scaledrelu.reports.page.links import Links
from scaledrelu.reports.page.seed_strips import LEFT, RIGHT, WIDTH, Axis, axis_for, strip
from tests.helpers.table_fakes import finish, plan_of, write_table


def cells_with(tmp_path, *values):
    """One row; each value is that of a seed, None of a crash that was never judged."""
    write_table(tmp_path / "conf")
    seeds = tuple(range(len(values)))
    plan = plan_of(tmp_path, seeds=seeds)
    for run_id, value in zip(plan.cells[0].run_ids, values, strict=True):
        finish(plan, run_id, value, crash="non_finite" if value is None else None)
    plan = plan_of(tmp_path, seeds=seeds)
    return read_cell(plan, plan.cells[0]), Links(tmp_path, plan.results)


def places(drawn):
    return [
        tuple(map(float, xy)) for xy in re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', drawn)
    ]


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ((12.2, 98.6), (0, 25, 50, 75, 100)),
        ((96.4, 98.3), (96, 96.5, 97, 97.5, 98, 98.5)),
        ((0.31, 0.42), (0.3, 0.35, 0.4, 0.45)),
        ((50.0,), (40, 60)),
        ((0.0,), (0, 0.25)),
    ],
)
def test_an_axis_has_round_ticks_and_holds_every_value(tmp_path, values, ticks):
    axis = axis_for([cells_with(tmp_path, *values)[0]])
    assert axis.ticks == pytest.approx(ticks)
    assert axis.ticks[0] <= min(values) <= max(values) <= axis.ticks[-1]


def test_a_dot_lies_where_its_value_is(tmp_path):
    cell, links = cells_with(tmp_path, 0.0, 25.0, 100.0)
    drawn = places(strip(cell, Axis((0, 50, 100)), links))
    width = WIDTH - LEFT - RIGHT
    assert [x for x, _ in drawn] == pytest.approx([LEFT, LEFT + width / 4, LEFT + width], abs=0.1)


def test_dots_of_one_value_do_not_cover_each_other(tmp_path):
    cell, links = cells_with(tmp_path, 50.0, 50.0, 50.0, 50.0, 50.0)
    drawn = places(strip(cell, axis_for([cell]), links))
    assert len(set(drawn)) == 5
    assert len({x for x, _ in drawn}) == 1


def test_a_crash_without_a_value_lies_outside_of_the_axis(tmp_path):
    cell, links = cells_with(tmp_path, 50.0, None)
    drawn = strip(cell, axis_for([cell]), links)
    (start,) = re.findall(r'd="M([\d.]+) ', drawn)
    assert float(start) + 7 < LEFT
    assert len(places(drawn)) == 1
    assert axis_for([cells_with(tmp_path / "b", None)[0]]) is None
