"""What a sweep hands to SLURM and makes of its answers, without a SLURM: stand-ins on the PATH."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from scaledrelu.config import launchers
from scaledrelu.config.compose import CONF_DIR, compose
from scaledrelu.config.identity import run_id
from scaledrelu.config.overrides import check_overrides
from scaledrelu.errors import ConfigError, RunError
from scaledrelu.launch import queue, slurm, slurm_options
from scaledrelu.launch.executor import Event, Files, Job, What
from scaledrelu.launch.queue import JobRecord, comment_of, queued_jobs, read_job, write_job
from scaledrelu.launch.slurm import ClusterWork, SlurmExecutor
from scaledrelu.launch.slurm_options import check_slurm, options_of
from scaledrelu.runs import process, spawn
from scaledrelu.runs.lock import claim
from scaledrelu.runs.record import Outcome, Result, read_error, run_directory, write_result

A, B = "deit-aaaaaaaaaaaa", "deit-bbbbbbbbbbbb"


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(slurm, "QUEUE_POLL_S", 0.02)


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """Stand-ins for SLURM's commands: shell bodies by name; every call is noted in ``calls``."""
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    (tmp_path / "bin").mkdir()

    def install(**bodies):
        for name, body in {"squeue": "", "scancel": "", "scontrol": "", **bodies}.items():
            path = tmp_path / "bin" / name
            path.write_text(f'#!/bin/sh\necho "{name} $*" >> {tmp_path}/calls\n{body}\n')
            path.chmod(0o755)
        return tmp_path

    return install


@pytest.fixture
def submitit(monkeypatch):
    """Submissions are noted, and numbered from 7 on."""
    sent = []

    def submit(self, job, after):
        sent.append((job.name, list(after)))
        record = JobRecord(str(6 + len(sent)), job.caption, f"log {job.name}")
        write_job(run_directory(self._files.results, job.name), record)
        return record

    monkeypatch.setattr(slurm, "check_slurm", lambda options: None)
    monkeypatch.setattr(SlurmExecutor, "_submit", submit)
    return sent


def job_of(name, **fields):
    return Job(name, work=len, prepare=lambda: None, caption=f"table1-1-{name}", **fields)


def executor_in(folder, **fields):
    return SlurmExecutor(Files(folder / "results"), {}, **fields)


def shown(folder, name, *, job_id="7", state="RUNNING", others=""):
    """Return the body of a squeue that shows one job."""
    comment = comment_of(folder / "results")
    return f"{others}echo '{job_id}|{state}|{comment}|table1-1-{name}'"


def finish(folder, name):
    run = run_directory((folder / "results").absolute(), name)
    write_result(run, Result(name, Outcome.OK, {"val/top1": 1.0}), {})


def until_settled(executor):
    events = []
    for _ in range(100):
        if not executor.open_jobs:
            break
        events += executor.poll(0)
    return events


def test_a_job_waits_for_those_that_it_starts_from_and_for_n_jobs_before_it(commands, submitit):
    folder = commands()
    jobs = [job_of(A), job_of(B, after=(A, "deit-done")), job_of("deit-cccccccccccc")]
    events = executor_in(folder, n_jobs=2).submit(jobs)
    assert submitit == [(A, []), (B, ["7"]), ("deit-cccccccccccc", ["7"])]
    assert [event.what for event in events] == [What.QUEUED] * 3
    assert read_job(run_directory(folder / "results", B)).job_id == "8"


def test_a_queued_job_is_adopted_and_never_submitted_twice(commands, submitit):
    folder = commands()
    foreign = "echo '3|RUNNING|results /elsewhere|table1-1-" + B + "'; "
    commands_again = shown(folder, A, others=foreign)
    (folder / "bin" / "squeue").write_text(f"#!/bin/sh\n{commands_again}\n")
    events = executor_in(folder).submit([job_of(A), job_of(B, after=(A,))])
    assert submitit == [(B, ["7"])], "it waits for the adopted job; another folder has own jobs"
    assert events[0] == Event(A, What.ADOPTED, "job 7")


def test_nothing_is_submitted_where_the_queue_does_not_answer(commands, submitit):
    folder = commands(squeue="exit 1")
    with pytest.raises(RunError, match="nothing was submitted"):
        executor_in(folder).submit([job_of(A)])
    assert submitit == []


def test_a_run_that_a_process_holds_is_left_alone(commands, submitit):
    folder = commands()
    run = run_directory(folder / "results", A)
    run.mkdir(parents=True)
    with claim(run):
        (event,) = executor_in(folder).submit([job_of(A)])
    assert event.what is What.WAITING
    assert submitit == []


def test_a_refused_submission_says_what_was_submitted_before(commands, submitit, monkeypatch):
    folder = commands()
    accepted = SlurmExecutor._submit

    def submit(self, job, after):
        if job.name == B:
            raise RuntimeError("sbatch: error: QOSMaxSubmitJobPerUserLimit")
        return accepted(self, job, after)

    monkeypatch.setattr(SlurmExecutor, "_submit", submit)
    with pytest.raises(RunError, match=r"1 jobs were submitted, then .*QOSMax.*the same command"):
        executor_in(folder).submit([job_of(A), job_of(B)])


def test_groups_that_do_not_divide_over_the_tasks_are_refused_before_submitting(commands, submitit):
    folder = commands()
    executor = SlurmExecutor(Files(folder / "results"), {"nodes": 3, "tasks_per_node": 2})
    with pytest.raises(
        ConfigError, match=r"8 group\(s\) of images, which cannot be divided among 6 tasks"
    ):
        executor.submit([job_of(A, groups=6), job_of(B, groups=8)])
    assert submitit == []


def test_artifacts_have_resources_of_their_own():
    options = {"gpus_per_node": 8, "nodes": 2, "artifacts": {"gpus_per_node": 1}}
    run, artifact = (options_of(job_of(A, groups=groups), options) for groups in (16, 0))
    assert (run["gpus_per_node"], run["nodes"]) == (8, 2)
    assert (artifact["gpus_per_node"], artifact["nodes"], artifact["tasks_per_node"]) == (1, 1, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"partion": "gpu"}, "did you mean 'partition'"),
        ({"name": "mine"}, "jobs are named <table>-<row>-<run id>"),
        ({"array_parallelism": 3}, "write n_jobs="),
        ({"artifacts": {"gpus": 1}}, r"slurm\.artifacts\.gpus: no such option"),
        ({"artifacts": 1}, r"write slurm\.artifacts\.<option>"),
    ],
)
def test_a_mistake_in_the_options_is_one_line(options, message):
    with pytest.raises(ConfigError, match=message) as caught:
        check_slurm(options)
    assert "\n" not in str(caught.value)


def test_no_slurm_here_is_one_line(monkeypatch):
    monkeypatch.setattr(slurm_options.shutil, "which", lambda name: None)
    with pytest.raises(ConfigError, match="no sbatch on this machine"):
        check_slurm({})


def test_no_submitit_here_is_one_line(monkeypatch):
    monkeypatch.setattr(slurm_options.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(ConfigError, match=r"pip install -e '\.\[slurm\]'"):
        check_slurm({})


def test_the_plugin_of_hydra_is_asked_for_in_one_line(monkeypatch):
    monkeypatch.setattr(launchers, "plugin_installed", lambda _module: False)
    with pytest.raises(ConfigError, match=r"pip install -e '\.\[slurm\]'"):
        check_overrides(["hydra/launcher=submitit_slurm"], CONF_DIR)


def test_a_finished_job_is_done_whatever_the_queue_says(commands, submitit):
    folder = commands()
    executor = executor_in(folder)
    executor.submit([job_of(A)])
    finish(folder, A)
    assert until_settled(executor) == [Event(A, What.DONE)]


def test_a_job_that_died_is_a_failure_with_its_state(commands, submitit):
    folder = commands(scontrol="echo JobId=7 JobState=NODE_FAIL Reason=None")
    executor = executor_in(folder)
    executor.submit([job_of(A)])
    (event,) = until_settled(executor)
    assert event.what is What.FAILED
    run = run_directory(folder / "results", A)
    said = "SLURM state NODE_FAIL before a result was written (job 7)"
    assert event.reason == read_error(run) == said
    assert f"log: log {A}" in (run / "error.txt").read_text()


def test_a_job_that_saved_and_left_is_no_failure(commands, submitit):
    folder = commands(scontrol="echo JobId=7 JobState=CANCELLED")
    executor = executor_in(folder)
    executor.submit([job_of(A)])
    (event,) = until_settled(executor)
    assert event == Event(A, What.STOPPED, "SLURM job 7 ended (CANCELLED)")
    assert read_error(run_directory(folder / "results", A)) is None


def test_a_controller_that_does_not_answer_is_waited_for(commands, submitit):
    folder = commands()
    executor = executor_in(folder)
    executor.submit([job_of(A)])
    (folder / "bin" / "squeue").write_text("#!/bin/sh\nexit 1\n")
    for _ in range(5):
        assert executor.poll(0) == []
    assert executor.open_jobs == 1


def test_ctrl_c_cancels_the_jobs_and_waits_until_they_have_saved(commands, submitit):
    folder = commands(scontrol="echo JobId=7 JobState=CANCELLED")
    executor = executor_in(folder)
    executor.submit([job_of(A)])
    gone = folder / "gone"
    (folder / "bin" / "squeue").write_text(f"#!/bin/sh\ntest -e {gone} || {shown(folder, A)}\n")
    (folder / "bin" / "scancel").write_text(
        f'#!/bin/sh\necho "scancel $*" >> {folder}/calls\ntouch {gone}\n'
    )
    (event,) = executor.stop()
    assert event.what is What.STOPPED
    assert "scancel 7\n" in (folder / "calls").read_text()


def test_squeue_shows_the_jobs_of_a_folder(commands):
    folder = commands()
    (folder / "bin" / "squeue").write_text(f"#!/bin/sh\n{shown(folder, A, state='PENDING')}\n")
    assert queued_jobs(folder / "results") == {A: queue.QueuedJob("7", "PENDING")}


@pytest.mark.parametrize("upstream", ["missing", "failed", "crashed", "done"])
def test_a_job_looks_itself_whether_what_it_starts_from_left_a_result(tmp_path, upstream):
    above, below = (run_directory(tmp_path, name) for name in (A, B))
    if upstream == "failed":
        Files(tmp_path).blame(A, "its disk is full")
    if upstream in ("crashed", "done"):
        crash = {"kind": "collapsed"} if upstream == "crashed" else None
        outcome = Outcome.CRASH if crash else Outcome.OK
        write_result(above, Result(A, outcome, {}, crash), {})
    worked = []
    work = ClusterWork(Files(tmp_path), B, lambda: worked.append(1), (A,))
    if upstream in ("missing", "failed"):
        with pytest.raises(SystemExit) as left:
            work()
        assert left.value.code == 1, "SLURM, its accounting and afterok see a failure"
        why = "its disk is full" if upstream == "failed" else "no result"
        assert read_error(below) == f"upstream failed: {A}: {why}"
    else:
        work()
        assert read_error(below) is None
    assert worked == ([1] if upstream == "done" else [])


def test_a_failed_run_leaves_its_job_with_its_own_status(tmp_path):
    with pytest.raises(SystemExit) as left:
        ClusterWork(Files(tmp_path), A, partial(int, 75), ())()
    assert left.value.code == 75


def test_launching_on_slurm_changes_no_run(monkeypatch):
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "12")
    here, there = (compose(["profile=paper", *extra]) for extra in ([], ["launch=slurm"]))
    assert run_id(here) == run_id(there)
    assert (there.launch.nproc, there.launch.threads) == (1, 12)
    assert there.launch.requeue
    assert not here.launch.requeue


@pytest.mark.parametrize(
    ("environment", "job"),
    [
        ({}, None),
        ({"SLURM_JOB_ID": "12"}, "12"),
        ({"SLURM_JOB_ID": "13", "SLURM_ARRAY_JOB_ID": "12", "SLURM_ARRAY_TASK_ID": "3"}, "12_3"),
    ],
)
def test_a_job_queues_itself_again_and_never_a_whole_array(commands, environment, job):
    folder = commands()
    assert process.requeue_job(environment) is (job is not None)
    calls = folder / "calls"
    assert (calls.read_text() if calls.exists() else None) == (job and f"scontrol requeue {job}\n")


def test_a_refused_requeue_is_a_warning(commands, caplog):
    commands(scontrol="echo 'Requested operation is presently disabled' >&2; exit 1")
    assert not process.requeue_job({"SLURM_JOB_ID": "12"})
    assert "run the same command again to continue" in caplog.text


@pytest.mark.parametrize(
    ("requeue", "time_is_up", "queued"), [(True, True, 1), (True, False, 0), (False, True, 0)]
)
def test_only_a_time_limit_queues_again_and_only_where_asked(
    smoke, monkeypatch, requeue, time_is_up, queued
):
    config = smoke(f"launch.requeue={requeue}")
    calls = []
    left = spawn.JobReport("deit-a", spawn.Ended.INTERRUPTED, "", time_is_up)
    monkeypatch.setattr(spawn, "_attempt", lambda *_: left)
    monkeypatch.setattr(spawn, "requeue_job", lambda: calls.append(1))
    assert spawn.run_job(config) is left
    assert len(calls) == queued


@pytest.mark.parametrize(
    ("number", "up"), [("SIGTERM", False), ("SIGUSR1", True), ("SIGUSR2", True)]
)
def test_signals_of_slurm_ask_a_run_to_leave(number, up):
    with process.stop_on_signal() as request:
        assert not request()
        os.kill(os.getpid(), getattr(signal, number))
        assert request()
        assert request.time_is_up is up


def test_the_parent_of_several_workers_passes_a_time_limit_on_as_sigterm():
    code = (
        "import json, os, signal, time\n"
        "from scaledrelu.runs.process import pass_on_signals\n"
        "seen = []\n"
        "with pass_on_signals() as request:\n"
        "    signal.signal(signal.SIGTERM, lambda number, _: seen.append(number))\n"
        "    for _ in range(2): os.kill(os.getpid(), signal.SIGUSR2)\n"
        "    print(json.dumps([seen == [signal.SIGTERM], request.time_is_up]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                          cwd=Path(CONF_DIR).parent)  # fmt: skip
    assert json.loads(done.stdout) == [True, True]
