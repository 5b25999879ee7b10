import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest

from scaledrelu.config.compose import CONF_DIR, compose
from scaledrelu.config.identity import canonical, run_id
from scaledrelu.config.overrides import group_options
from scaledrelu.errors import RunError
from scaledrelu.launch.experiments import searchpath, write_experiment
from scaledrelu.launch.progress import Progress
from scaledrelu.launch.sweep import run_report, run_sweep
from scaledrelu.runs.record import Status, run_directory, write_error
from scaledrelu.tables.composer import Composer
from scaledrelu.tables.plan import PlannedRun
from scaledrelu.tables.settings import load_settings
from tests.helpers.sandboxes import settings_in

ROWS = (["stem=patchify"], ["stem=conv"], ["stem=conv", "lr.base=1e-3"])
TABLE = {
    "source": "Table 8",
    "title": "A small table",
    "columns": {"lr": {"from": "lr.base"}, "top1": {"metric": "val/top1"}},
    "blocks": [{"label": "b", "rows": [{"run": run, "paper": {"top1": 1.0}} for run in ROWS]}],
}


def test_missing_runs_are_trained_once_and_reported(sandbox):
    sandbox.behave()
    assert sandbox.sweep() == 0
    assert sandbox.statuses() == ["ok"] * 3
    assert sandbox.commands() == [[0, 1, 2]]
    assert any(line.startswith("[3/3] ") and "ok val/top1 90.0" in line for line in sandbox.said)
    assert (sandbox.base / "results" / "mini" / "table8.md").exists()
    assert sandbox.sweep() == 0
    assert sandbox.commands() == [[0, 1, 2]]


def test_the_eta_weighs_runs_by_what_they_may_take(tmp_path, monkeypatch):
    clock = iter([0.0, 10.0, 40.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    said = []
    progress = Progress({"a-1": 10.0, "b-2": 30.0}, results=tmp_path, say=said.append)
    progress.begin(("a-1", "b-2"))
    for name in ("a-1", "b-2"):
        write_error(run_directory(tmp_path, name), "out of memory")
        progress.update()
    assert said[0] == "[1/2] a-1 failed: out of memory  10s ETA 30s"
    assert said[1].endswith("40s ETA 0s")


def test_what_ended_together_is_told_in_the_order_of_the_plan(tmp_path):
    names = [f"run-{number}" for number in range(9, 0, -1)]
    said = []
    progress = Progress(dict.fromkeys(names, 1.0), results=tmp_path, say=said.append)
    progress.begin(names)
    for name in names:
        write_error(run_directory(tmp_path, name), "out of memory")
    progress.update()
    assert [line.split()[1] for line in said] == names


def test_dry_run_starts_nothing(sandbox):
    sandbox.behave()
    assert sandbox.sweep("dry_run=true") == 0
    assert sandbox.commands() == []
    assert "to train: 3 runs" in sandbox.said[0]


def test_crash_is_a_result_and_never_retried(sandbox):
    sandbox.behave(["crash"])
    assert sandbox.sweep() == 0
    assert sandbox.sweep() == 0
    assert sandbox.statuses() == ["crash", "ok", "ok"]
    assert sandbox.commands() == [[0, 1, 2]]


def test_job_that_raises_leaves_the_others_running_and_is_retried_next_time(sandbox):
    sandbox.behave(["raise", "ok"])
    assert sandbox.sweep() == 1
    assert sandbox.statuses() == ["failed", "ok", "ok"]
    assert any("failed:" in line and "out of memory" in line for line in sandbox.said)
    assert "out of memory" in (sandbox.base / "results/mini/table8.md").read_text()
    assert sandbox.sweep() == 0
    assert sandbox.commands() == [[0, 1, 2], [0]]


def test_killed_worker_is_relaunched_apart_after_the_others(sandbox):
    sandbox.behave(["kill", "ok"])
    assert sandbox.sweep() == 0
    assert sandbox.statuses() == ["ok"] * 3
    assert sandbox.commands() == [[0, 1, 2], [1, 2], [0]]


def test_old_failure_does_not_hide_that_the_worker_was_killed(sandbox):
    sandbox.behave(["raise", "kill", "ok"])
    assert sandbox.sweep() == 1
    assert sandbox.sweep() == 0
    assert sandbox.commands() == [[0, 1, 2], [0], [0]]


def test_run_that_kills_its_worker_twice_is_left_out_and_reported(sandbox):
    sandbox.behave(["ok"], ["kill"])
    assert sandbox.sweep() == 1
    assert sandbox.statuses() == ["ok", "failed", "ok"]
    assert sandbox.commands() == [[0, 1, 2], [2], [1]]
    assert any("died twice" in line for line in sandbox.said)


def test_training_that_cannot_start_is_one_line_and_no_failure_of_a_run(sandbox, monkeypatch):
    sandbox.behave()
    monkeypatch.setenv("FAKE_BROKEN", "1")
    dead = {"pid": 1, "started": 1.0, "host": os.uname().nodename, "birth": "0"}
    for name in sandbox.names:
        folder = run_directory(sandbox.base / "results", name)
        folder.mkdir(parents=True)
        (folder / "attempt.json").write_text(json.dumps(dead))
    with pytest.raises(RunError, match="no module named torch"):
        sandbox.sweep()
    assert sandbox.statuses() == ["missing"] * 3


@pytest.fixture
def ctrl_c():
    """As in a terminal: what a shell starts in the background ignores SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.alone
@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_lets_running_runs_save_and_starts_no_other(sandbox, number):
    sandbox.behave(["ok"], ["sleep", "ok"], ["ok"])
    folder = run_directory(sandbox.base / "results", sandbox.names[1])

    def interrupt():
        while not (folder / "asleep").exists():
            time.sleep(0.02)
        os.kill(os.getpid(), number)

    threading.Thread(target=interrupt, daemon=True).start()
    assert sandbox.sweep() == 130
    assert sandbox.statuses() == ["ok", "missing", "missing"]
    assert (folder / "last.pt").read_text() == "saved"
    assert not (folder / "attempt.json").exists()
    assert any("2 runs are left. The same command goes on" in line for line in sandbox.said)
    assert sandbox.sweep() == 0
    assert sandbox.commands() == [[0, 1, 2], [1, 2]]


def test_redo_keeps_the_old_run_aside(sandbox):
    sandbox.behave()
    sandbox.sweep()
    assert sandbox.sweep(f"redo={sandbox.names[0]}") == 0
    assert sandbox.commands() == [[0, 1, 2], [0]]
    kept = sandbox.base / "results" / "runs" / ".redone" / f"{sandbox.names[0]}-r1"
    assert (kept / "result.json").exists()


def test_a_damaged_record_does_not_stop_a_sweep_and_redo_trains_it_again(sandbox):
    sandbox.behave()
    sandbox.sweep()
    hurt, gone = (run_directory(sandbox.base / "results", name) for name in sandbox.names[:2])
    (hurt / "result.json").write_bytes(b"\xff\x00")
    shutil.rmtree(gone)
    assert sandbox.sweep() == 1
    assert sandbox.commands() == [[0, 1, 2], [1]]
    assert any(line.startswith(f"damaged: {hurt.name}: result.json: ") for line in sandbox.said)
    assert sandbox.said[-1] == "1 records are damaged: redo=<run id> sets one aside"
    assert sandbox.sweep(f"redo={hurt.name}") == 0
    assert sandbox.statuses() == ["ok"] * 3
    assert (hurt.parent / ".redone" / f"{hurt.name}-r1" / "result.json").read_bytes() == b"\xff\x00"


def test_run_in_progress_elsewhere_is_left_alone(sandbox):
    from scaledrelu.runs.attempt import write_attempt

    sandbox.behave()
    folder = run_directory(sandbox.base / "results", sandbox.names[0])
    write_attempt(folder, pid=os.getpid(), started=time.time())
    assert sandbox.sweep("redo=all") == 1
    assert sandbox.commands() == [[1, 2]]


@pytest.mark.parametrize(
    "overrides",
    [
        ("recipe=deit", "stem=conv", "optimizer=sam", "lr.base=1e-3", "warmup=none"),
        ("stem=conv_plain", "stem.strides=[2,2,2]", "stem.proj_kernel=8"),
        ("model.label='DINO-S/16 100 epoch'", "optimizer=sam", "optimizer.sam.rho=0.2"),
        ("optimizer=sam", "optimizer.build={weight_decay: 0.1, betas: [0.9, 0.95]}"),
    ],
)
def test_generated_file_composes_to_the_planned_run(tmp_path, overrides):
    config = replace(Composer(tmp_path)([*overrides, "profile=mini"]).config, seed=2)
    name = run_id(config)
    run = PlannedRun(name, overrides, 2, config, None, None, 0, Status.MISSING, None)
    write_experiment(run, results=tmp_path, groups=list(group_options(CONF_DIR)))
    composed = compose([f"experiment={name}", "profile=mini"], searchpath=str(searchpath(tmp_path)))
    assert composed["planned_id"] == name
    assert canonical(composed) == canonical(config)
    assert composed.model.label == config.model.label


HYDRA_TRAIN = """
import hydra, json, os, signal, sys, time
from dataclasses import replace
from pathlib import Path
from scaledrelu.config.compose import finalize
from scaledrelu.config.identity import canonical, run_id
from scaledrelu.runs.attempt import clear_attempt, write_attempt
from scaledrelu.runs.record import Outcome, Result, run_directory, write_error, write_result

@hydra.main(version_base="1.3", config_path={conf!r}, config_name="train")
def main(composed):
    config = finalize(composed)
    name = run_id(config)
    assert name == config.planned_id
    folder = run_directory(config.paths.results, name)
    write_attempt(folder, pid=os.getpid(), started=time.time())
    first = not (folder / "tried").exists()
    (folder / "tried").touch()
    what = json.loads(Path(os.environ["FAKE_PLAN"]).read_text())["runs"].get(name, ["ok"])[0]
    if what == "kill" and first:
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "raise":
        write_error(folder, "out of memory")
    else:
        result = Result(name, Outcome.OK, {{"val/top1": 90.0, "val/top1_best": 90.0}})
        write_result(folder, result, canonical(config))
    clear_attempt(folder)

if __name__ == "__main__":
    main()
"""


def test_joblib_pool_that_loses_a_worker_still_finishes_the_sweep(sandbox):
    script = sandbox.base / "train.py"
    script.write_text(HYDRA_TRAIN.format(conf=str(sandbox.base / "conf")))
    sandbox.behave(["raise"], ["kill"])
    settings = settings_in(sandbox.base, "launcher=joblib", "n_jobs=2")
    assert run_sweep(settings, sandbox.said.append, train=(sys.executable, str(script))) == 1
    log = (sandbox.base / "results" / ".cache" / "sweep.log").read_text()
    assert sandbox.statuses() == ["failed", "ok", "ok"], log


def test_report_and_publish_train_nothing(sandbox):
    sandbox.behave()
    sandbox.sweep()
    said = []
    assert run_report(settings_in(sandbox.base, "publish=true"), said.append) == 0
    assert sandbox.commands() == [[0, 1, 2]]
    assert "published 8 files" in said[-2]
    page = sandbox.base / "docs" / "results.md"
    assert said[-1] == f"wrote {page}"
    assert "## Table 8" in page.read_text()
    published = sandbox.base / "results" / "published" / "mini"
    assert {path.name for path in (published / "runs").iterdir()} == set(sandbox.names)


def test_printed_command_can_be_pasted(sandbox):
    sandbox.behave()
    sandbox.sweep()
    line = next(line for line in sandbox.said if line.startswith("$ "))
    for name in sandbox.names:
        shutil.rmtree(run_directory(sandbox.base / "results", name))
    subprocess.run(line[2:], shell=True, check=True)
    assert sandbox.statuses() == ["ok"] * 3


@pytest.fixture
def full_disk(monkeypatch):
    """Writes that fail as on a full disk, by name of the module that writes."""

    def refuse(path, content):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    def fill(*modules):
        for name in modules:
            monkeypatch.setattr(f"scaledrelu.tables.{name}.write_atomic", refuse)

    return fill


def test_a_plan_needs_no_file_of_its_own(sandbox, full_disk):
    sandbox.behave()
    shutil.rmtree(sandbox.base / "results")
    full_disk("composer")
    assert sandbox.sweep("dry_run=true") == 0
    assert not (sandbox.base / "results").exists()


@pytest.mark.parametrize("work", [run_sweep, run_report])
def test_results_that_cannot_be_written_are_one_line_that_names_the_file(sandbox, full_disk, work):
    sandbox.behave()
    full_disk("experiments", "report")
    with pytest.raises(RunError, match=r"(yaml|csv): cannot be written \(No space left"):
        work(settings_in(sandbox.base), sandbox.said.append)
    assert sandbox.commands() == []


def test_results_that_are_a_file_are_one_line(sandbox):
    shutil.rmtree(sandbox.base / "results")
    (sandbox.base / "results").touch()
    assert sandbox.sweep("dry_run=true") == 0
    with pytest.raises(RunError, match="cannot be written"):
        sandbox.sweep()


def test_a_folder_in_the_place_of_a_report_is_named_and_not_taken_for_a_full_disk(sandbox):
    sandbox.behave()
    (sandbox.base / "results" / "mini" / "table8.md").mkdir(parents=True)
    said = r"table8\.md: cannot be written .*: move away what"
    with pytest.raises(RunError, match=said) as caught:
        run_report(settings_in(sandbox.base), sandbox.said.append)
    assert ".tmp" not in str(caught.value)
    assert "make room" not in str(caught.value)


def test_a_tilde_in_results_is_the_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_settings(["results=~/of-mine"]).results == tmp_path / "of-mine"
