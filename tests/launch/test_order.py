"""What is asked for first is trained first, with all that it starts from."""

from __future__ import annotations

from pathlib import Path

import pytest

from scaledrelu.config.places import CONF_DIR
from scaledrelu.launch.sweep import in_order, runs_to_train
from scaledrelu.tables.composer import Composer
from scaledrelu.tables.plan import Plan
from scaledrelu.tables.planner import Planner
from scaledrelu.tables.spec import load_table


@pytest.fixture(scope="module")
def plan(composed_before: Path) -> Plan:
    """Table 2 at mini, nothing trained."""
    composer = Composer(composed_before)
    tables = [load_table("table2", CONF_DIR)]
    return Planner("mini", results=composed_before, compose=composer).plan(tables, [0])


@pytest.mark.parametrize(
    ("asked", "ahead"),
    [("volo", {"volo"}), ("linear_probe", {"linear_probe", "dino"}), ("deit", {"deit"})],
)
def test_runs_that_are_asked_for_come_first_with_what_they_start_from(
    plan: Plan, asked: str, ahead: set[str]
) -> None:
    todo = runs_to_train(plan, "none")
    ordered = in_order(plan, todo, [f"method={asked}"])
    assert sorted(run.run_id for run in ordered) == sorted(run.run_id for run in todo)
    methods = [run.config.method for run in ordered]
    count = sum(method in ahead for method in methods)
    assert count > 1
    assert set(methods[:count]) == ahead
    place = {run.run_id: i for i, run in enumerate(ordered)}
    for run in ordered:
        assert run.upstream is None or place[run.upstream] < place[run.run_id]
        if run.artifact and (teacher := plan.artifacts[run.artifact].artifact.teacher_id):
            assert place[teacher] < place[run.run_id]


def test_without_a_wish_the_order_of_the_plan_stays(plan: Plan) -> None:
    todo = runs_to_train(plan, "none")
    assert in_order(plan, todo, []) == sorted(todo, key=lambda run: run.wave)
