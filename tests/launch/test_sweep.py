import errno
import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from scaledrelu.config.identity import canonical
from scaledrelu.config.places import CONF_DIR
from scaledrelu.errors import ConfigError, RunError, TableError
from scaledrelu.launch.executor import Event, Files, What, note_signals
from scaledrelu.launch.progress import Progress
from scaledrelu.launch.sweep_end import Launched, conclude
from scaledrelu.runs import checkout
from scaledrelu.runs.lock import LOCK
from scaledrelu.runs.planned import read_planned
from scaledrelu.runs.record import run_directory, write_error
from scaledrelu.tables.settings import load_settings
from scripts.report import report
from scripts.sweep import sweep
from tests.helpers import sandboxes
from tests.helpers.processes import lives, until
from tests.helpers.sandboxes import TABLE as TABLE
from tests.helpers.sandboxes import settings_in, write_only_table
from tests.helpers.table_fakes import finish


def test_missing_runs_are_trained_once_and_reported(sandbox):
    sandbox.behave()
    assert sandbox.sweep() == 0
    assert sandbox.statuses() == ["ok"] * 3
    assert sandbox.started() == [0, 1, 2]
    assert any(line.startswith("[3/3] ") and "ok val/top1 90.0" in line for line in sandbox.said)
    assert (sandbox.base / "results" / "mini" / "table8.md").exists()
    assert sandbox.sweep() == 0
    assert sandbox.started() == [0, 1, 2]


def progress_of(seconds, results, said):
    return Progress(seconds, files=Files(results), say=said.append)


def test_the_eta_weighs_runs_by_what_they_may_take(tmp_path, monkeypatch):
    clock = iter([0.0, 10.0, 40.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    said = []
    progress = progress_of({"a-1": 10.0, "b-2": 30.0}, tmp_path, said)
    for name in ("a-1", "b-2"):
        progress.see(Event(name, What.FAILED, "out of memory"))
    assert said[0] == "[1/2] a-1 failed: out of memory  10s ETA 30s"
    assert said[1].endswith("40s ETA 0s")


@pytest.mark.parametrize(("n_jobs", "count"), [(1, 3), (2, 8), (4, 16), (4, 5), (2, 13)])
@pytest.mark.parametrize("pace", [0.5, 1.0, 3.0])
def test_the_eta_counts_what_the_other_slots_have_half_done(
    tmp_path, monkeypatch, n_jobs, count, pace
):
    """Runs of different lengths, all so many times as long as expected, on a clock that jumps."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    expected = {f"a-{i}": 10.0 + i % 3 for i in range(count)}
    said, waiting, running, ended = [], list(expected), {}, []
    progress = progress_of(expected, tmp_path, said)
    now[0] = 30.0  # until the modules that runs need are loaded
    while waiting or running:
        while waiting and len(running) < n_jobs:
            name = waiting.pop(0)
            running[name] = now[0] + pace * expected[name]
            progress.see(Event(name, What.STARTED))
        name = min(running, key=running.get)
        now[0] = running.pop(name)
        progress.see(Event(name, What.DONE))
        ended.append(now[0])
    etas = [re.search(r"ETA (?:(\d+)m )?(\d+)s", line).groups("0") for line in said]
    for at, (minutes, seconds) in zip(ended, etas, strict=True):
        eta = 60 * int(minutes) + int(seconds)
        assert eta == pytest.approx(now[0] - at, abs=1 + pace * 12 / 2), (at, said)


def test_only_what_a_person_can_use_is_told(tmp_path):
    said = []
    progress = progress_of({"a-1": 10.0}, tmp_path, said)
    for event in (
        Event("a-1", What.STARTED),
        Event("a-1", What.DIED, "its process ended with SIGKILL and no error message"),
        Event("a-1", What.STOPPED, "by a signal, after saving"),
        Event("a-1", What.LEFT_OUT),
    ):
        progress.see(event)
    assert said == [
        "a-1 died: its process ended with SIGKILL and no error message; it will be tried again",
        "a-1 stopped: by a signal, after saving; run the same command again to continue",
    ]


def test_dry_run_starts_nothing(sandbox):
    sandbox.behave()
    assert sandbox.sweep("dry_run=true") == 0
    assert sandbox.started() == []
    assert "to train: 3 runs" in sandbox.said[0]


def test_a_sweep_without_work_names_a_run_that_other_code_trained(sandbox, monkeypatch):
    for place, (commit, value) in enumerate((("a1", 60.0), ("b2", 70.0), (None, 80.0))):
        finish(sandbox.plan, sandbox.names[place], value, commit=commit)
    for here, ends in (
        (None, "\nnothing to train"),
        ("a1", f"{sandbox.names[1]} was trained from commit b2; this checkout is at a1; "),
        (
            "b2-dirty",
            f"{sandbox.names[0]} was trained from commit a1; this checkout is at b2-dirty",
        ),
    ):
        monkeypatch.setattr(checkout, "git_commit", lambda here=here: here)
        sandbox.said.clear()
        assert sandbox.sweep("dry_run=true") == 0
        assert ("nothing to train\nedited code is not noticed: " in sandbox.said[0]) == bool(here)
        assert ends in sandbox.said[0]
        assert ("; redo=" in sandbox.said[0]) == bool(here)
    for name in sandbox.names[1:]:
        (sandbox.base / "results" / "runs" / name / "result.json").unlink()
    sandbox.sweep("dry_run=true")
    assert "edited code" not in sandbox.said[-1], "there is work"


def test_crash_is_a_result_and_never_retried(sandbox):
    sandbox.behave(["crash"])
    assert sandbox.sweep() == 0
    assert sandbox.sweep() == 0
    assert sandbox.statuses() == ["crash", "ok", "ok"]
    assert sandbox.started() == [0, 1, 2]


def test_job_that_raises_leaves_the_others_running_and_is_retried_next_time(sandbox):
    sandbox.behave(["raise", "ok"])
    assert sandbox.sweep() == 1
    assert sandbox.statuses() == ["failed", "ok", "ok"]
    assert any("failed:" in line and "out of memory" in line for line in sandbox.said)
    assert "out of memory" in (sandbox.base / "results/mini/table8.md").read_text()
    assert sandbox.sweep() == 0
    assert sandbox.started() == [0, 1, 2, 0]


def test_a_failed_run_of_redo_none_is_said_to_be_retried_without_it(sandbox):
    sandbox.behave(["raise", "ok"])
    assert sandbox.sweep("redo=none") == 1
    assert sandbox.said[-1] == "1 run failed; run the same command again without redo=none to retry"
    assert sandbox.sweep("redo=none") == 1
    assert sandbox.started() == [0, 1, 2]
    assert sandbox.sweep() == 0
    assert sandbox.started() == [0, 1, 2, 0]


def test_a_killed_process_is_tried_again_after_the_others(sandbox):
    sandbox.behave(["kill", "ok"])
    assert sandbox.sweep() == 0
    assert sandbox.statuses() == ["ok"] * 3
    assert sandbox.started() == [0, 1, 2, 0]
    assert any("died: its process ended with SIGKILL" in line for line in sandbox.said)


def test_a_process_that_exits_without_a_result_is_tried_again(sandbox):
    sandbox.behave(["exit", "ok"])
    assert sandbox.sweep() == 0
    assert sandbox.started() == [0, 1, 2, 0]
    assert any("died: its process ended with exit status 3" in line for line in sandbox.said)


def test_old_failure_does_not_hide_that_the_process_was_killed(sandbox):
    sandbox.behave(["raise", "kill", "ok"])
    assert sandbox.sweep() == 1
    assert sandbox.sweep() == 0
    assert sandbox.started() == [0, 1, 2, 0, 0]


def test_run_whose_process_is_killed_twice_is_left_out_and_reported(sandbox):
    sandbox.behave(["ok"], ["kill"])
    assert sandbox.sweep() == 1
    assert sandbox.statuses() == ["ok", "failed", "ok"]
    assert sandbox.started() == [0, 1, 2, 1]
    assert any("killed twice without an error message" in line for line in sandbox.said)
    assert sandbox.sweep() == 1, "the next sweep tries again, and no record is lost"


def test_a_run_in_parallel_with_a_killed_one_goes_on(sandbox):
    sandbox.behave(["kill", "ok"], ["nap"], ["raise"])
    assert sandbox.sweep("n_jobs=3") == 1
    assert sandbox.statuses() == ["ok", "ok", "failed"]
    assert sorted(sandbox.started()) == [0, 0, 1, 2]


def test_training_that_cannot_start_is_one_line_and_no_failure_of_a_run(sandbox):
    sandbox.behave()
    settings = settings_in(sandbox.base)
    with pytest.raises(RunError, match="training cannot start: ModuleNotFoundError: No module"):
        sweep(settings, sandbox.said.append, train=len, preload=("no_such_module",))
    assert sandbox.statuses() == ["missing"] * 3


def test_every_run_to_train_has_its_file_before_the_first_starts(sandbox):
    sandbox.behave(["raise"])
    sandbox.sweep()
    assert (sandbox.base / "results" / "planned").read_text() == "3"
    for name in sandbox.names:
        config = read_planned(sandbox.base / "results", name)
        assert canonical(config) == canonical(sandbox.plan.runs[name].config)
        assert config.wandb.tags == ("table8",)


def test_a_run_that_another_process_took_first_is_waited_for_and_not_taken_for_dead(sandbox):
    sandbox.behave(["busy", "ok"])
    assert sandbox.sweep() == 0
    assert sandbox.started()[0] == 0
    assert sandbox.started().count(0) == 2
    assert not any("no error message" in line for line in sandbox.said)


def test_a_process_that_exits_twice_is_not_said_to_be_killed(sandbox):
    sandbox.behave(["exit"])
    assert sandbox.sweep() == 1
    assert any("ended twice with exit status 3; see" in line for line in sandbox.said)
    assert not any("out of memory" in line for line in sandbox.said)


def test_a_run_keeps_what_its_process_printed(sandbox):
    sandbox.behave()
    sandbox.sweep()
    for place, name in enumerate(sandbox.names):
        assert (sandbox.folder(place) / "console.log").read_text().startswith(f"{name}: ok")


@pytest.mark.alone
@pytest.mark.usefixtures("in_a_terminal")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ctrl_c_lets_running_runs_save_and_starts_no_other(sandbox, number):
    sandbox.behave(["ok"], ["sleep", "ok"], ["ok"])
    folder = sandbox.folder(1)

    def interrupt():
        while not (folder / "asleep").exists():
            time.sleep(0.02)
        os.kill(os.getpid(), number)

    threading.Thread(target=interrupt, daemon=True).start()
    assert sandbox.sweep() == 130
    assert sandbox.statuses() == ["ok", "missing", "missing"]
    assert (folder / "last.pt").read_text() == "saved"
    assert not (folder / "attempt.json").exists()
    assert any(
        "2 runs are left: run the same command again to continue" in line for line in sandbox.said
    )
    assert sandbox.sweep() == 0
    assert sandbox.started() == [0, 1, 1, 2]


@pytest.mark.alone
@pytest.mark.usefixtures("in_a_terminal")
def test_who_interrupts_redo_all_is_told_to_go_on_without_it(sandbox):
    sandbox.behave()
    assert sandbox.sweep() == 0
    sandbox.behave(["ok"], ["sleep", "ok"], ["ok"])
    folder = sandbox.folder(1)

    def interrupt():
        until((folder / "asleep").exists)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    assert sandbox.sweep("redo=all") == 130
    again = "run the same command again without redo=all to continue"
    assert f"{sandbox.names[1]} stopped: by a signal, after saving; {again}" in sandbox.said
    assert any(f"1 runs are left: {again}" in line for line in sandbox.said)
    assert sandbox.sweep() == 0
    assert sandbox.started() == [0, 1, 2, 0, 1, 1]


@pytest.mark.parametrize(
    ("redo", "told"),
    [
        ("failed", "run the same command again to submit them"),
        (
            "all",
            "run the same command again without redo=all to submit them; what it did not reach "
            "keeps its old result",
        ),
    ],
)
def test_who_submits_the_rest_of_redo_all_is_told_to_do_it_without_it(sandbox, redo, told):
    left = Launched((), submitted=True, left_out=2, redo=redo)
    assert conclude(sandbox.plan, left, sandbox.said.append) == 1
    assert sandbox.said[-1] == f"jobs not submitted yet: 2; {told}"


@pytest.mark.alone
@pytest.mark.usefixtures("in_a_terminal")
def test_under_nohup_the_terminal_may_go():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with note_signals() as asked:
        for number in (signal.SIGHUP, signal.SIGTERM):
            os.kill(os.getpid(), number)
    assert asked == [signal.SIGTERM]
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


def test_redo_keeps_the_old_run_aside(sandbox):
    sandbox.behave()
    sandbox.sweep()
    assert sandbox.sweep(f"redo={sandbox.names[0]}") == 0
    assert sandbox.started() == [0, 1, 2, 0]
    kept = sandbox.base / "results" / "runs" / ".redone" / f"{sandbox.names[0]}-r1"
    assert (kept / "result.json").exists()


def test_a_damaged_record_does_not_stop_a_sweep_and_redo_trains_it_again(sandbox):
    sandbox.behave()
    sandbox.sweep()
    hurt, gone = (run_directory(sandbox.base / "results", name) for name in sandbox.names[:2])
    (hurt / "result.json").write_bytes(b"\xff\x00")
    shutil.rmtree(gone)
    assert sandbox.sweep() == 1
    assert sandbox.started() == [0, 1, 2, 1]
    assert any(line.startswith(f"damaged: {hurt.name}: result.json: ") for line in sandbox.said)
    assert (
        sandbox.said[-1]
        == "1 records are damaged; redo=<run id> sets one aside and trains it again"
    )
    assert sandbox.sweep(f"redo={hurt.name}") == 0
    assert sandbox.statuses() == ["ok"] * 3
    assert (hurt.parent / ".redone" / f"{hurt.name}-r1" / "result.json").read_bytes() == b"\xff\x00"


def let_go_when(happened, lock):
    """Free a lock as soon as something has happened."""

    def wait():
        while not happened():
            time.sleep(0.02)
        lock.close()

    threading.Thread(target=wait, daemon=True).start()


def test_a_run_that_another_process_holds_is_waited_for_and_left_alone(sandbox):
    sandbox.behave()
    folder = sandbox.folder(0)
    folder.mkdir(parents=True)
    lock = (folder / LOCK).open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    (folder / "attempt.json").write_text("{}")
    untouched = []
    let_go_when(lambda: sandbox.started() == [1, 2] and not untouched.append(listed(folder)), lock)
    assert sandbox.sweep("redo=all") == 0
    assert untouched[-1] == ["attempt.json", LOCK]
    assert sandbox.started() == [1, 2, 0], "it ended without a result, so it is tried here"
    assert any(line.startswith(f"{sandbox.names[0]} waiting: another") for line in sandbox.said)


def listed(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_failure_of_whoever_held_a_run_is_not_tried_again_at_once(sandbox):
    sandbox.behave()
    folder = sandbox.folder(0)
    folder.mkdir(parents=True)
    lock = (folder / LOCK).open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)

    def fail():
        done = sandbox.started() == [1, 2]
        if done:
            write_error(folder, "its disk is full")
        return done

    let_go_when(fail, lock)
    assert sandbox.sweep() == 1
    assert sandbox.statuses() == ["failed", "ok", "ok"]
    assert sandbox.started() == [1, 2]


DRIVER = """
import sys
from pathlib import Path
from tests.helpers.sandboxes import sweep_in
sys.exit(sweep_in(Path({base!r}), *{arguments!r}))
"""


def in_background(sandbox, *arguments, **how):
    """Start the same sweep in a process of its own."""
    code = DRIVER.format(base=str(sandbox.base), arguments=arguments)
    paths = [str(CONF_DIR.parent), str(Path(sandboxes.__file__).parent)]
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        **how,
    )


def test_two_sweeps_on_one_folder_share_the_work(sandbox):
    sandbox.behave(["nap"], ["nap"], ["nap"])
    other = in_background(sandbox, "n_jobs=1")
    until(lambda: sandbox.started() == [0])
    assert sandbox.sweep() == 0
    said, _ = other.communicate(timeout=60)
    assert other.returncode == 0, said
    assert sorted(sandbox.started()) == [0, 1, 2], "each once"
    assert sandbox.statuses() == ["ok"] * 3


@pytest.mark.alone
def test_a_killed_sweep_leaves_no_process_behind_and_the_same_command_goes_on_at_once(sandbox):
    sandbox.behave(["sleep", "ok"], ["sleep", "ok"])
    other = in_background(sandbox, "n_jobs=2", start_new_session=True)
    folders = [sandbox.folder(0), sandbox.folder(1)]
    until(lambda: all((folder / "asleep").exists() for folder in folders))
    pids = [json.loads((folder / "attempt.json").read_text())["pid"] for folder in folders]
    other.kill()
    other.wait()
    until(lambda: not any(map(lives, pids)))
    assert [(folder / "last.pt").read_text() for folder in folders] == ["saved", "saved"]
    assert sandbox.sweep() == 0
    assert sandbox.statuses() == ["ok"] * 3


@pytest.mark.alone
def test_sigterm_to_the_only_process_is_told_as_what_it_is(sandbox):
    sandbox.behave(["sleep", "ok"])
    folder = sandbox.folder(0)

    def stop():
        until((folder / "asleep").exists)
        os.kill(json.loads((folder / "attempt.json").read_text())["pid"], signal.SIGTERM)

    threading.Thread(target=stop, daemon=True).start()
    assert sandbox.sweep() == 1
    assert sandbox.statuses() == ["missing", "ok", "ok"]
    told = "stopped: by a signal, after saving; run the same command again to continue"
    assert f"{sandbox.names[0]} {told}" in sandbox.said


def test_a_container_that_was_restarted_under_another_name_waits_for_nobody(sandbox):
    sandbox.behave(["kill"])
    sandbox.sweep()
    left = json.loads((sandbox.folder(0) / "attempt.json").read_text())
    (sandbox.folder(0) / "attempt.json").write_text(json.dumps(left | {"host": "elsewhere"}))
    (sandbox.folder(0) / "error.txt").unlink()
    sandbox.behave(["ok"])
    started = time.monotonic()
    assert sandbox.sweep() == 0
    assert time.monotonic() - started < 20


@pytest.mark.parametrize("name", ["M\u00fcller's %j {z}", "${oc.env:HOME}", "x=1,[y] a b "])
def test_a_sweep_may_stand_in_any_folder(sandbox, monkeypatch, name):
    sandbox.behave()
    place = sandbox.base / name
    shutil.copytree(sandbox.base / "results", place / "results")  # what was composed for them all
    monkeypatch.chdir(place)
    results = f"results={place / 'results'}"
    assert sandbox.sweep(results) == 0
    assert len(list((place / "results" / "runs").glob("*/result.json"))) == 3
    report(settings_in(sandbox.base, results, script="report"), sandbox.said.append)


def test_a_folder_name_with_a_line_break_is_refused_in_one_line(tmp_path):
    with pytest.raises(ConfigError, match="line breaks") as caught:
        load_settings([f"results={tmp_path}/a\nb"])
    assert "\n" not in str(caught.value)


def test_report_and_publish_train_nothing(sandbox):
    sandbox.behave()
    sandbox.sweep()
    said = []
    assert report(settings_in(sandbox.base, "publish=true", script="report"), said.append) == 0
    assert sandbox.started() == [0, 1, 2]
    published = sandbox.base / "results" / "published" / "mini"
    assert [line for line in said if line.startswith("published")] == [
        f"published 12 files under {published}"
    ]
    beside = {f"figure1.{kind}" for kind in ("csv", "md", "png", "svg")}  # it shares a run
    names = {path.name for path in published.glob("*.*")}
    assert names == {"table8.csv", "table8.md", "report.html", *beside}
    assert f"wrote {published / 'report.html'}" in said
    page = sandbox.base / "docs" / "results.md"
    assert said[-1] == f"wrote {page}"
    assert "## Table 8" in page.read_text()
    assert {path.name for path in (published / "runs").iterdir()} == set(sandbox.names)


@pytest.fixture
def full_disk(monkeypatch):
    """Writes that fail as on a full disk, by name of the module that writes."""

    def refuse(*where, **_):
        raise OSError(errno.ENOSPC, "No space left on device", str(next(map(str, where[-1:]))))

    def fill(*modules):
        for name in modules:
            monkeypatch.setattr(f"scaledrelu.{name}", refuse)

    return fill


def test_a_plan_needs_no_file_of_its_own(sandbox, full_disk):
    sandbox.behave()
    shutil.rmtree(sandbox.base / "results")
    full_disk("tables.composer.write_atomic")
    assert sandbox.sweep("dry_run=true") == 0
    assert not (sandbox.base / "results").exists()


@pytest.mark.parametrize(
    ("typed", "seeds"), [((), None), (("seeds=0",), (0,)), (("seeds=[0,1]",), (0, 1))]
)
def test_claims_of_a_report_rest_on_every_seed_unless_some_are_asked_for(
    sandbox, monkeypatch, typed, seeds
):
    asked = []
    monkeypatch.setattr(
        "scripts.report.write_claims", lambda s, **_: (asked.append(s.seeds) or [], [])
    )
    (sandbox.base / "conf" / "claims.yaml").touch()
    report(settings_in(sandbox.base, *typed, script="report"), sandbox.said.append)
    assert asked == [seeds]


def test_a_report_says_in_one_line_which_records_are_damaged(sandbox):
    sandbox.behave()
    sandbox.sweep()
    said = []
    settings = settings_in(sandbox.base, script="report")
    report(settings, said.append)
    assert not [line for line in said if "damaged" in line]
    for place in (0, 2):
        path = sandbox.folder(place) / "result.json"
        path.write_bytes(path.read_bytes()[:20])
    report(settings, said.append)
    names = f"{sandbox.names[0]}, {sandbox.names[2]}"
    assert [line for line in said if "damaged" in line] == [
        f"2 damaged records, counted as no result: {names}; the reports say what to do"
    ]


def test_a_half_written_table_keeps_only_a_report_of_all_tables(sandbox):
    sandbox.behave()
    sandbox.sweep()
    draft = sandbox.base / "conf" / "table" / "draft.yaml"
    draft.write_text("source: mine\ncolumns: {\n")
    named = settings_in(sandbox.base, "tables=[table8]", script="report")
    assert report(named, sandbox.said.append) == 0
    with pytest.raises(TableError, match=r"^conf/table/draft.yaml, line 3: not valid YAML"):
        settings_in(sandbox.base, script="report")


def test_a_table_is_trained_at_its_own_profiles_only(sandbox):
    write_only_table(sandbox.base, TABLE | {"only_at": ["cifar", "small"]})
    said = (
        r"tables=\[table8\]: is trained at profile cifar or small only, not at mini; write "
        r"profile=cifar \(make: PROFILE=cifar\)"
    )
    for more in ((), ("dry_run=true",)):
        with pytest.raises(ConfigError, match=said):
            sandbox.sweep("tables=[table8]", *more)
    assert sandbox.started() == []


@pytest.mark.parametrize("work", [sweep, report])
def test_results_that_cannot_be_written_are_one_line_that_names_the_file(sandbox, full_disk, work):
    sandbox.behave()
    full_disk("launch.jobs.PlanWriter.write", "reports.report.write_changed")
    with pytest.raises(RunError, match=r": cannot be written \(No space left"):
        work(settings_in(sandbox.base), sandbox.said.append)
    assert sandbox.started() == []


def test_a_folder_in_the_place_of_a_report_is_named_and_not_taken_for_a_full_disk(sandbox):
    sandbox.behave()
    (sandbox.base / "results" / "mini" / "table8.md").mkdir(parents=True)
    said = r"table8\.md: cannot be written .*; move away the file or folder"
    with pytest.raises(RunError, match=said) as caught:
        report(settings_in(sandbox.base), sandbox.said.append)
    assert ".tmp" not in str(caught.value)
    assert "make room" not in str(caught.value)


def test_a_tilde_in_results_is_the_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_settings(["results=~/of-mine"]).results == tmp_path / "of-mine"
