from __future__ import annotations

import pytest

from scaledrelu.bench import planning, startup, workers

pytestmark = pytest.mark.slow


def test_a_run_starts_and_its_stages_add_up():
    rows = {row.name: row.seconds for row in startup.measure_startup(rounds=1)}
    assert set(rows) == set(startup.STAGES)
    parts = sum(rows[stage] for stage in startup.STAGES[:4])
    assert parts == pytest.approx(rows[startup.STAGES[4]])
    assert rows[startup.STAGES[5]] < rows[startup.STAGES[4]]


def test_every_command_about_tables_is_counted():
    rows = list(planning.measure_planning(seeds=2))
    assert [row.name for row in rows] == [f"{c}, 26 finished runs" for c in planning.COMMANDS]
    assert all(row.seconds and row.memory_gib for row in rows)


def test_one_and_two_workers_are_counted():
    rows = list(workers.measure_workers(rounds=1, turn_seconds=0.3))
    assert [row.name for row in rows] == ["one worker", "two workers"] * 2
    assert all(row.images_per_s > 0 for row in rows)


def test_a_worker_that_dies_is_an_error_and_no_wait():
    with pytest.raises(RuntimeError, match="died"), workers.Worker("no_such_stem") as worker:
        worker.read()
