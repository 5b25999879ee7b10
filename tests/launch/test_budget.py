"""A sweep with a time limit: what it starts, what it leaves out, and how it ends."""

from __future__ import annotations

import re
import time

import pytest

from scaledrelu.engine.saved import write_saved
from scaledrelu.errors import ConfigError
from scaledrelu.launch import budget as module
from scaledrelu.launch import estimate
from scaledrelu.launch.budget import Budget
from scaledrelu.launch.estimate import Estimator
from scaledrelu.launch.executor import Event, What
from scaledrelu.runs.record import run_directory
from tests.helpers.sandboxes import TABLE as TABLE
from tests.helpers.table_fakes import finish, plan_of, write_table


@pytest.fixture
def nothing_known(monkeypatch, tmp_path):
    monkeypatch.setattr(estimate, "PUBLISHED", tmp_path / "none")
    monkeypatch.setattr(module, "START_S", 1.0)


def plan_of_seeds(tmp_path, count):
    write_table(tmp_path / "conf")
    return plan_of(tmp_path, seeds=range(count))


def batches_of(plan, seconds, *, n_jobs=2, took=None, only=None):
    """Return what a budget lets start together, when every run takes so many seconds."""
    runs = {name: plan.runs[name] for name in only or plan.runs}
    known = Estimator(plan.results, plan.runs)
    limited = Budget(seconds, plan, runs.values(), started=time.monotonic(), estimate=known)
    waiting, found = list(runs), []
    while waiting:
        batch = []
        for name in waiting:
            if len(batch) < n_jobs and limited.admits(name, batch):
                batch.append(name)
                limited.see(Event(name, What.STARTED))
        if not batch:
            break
        found.append([list(runs).index(name) for name in batch])
        for name in batch:
            if took:
                finish(plan, name, seconds=took)
            limited.see(Event(name, What.DONE))
            waiting.remove(name)
    return limited, found


@pytest.mark.usefixtures("nothing_known")
def test_one_run_of_an_unknown_kind_is_measured_before_the_others_are_decided(tmp_path):
    plan = plan_of_seeds(tmp_path, 3)
    limited, found = batches_of(plan, 1000.0, took=10.0)
    assert found == [[0], [1, 2], [3, 4], [5]]
    assert limited.left_out == {}


@pytest.mark.usefixtures("nothing_known")
def test_an_artifact_that_is_being_made_keeps_no_run_waiting(tmp_path):
    plan = plan_of_seeds(tmp_path, 1)
    known = Estimator(plan.results, plan.runs)
    limited = Budget(1000.0, plan, plan.runs.values(), started=time.monotonic(), estimate=known)
    first, second = plan.runs
    assert limited.admits(first, ["labels-aaaaaaaaaaaa"])
    assert not limited.admits(second, ["labels-aaaaaaaaaaaa", first])


@pytest.mark.usefixtures("nothing_known")
def test_no_run_is_started_that_cannot_finish(tmp_path):
    plan = plan_of_seeds(tmp_path, 2)
    limited, found = batches_of(plan, 100.0, took=200.0)
    assert found == [[0]]
    assert set(limited.left_out) == set(plan.runs) - {next(iter(plan.runs))}
    assert all("needs about" in reason for reason in limited.left_out.values())


@pytest.mark.usefixtures("nothing_known")
def test_a_shorter_run_goes_on_where_a_longer_one_does_not_fit(tmp_path):
    plan = plan_of_seeds(tmp_path, 3)
    first, second, third = plan.cells[0].run_ids
    finish(plan, first, seconds=100.0)
    folder = run_directory(plan.results, third)
    folder.mkdir(parents=True)
    (folder / "last.pt").touch()
    write_saved(folder, step=90, total_steps=100)
    plan = plan_of_seeds(tmp_path, 3)
    limited, found = batches_of(plan, 50.0, n_jobs=1, took=10.0, only=[second, third])
    assert found == [[1]]
    assert list(limited.left_out) == [second]


@pytest.mark.usefixtures("nothing_known")
def test_runs_that_still_go_at_the_deadline_save_and_the_next_sweep_goes_on(sandbox, monkeypatch):
    monkeypatch.setattr(module, "START_S", 0.1)
    sandbox.behave(["sleep", "ok"])
    folder = run_directory(sandbox.base / "results", sandbox.names[0])
    left = property(lambda _: -1.0 if (folder / "asleep").exists() else 100.0)
    with monkeypatch.context() as patch:
        patch.setattr(Budget, "left", left)
        assert sandbox.sweep("budget_s=100", "n_jobs=1") == 1
    assert sandbox.statuses() == ["missing"] * 3
    assert sandbox.started() == [0]
    assert (folder / "last.pt").read_text() == "saved"
    assert not (folder / "attempt.json").exists()
    assert (sandbox.base / "results" / "mini" / "table8.md").exists()
    assert any(line.startswith("not started") for line in sandbox.said)
    assert sandbox.sweep() == 0


def test_what_does_not_fit_is_not_started_and_the_sweep_says_so_and_reports(sandbox):
    sandbox.behave()
    assert sandbox.sweep("budget_s=5") == 1
    assert sandbox.started() == []
    assert any("not started: it needs about" in line for line in sandbox.said)
    assert (sandbox.base / "results" / "mini" / "table8.md").exists()


def test_where_not_even_the_shortest_run_fits_the_budget_to_give_is_named(sandbox):
    sandbox.behave()
    assert sandbox.sweep("budget_s=5") == 1
    said = r"3 runs have no result; the shortest needs about (\d+)s: set budget_s=(\d+) or more"
    needed, budget = map(int, re.fullmatch(said, sandbox.said[-1]).groups())
    assert needed < budget < 1.2 * needed + 5
    assert sandbox.sweep(f"budget_s={budget}") == 0


@pytest.mark.usefixtures("nothing_known")
def test_what_would_fit_alone_goes_on_with_the_same_command(tmp_path):
    plan = plan_of_seeds(tmp_path, 2)
    limited, _ = batches_of(plan, 300.0, took=200.0)
    todo = list(plan.runs.values())
    assert limited.too_short_for(plan, todo) is None
    spent = Budget(100.0, plan, todo, started=0.0, estimate=Estimator(plan.results, plan.runs))
    assert spent.too_short_for(plan, todo).startswith("the shortest needs about 3m")


def test_results_that_were_to_be_made_again_stay_where_the_budget_starts_nothing(sandbox):
    sandbox.behave()
    assert sandbox.sweep() == 0
    assert sandbox.sweep("redo=all", "budget_s=5") == 0
    assert sandbox.statuses() == ["ok"] * 3


def test_some_runs_can_come_first(sandbox):
    sandbox.behave()
    first = "first=[stem.label=ViT_c,lr.base=0.001]"
    assert sandbox.sweep(first, "n_jobs=1") == 0
    assert sandbox.started() == [2, 0, 1]


def test_a_field_that_no_run_has_cannot_come_first(sandbox):
    with pytest.raises(ConfigError, match=r"no run to train has a field 'optimizer\.labl'"):
        sandbox.sweep("first=[optimizer.labl=AdamW]")
