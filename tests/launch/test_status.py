"""One line a run: what its files say first, then what SLURM says."""

from __future__ import annotations

import json

import pytest

from scaledrelu.engine.saved import write_saved
from scaledrelu.launch import status
from scaledrelu.launch.queue import JobEnd, JobRecord, QueuedJob, write_job
from scaledrelu.launch.status import status_lines
from scaledrelu.runs.lock import only_writer
from scaledrelu.tables.planner import plan_tables
from tests.helpers.sandboxes import TABLE as TABLE
from tests.helpers.sandboxes import settings_in


def lines_of(sandbox):
    plan = plan_tables(settings_in(sandbox.base, script="status"))
    return list(status_lines(plan))


def test_what_ended_and_what_never_began(sandbox):
    sandbox.behave(["ok"], ["crash"], ["raise"])
    assert [line.split()[2:] for line in lines_of(sandbox)] == [["missing"]] * 3
    sandbox.sweep()
    first, second, third = lines_of(sandbox)
    assert first == f"{sandbox.names[0]}  table8-1      ok val/top1 90.0"
    assert "crash (collapsed)" in second
    assert third.endswith("failed: out of memory")


def test_a_run_that_is_trained_tells_its_epoch_speed_time_left_and_loss(sandbox):
    folder = sandbox.folder(0)
    folder.mkdir(parents=True)
    rows = [{"step": 60, "epoch": 9, "train/loss": 1.25}, {"step": 60, "epoch": 9, "val/top1": 80}]
    text = "".join(json.dumps(row) + "\n" for row in rows) + '{"torn'
    (folder / "metrics.jsonl").write_text(text)
    timing = {"step": 60, "seconds": 30.0, "images_per_s": 351.4}
    (folder / "timing.jsonl").write_text(json.dumps(timing) + "\n")
    (folder / "last.pt").touch()
    write_saved(folder, step=50, total_steps=180)
    with only_writer(folder):
        line = lines_of(sandbox)[0]
    assert "running  epoch 10/16  351 images/s  ETA 1m 00s  loss 1.250  (process " in line
    stopped = lines_of(sandbox)[0]
    assert stopped.endswith("stopped; will continue at step 50 of 180")


def test_a_run_that_has_said_nothing_yet_is_running(sandbox):
    folder = sandbox.folder(0)
    folder.mkdir(parents=True)
    with only_writer(folder):
        assert "running  epoch 1/16" in lines_of(sandbox)[0]


@pytest.mark.parametrize(
    ("queued", "ending", "said"),
    [
        (QueuedJob("7", "PENDING"), None, "queued  (job 7)"),
        (QueuedJob("7", "PENDING", "Dependency"), None, "queued  (job 7, Dependency)"),
        (QueuedJob("7", "CONFIGURING"), None, "starting  (job 7)"),
        (QueuedJob("7", "COMPLETING"), None, "ending  (job 7)"),
        (None, "NODE_FAIL", "died: SLURM job 7 ended in state NODE_FAIL; log /log"),
        (None, "TIMEOUT", "missing"),
        (None, "unknown", "missing"),
    ],
)
def test_slurm_is_asked_about_runs_that_had_a_job_and_have_no_result(
    sandbox, monkeypatch, queued, ending, said
):
    folder = sandbox.folder(1)
    folder.mkdir(parents=True)
    write_job(folder, JobRecord("7", "table8-2-x", "/log"))
    answer = {sandbox.names[1]: queued} if queued else {}
    monkeypatch.setattr(status, "queued_jobs", lambda results: answer)
    monkeypatch.setattr(status, "ending_of", lambda job_id: JobEnd(ending))
    assert lines_of(sandbox)[1].endswith(said)


def test_slurm_is_not_asked_where_no_run_had_a_job(sandbox, monkeypatch):
    monkeypatch.setattr(status, "queued_jobs", lambda results: pytest.fail("asked"))
    assert len(lines_of(sandbox)) == 3
