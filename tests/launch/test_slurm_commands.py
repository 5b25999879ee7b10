"""What a sweep hands to SLURM and makes of its answers, without a SLURM: stand-ins on the PATH."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from scaledrelu.config import plugins
from scaledrelu.config.compose import compose
from scaledrelu.config.identity import run_id
from scaledrelu.config.overrides import check_overrides
from scaledrelu.config.places import CONF_DIR
from scaledrelu.errors import ConfigError, RunError
from scaledrelu.launch import queue, sent, slurm, slurm_options
from scaledrelu.launch.executor import Event, Files, Job, What
from scaledrelu.launch.jobs import jobs_of
from scaledrelu.launch.queue import JobEnd, comment_of, ending_of, queued_jobs, read_job
from scaledrelu.launch.slurm import SlurmExecutor
from scaledrelu.launch.slurm_options import check_slurm, options_of
from scaledrelu.launch.submission import (
    ClusterWork,
    RefusedError,
    jobs_folder,
    keep_record,
    submit_job,
)
from scaledrelu.runs import process, spawn
from scaledrelu.runs.ending import EXIT_BUSY
from scaledrelu.runs.lock import claim, only_writer
from scaledrelu.runs.record import read_error, run_directory, write_result
from scaledrelu.runs.result import Outcome, Result
from scaledrelu.tables.planner import plan_tables
from scaledrelu.tables.settings import load_settings

A, B = "deit-aaaaaaaaaaaa", "deit-bbbbbbbbbbbb"


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(sent, "QUEUE_POLL_S", 0.02)
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
    taken = []

    def submit(job, options, *, files, after):
        taken.append((job.name, list(after)))
        return handed(files.results, job, str(6 + len(taken)))

    monkeypatch.setattr(slurm, "check_slurm", lambda options: None)
    monkeypatch.setattr(slurm, "submit_job", submit)
    return taken


def handed(results, job, job_id):
    """Leave what submitit leaves of a job, and what we keep of it."""
    pickle = jobs_folder(Files(results)) / job_id / f"{job_id}_submitted.pkl"
    pickle.parent.mkdir(parents=True, exist_ok=True)
    pickle.touch()
    return keep_record(job, job_id, Files(results))


def job_of(name, **fields):
    return Job(name, work=len, prepare=lambda: None, caption=f"table1-1-{name}", **fields)


def executor_in(folder, *, wait=True, **fields):
    return SlurmExecutor(Files(folder / "results"), {}, wait=wait, **fields)


def shown(folder, name, *, job_id="7", state="RUNNING", others=""):
    """Return the body of a squeue that shows one job."""
    comment = comment_of(folder / "results")
    return f"{others}echo '{job_id}|{state}|None|{comment}|table1-1-{name}'"


def finish(folder, name):
    run = run_directory((folder / "results").absolute(), name)
    write_result(run, Result(name, Outcome.OK, {"val/top1": 1.0}), {})


def until_settled(executor):
    events = []
    for _ in range(100):
        if not executor.open_jobs:
            break
        events += executor.poll(0.005)
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
    foreign = "echo '3|RUNNING|None|results /elsewhere|table1-1-" + B + "'; "
    handed(folder / "results", job_of(A), "7")
    commands_again = shown(folder, A, others=foreign)
    (folder / "bin" / "squeue").write_text(f"#!/bin/sh\n{commands_again}\n")
    events = executor_in(folder).submit([job_of(A), job_of(B, after=(A,))])
    assert submitit == [(B, ["7"])], "it waits for the adopted job; another folder has own jobs"
    assert events[0] == Event(A, What.ADOPTED, "job 7")


def test_jobs_that_are_queued_already_count_among_n_jobs_whatever_their_place_in_the_plan(
    commands, submitit
):
    folder = commands()
    plan = [f"deit-{letter * 12}" for letter in "abcdef"]
    new, queued = [job_of(name) for name in plan[:4]], [job_of(name) for name in plan[4:]]
    lines = ""
    for job, job_id in zip(queued, ("4", "3"), strict=True):
        handed(folder / "results", job, job_id)
        lines = shown(folder, job.name, job_id=job_id, others=lines) + "; "
    (folder / "bin" / "squeue").write_text(f"#!/bin/sh\n{lines}\n")
    events = executor_in(folder, n_jobs=2).submit([*new, *queued])
    assert submitit == [(plan[0], ["3"]), (plan[1], ["4"]), (plan[2], ["7"]), (plan[3], ["8"])]
    assert [event.what for event in events] == [What.ADOPTED] * 2 + [What.QUEUED] * 4


def test_a_job_that_is_leaving_or_has_nothing_to_do_does_not_count_among_n_jobs(commands, submitit):
    folder = commands()
    jobs = [job_of(A), job_of(B), job_of("deit-cccccccccccc")]
    handed(folder / "results", jobs[1], "3")
    leaving = shown(folder, B, job_id="3", state="COMPLETING")
    lines = shown(folder, jobs[2].name, job_id="4", others=f"{leaving}; ")
    (folder / "bin" / "squeue").write_text(f"#!/bin/sh\n{lines}\n")
    executor_in(folder, n_jobs=1).submit(jobs)
    assert submitit == [(A, []), (B, ["7"]), (jobs[2].name, ["8"])]
    assert "scancel 4\n" in (folder / "calls").read_text()


@pytest.mark.parametrize("name", [A, "deit3-aaaaaaaaaaaa", "mini_market-aaaaaaaaaaaa"])
def test_a_job_is_known_by_the_id_of_whatever_method_it_trains(commands, name):
    folder = commands()
    (folder / "bin" / "squeue").write_text(f"#!/bin/sh\n{shown(folder, name)}\n")
    assert list(queued_jobs(folder / "results")) == [name]


def test_nothing_is_submitted_where_the_queue_does_not_answer(commands, submitit):
    folder = commands(squeue="exit 1")
    with pytest.raises(RunError, match="squeue does not answer; jobs not submitted: 1"):
        executor_in(folder).submit([job_of(A)])
    assert submitit == []


def test_a_run_that_a_process_holds_is_left_alone(commands, submitit):
    folder = commands()
    run = run_directory(folder / "results", A)
    run.mkdir(parents=True)
    with claim(run):
        event, *_ = executor_in(folder, wait=False).submit([job_of(A)])
    assert event.what is What.WAITING
    assert submitit == []


@pytest.fixture
def full(submitit, monkeypatch):
    """A SLURM that takes so many jobs of a person until some have ended: their number."""
    accepted, limit = slurm.submit_job, [1]

    def submit(job, options, **fields):
        if len(submitit) == limit[0]:
            raise RefusedError(
                "QOSMaxSubmitJobPerUserLimit: Batch job submission failed: Job violates "
                "accounting/QOS policy"
            )
        return accepted(job, options, **fields)

    monkeypatch.setattr(slurm, "submit_job", submit)
    return limit


def test_what_slurm_does_not_take_yet_is_left_to_a_later_command(commands, submitit, full):
    folder = commands()
    jobs = [job_of(A), job_of(B), job_of("deit-cccccccccccc", after=(B,))]
    events = executor_in(folder, wait=False).submit(jobs)
    assert [event.what for event in events] == [
        What.QUEUED, What.WAITING, What.LEFT_OUT, What.LEFT_OUT,
    ]  # fmt: skip
    assert events[1] == Event(
        B,
        What.WAITING,
        "SLURM accepts no more jobs now (QOSMaxSubmitJobPerUserLimit: Batch job submission "
        "failed: Job violates accounting/QOS policy); the rest is submitted by a later command "
        "when others have ended",
    )
    full[0] = 3
    (folder / "bin" / "squeue").write_text(f"#!/bin/sh\n{shown(folder, A)}\n")
    events = executor_in(folder, wait=False).submit(jobs)
    assert [event.what for event in events] == [What.ADOPTED, What.QUEUED, What.QUEUED]
    assert submitit == [(A, []), (B, []), ("deit-cccccccccccc", ["8"])]


def test_a_command_that_waits_submits_the_rest_as_jobs_end(commands, submitit, full):
    folder = commands()
    executor = executor_in(folder)
    assert [event.what for event in executor.submit([job_of(A), job_of(B)])] == [
        What.QUEUED, What.WAITING,
    ]  # fmt: skip
    assert executor.poll(0) == []
    full[0] = 2
    assert executor.poll(0) == [], "SLURM is left alone until a job has ended"
    finish(folder, A)
    assert executor.poll(0) == [Event(A, What.DONE)]
    (event,) = executor.poll(0)
    assert (event.name, event.what) == (B, What.QUEUED)
    finish(folder, B)
    assert until_settled(executor) == [Event(B, What.DONE)]


def test_where_other_jobs_of_the_person_fill_the_limit_all_of_ours_are_left(
    commands, submitit, full
):
    full[0] = 0
    events = executor_in(commands(), wait=False).submit([job_of(A), job_of(B)])
    assert [event.what for event in events] == [What.WAITING, What.LEFT_OUT, What.LEFT_OUT]


def test_a_job_that_slurm_will_never_take_is_an_error(commands, submitit, monkeypatch):
    def refuse(job, options, **fields):
        raise RefusedError("invalid partition specified: nope: No such job")

    monkeypatch.setattr(slurm, "submit_job", refuse)
    said = r"SLURM refuses .* \(.*partition specified: nope: No such job\); jobs not submitted: 2"
    with pytest.raises(RunError, match=said):
        executor_in(commands()).submit([job_of(A), job_of(B)])


SAID = (
    "sbatch: error: QOSMaxSubmitJobPerUserLimit\nsbatch: error: Batch job submission failed\n",
    "QOSMaxSubmitJobPerUserLimit: Batch job submission failed",
)


@pytest.mark.parametrize(
    ("error", "kind", "line"),
    [
        ("FailedJobError", RefusedError, SAID),
        ("FailedSubmissionError", RefusedError, ("Could not parse\nSubmitted", "Submitted")),
        ("OSError", RefusedError, ("No space left on device",) * 2),
        ("TypeError", TypeError, ("a bug",) * 2),
    ],
)
def test_what_sbatch_says_is_a_refusal_and_a_bug_is_none(monkeypatch, tmp_path, error, kind, line):
    class Refuses:
        def __init__(self, folder, cluster, slurm_python):
            pass

        def update_parameters(self, **named):
            pass

        def submit(self, work):
            known = vars(utils) | {"OSError": OSError, "TypeError": TypeError}
            raise known[error](line[0])

    utils = SimpleNamespace(
        FailedJobError=type("FailedJobError", (RuntimeError,), {}),
        FailedSubmissionError=type("FailedSubmissionError", (RuntimeError,), {}),
    )
    monkeypatch.setitem(sys.modules, "submitit", SimpleNamespace(AutoExecutor=Refuses))
    monkeypatch.setitem(sys.modules, "submitit.core", SimpleNamespace(utils=utils))
    monkeypatch.setitem(sys.modules, "submitit.core.utils", utils)
    with pytest.raises(kind) as caught:
        submit_job(job_of(A), {}, files=Files(tmp_path.absolute()), after=[])
    assert str(caught.value) == line[1]


def test_a_bug_in_submitting_keeps_its_traceback(commands, submitit, monkeypatch):
    monkeypatch.setattr(slurm, "submit_job", lambda job, options: None)
    with pytest.raises(TypeError, match="unexpected keyword"):
        executor_in(commands()).submit([job_of(A)])


def test_two_commands_at_once_submit_one_after_the_other(commands, submitit):
    folder = commands()
    first, second = executor_in(folder, wait=False), executor_in(folder, wait=False)
    place = jobs_folder(Files(folder / "results"))
    place.mkdir(parents=True)
    with claim(place):
        assert second.submit([job_of(A)]) == []
    first.submit([job_of(A)])
    (folder / "bin" / "squeue").write_text(f"#!/bin/sh\n{shown(folder, A)}\n")
    assert [event.what for event in second.poll(0)] == [What.ADOPTED]
    assert submitit == [(A, [])]


def test_a_job_whose_submission_was_killed_half_way_is_submitted_again(commands, submitit):
    folder = commands()
    (folder / "bin" / "squeue").write_text(f"#!/bin/sh\n{shown(folder, A, job_id='5')}\n")
    (event,) = executor_in(folder).submit([job_of(A)])
    assert (event.what, submitit) == (What.QUEUED, [(A, [])])
    assert "scancel 5\n" in (folder / "calls").read_text()


def test_an_adopted_job_has_its_record_again(commands, submitit):
    folder = commands()
    handed(folder / "results", job_of(A), "7")
    run = run_directory(folder / "results", A)
    (run / "job.json").unlink()
    (folder / "bin" / "squeue").write_text(f"#!/bin/sh\n{shown(folder, A)}\n")
    executor_in(folder).submit([job_of(A)])
    assert read_job(run).job_id == "7"


def test_what_starts_from_a_run_of_another_process_is_not_submitted(commands, submitit):
    folder = commands()
    run = run_directory(folder / "results", A)
    run.mkdir(parents=True)
    executor = executor_in(folder)
    with claim(run):
        events = executor.submit([job_of(A), job_of(B, after=(A,))])
        assert [event.what for event in events] == [What.WAITING, What.WAITING]
        assert executor.poll(0) == [], "it is told once"
    finish(folder, A)
    assert [event.what for event in until_settled(executor)][:2] == [What.DONE, What.QUEUED]
    assert submitit == [(B, [])]


def test_groups_that_do_not_divide_over_the_tasks_are_refused_before_submitting(commands, submitit):
    folder = commands()
    executor = SlurmExecutor(Files(folder / "results"), {"nodes": 3, "tasks_per_node": 2})
    with pytest.raises(ConfigError, match=r"8 group\(s\) of images, .* divided among 6 tasks"):
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
        ({"nodes": "two"}, r"slurm\.nodes=two: write a whole number from 1 on"),
        ({"tasks_per_node": 0}, r"slurm\.tasks_per_node=0: write a whole number from 1 on"),
        (
            {"timeout_min": 1},
            r"^slurm\.timeout_min=1: a job would be told at once that its time is "
            r"up, slurm\.signal_delay_s=120 seconds before; set "
            r"slurm\.timeout_min=3 or more, or slurm\.signal_delay_s=30 or less$",
        ),
        ({"timeout_min": 2}, r"slurm\.timeout_min=2: .* set slurm\.timeout_min=3 or more"),
        ({"signal_delay_s": 3600}, r"slurm\.timeout_min=60: .* set slurm\.timeout_min=61 or more"),
        (
            {"artifacts": {"timeout_min": 2}},
            r"^slurm\.artifacts\.timeout_min=2: .* "
            r"slurm\.artifacts\.signal_delay_s=120 .* "
            r"slurm\.artifacts\.timeout_min=3 or more",
        ),
        (
            {"signal_delay_s": 600, "artifacts": {"timeout_min": 10}},
            r"^slurm\.artifacts\.timeout_min=10: .*=600 seconds",
        ),
    ],
)
def test_a_mistake_in_the_options_is_one_line(options, message):
    with pytest.raises(ConfigError, match=message) as caught:
        check_slurm(options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"timeout_min": 3},
        {"timeout_min": 1, "signal_delay_s": 30},
        {"timeout_min": 10, "signal_delay_s": 300, "artifacts": {"timeout_min": 6}},
    ],
)
def test_a_time_limit_that_leaves_time_to_train_is_allowed(options):
    slurm_options.check_options(options)


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
    monkeypatch.setattr(plugins, "plugin_installed", lambda _module: False)
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
    assert "log: " in (run / "error.txt").read_text()


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
    (event,) = executor.stop(lambda: False)
    assert event.what is What.STOPPED
    assert "scancel 7\n" in (folder / "calls").read_text()


def test_ctrl_c_blames_no_job_while_the_queue_does_not_answer(commands, submitit):
    folder = commands()
    executor = executor_in(folder)
    executor.submit([job_of(A)])
    (folder / "bin" / "squeue").write_text("#!/bin/sh\nexit 1\n")
    looks = iter([False, False, True])
    assert executor.stop(lambda: next(looks)) == []
    assert read_error(run_directory(folder / "results", A)) is None


def test_squeue_shows_the_jobs_of_a_folder(commands):
    folder = commands()
    (folder / "bin" / "squeue").write_text(f"#!/bin/sh\n{shown(folder, A, state='PENDING')}\n")
    assert queued_jobs(folder / "results") == {A: queue.QueuedJob("7", "PENDING", "None")}


def test_a_job_that_is_ending_does_not_hide_its_successor(commands):
    folder = commands()
    both = shown(folder, A, job_id="8", state="PENDING", others=shown(folder, A) + "; ")
    ending = shown(folder, A, job_id="6", state="COMPLETING", others=both + "; ")
    (folder / "bin" / "squeue").write_text(f"#!/bin/sh\n{ending}\n")
    assert queued_jobs(folder / "results")[A].job_id == "8"


@pytest.mark.parametrize(
    ("shown", "ending", "left"),
    [
        ("scontrol", JobEnd("FAILED", 1), False),
        ("scontrol", JobEnd("FAILED", 75), True),
        ("scontrol", JobEnd("FAILED", EXIT_BUSY), True),
        ("sacct", JobEnd("CANCELLED", 0), True),
        ("sacct", JobEnd("OUT_OF_MEMORY", 0), False),
        ("nobody", JobEnd("unknown", 0), False),
    ],
)
def test_a_job_that_saved_or_met_another_process_has_left(commands, shown, ending, left):
    state, status = ending.state, ending.exit_status
    bodies = {"scontrol": "exit 1", "sacct": "exit 1"}
    if shown == "scontrol":
        bodies["scontrol"] = f"echo 'JobId=7 JobState={state} ExitCode={status}:0'"
    elif shown == "sacct":
        bodies["sacct"] = f"echo '{state} by 0|{status}:15'"
    commands(**bodies)
    assert ending_of("7") == ending
    assert ending.left is left


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


@pytest.mark.parametrize(("task", "status"), [("0", 1), ("0", 75), ("1", 1)])
def test_a_failed_run_leaves_its_job_with_its_own_status(tmp_path, monkeypatch, task, status):
    monkeypatch.setenv("SLURM_PROCID", task)
    with pytest.raises(SystemExit) as left:
        ClusterWork(Files(tmp_path), A, partial(int, status), ())()
    assert left.value.code == status


def test_only_the_first_task_says_that_a_run_left(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_PROCID", "1")
    ClusterWork(Files(tmp_path), A, partial(int, 75), ())()  # or it would end the first one


WHILE_IT_STARTS = """
import os, signal, sys
from pathlib import Path
from scaledrelu.launch.executor import Files
from scaledrelu.launch.submission import ClusterWork
from scaledrelu.runs.record import write_result
from scaledrelu.runs.result import Outcome, Result

results, name, requeue, done = Path(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:])
files = Files(results)

def start():
    if done:
        write_result(files.folder(name), Result(name, Outcome.OK, {}), {})
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        os.kill(os.getpid(), number)
    return 0

def of_submitit(number, frame):
    raise RuntimeError("Job not requeued because: timed-out and not checkpointable.")

signal.signal(signal.SIGUSR2, of_submitit)
ClusterWork(files, name, start, (), bool(requeue))()
os.kill(os.getpid(), signal.SIGUSR2)  # what is over is left alone
print("worked")
"""


@pytest.mark.parametrize(
    ("task", "requeue", "done", "status", "asked"),
    [
        ("0", True, False, 75, "scontrol requeue 12\n"),
        ("0", False, False, 75, "scancel 12\n"),
        ("1", True, False, 0, None),  # the first one says it for all
        ("0", True, True, 0, None),
    ],
)
def test_a_job_whose_time_is_up_while_it_starts_leaves_and_may_be_queued_again(
    commands, monkeypatch, task, requeue, done, status, asked
):
    folder = commands()
    monkeypatch.setenv("SLURM_PROCID", task)
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    monkeypatch.delenv("SLURM_ARRAY_JOB_ID", raising=False)
    arguments = [str(folder / "results"), A, str(int(requeue)), str(int(done))]
    left = subprocess.run([sys.executable, "-c", WHILE_IT_STARTS, *arguments], capture_output=True,
                          text=True, cwd=Path(CONF_DIR).parent)  # fmt: skip
    assert left.returncode == status, left.stderr
    assert left.stdout == ("worked\n" if status == 0 else "")
    calls = folder / "calls"
    assert (calls.read_text() if calls.exists() else None) == asked


def test_a_time_limit_that_is_announced_while_python_starts_waits_for_a_handler():
    code = (
        "import os, signal\n"
        "from scaledrelu.runs.process import release_signals\n"
        "os.kill(os.getpid(), signal.SIGUSR2)\n"
        "signal.signal(signal.SIGUSR2, lambda *_: print('told'))\n"
        "print('ready')\n"
        "release_signals()\n"
    )
    command = [*process.holding_signals(sys.executable), "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(CONF_DIR).parent)
    assert done.stdout.split() == ["ready", "told"], done.stderr


@pytest.mark.parametrize("requeue", [True, False])
def test_a_job_knows_whether_its_run_may_be_queued_again(tmp_path, requeue):
    settings = load_settings(
        ["tables=[table1]", "profile=smoke", f"results={tmp_path}",
         f"overrides=[launch.requeue={requeue}]"], script="sweep",
    )  # fmt: skip
    plan = plan_tables(settings)
    jobs = jobs_of(plan, list(plan.runs.values()), len)
    assert {job.requeue for job in jobs} == {requeue}


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
def test_a_job_queues_itself_again_and_never_a_whole_array(commands, monkeypatch, environment, job):
    folder = commands()
    for name in ("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert process.requeue_job() is (job is not None)
    calls = folder / "calls"
    assert (calls.read_text() if calls.exists() else None) == (job and f"scontrol requeue {job}\n")


def test_a_refused_requeue_is_a_warning(commands, monkeypatch, caplog):
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    commands(scontrol="echo 'Requested operation is presently disabled' >&2; exit 1")
    assert not process.requeue_job()
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


@pytest.mark.usefixtures("in_a_terminal")
@pytest.mark.parametrize("handled", [process.stop_on_signal, process.pass_on_signals])
def test_under_nohup_a_run_outlives_its_terminal(handled):
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with handled() as request:
        os.kill(os.getpid(), signal.SIGHUP)
        assert not request()
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


@pytest.mark.parametrize("gone", ["", "    worker.join(30)\n"], ids=["", "worker gone between"])
@pytest.mark.parametrize(
    ("number", "up"), [("SIGINT", False), ("SIGHUP", False), ("SIGUSR2", True)]
)
def test_the_parent_of_several_workers_passes_the_first_signal_on_as_sigterm(number, up, gone):
    code = (
        "import json, multiprocessing, os, signal, time\n"
        "from scaledrelu.runs.process import pass_on_signals\n"
        "with pass_on_signals() as request:\n"
        "    fork = multiprocessing.get_context('fork')\n"
        "    ready = fork.Event()\n"
        "    def work():\n"
        "        ready.set()\n"
        "        for _ in range(600):\n"
        "            time.sleep(0.1)  # a signal just before one long sleep is seen after it\n"
        "    worker = fork.Process(target=work)\n"
        "    worker.start()\n"
        "    ready.wait()\n"
        f"    os.kill(os.getpid(), signal.{number})\n{gone}"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    worker.join(30)\n"
        "    print(json.dumps([worker.is_alive(), request.time_is_up]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                          cwd=Path(CONF_DIR).parent)  # fmt: skip
    assert json.loads(done.stdout) == [False, up]


def test_a_signal_interrupts_the_parent_of_workers_that_have_not_started():
    with pytest.raises(KeyboardInterrupt), process.pass_on_signals():
        os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize(("parent", "is_raised"), [(None, True), (os.getppid(), False)])
def test_a_second_ctrl_c_interrupts_a_process_that_no_parent_looks_after(
    monkeypatch, parent, is_raised
):
    monkeypatch.setattr(process, "_parent", parent)
    expected = pytest.raises(KeyboardInterrupt) if is_raised else nullcontext()
    with expected, process.stop_on_signal() as request:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
        assert request()


def test_a_job_whose_upstream_run_is_trained_elsewhere_leaves_without_blame(tmp_path):
    upstream, below = (run_directory(tmp_path, name) for name in (A, B))
    upstream.mkdir(parents=True)
    with only_writer(upstream), pytest.raises(SystemExit) as left:
        ClusterWork(Files(tmp_path), B, lambda: 0, (A,))()
    assert left.value.code == EXIT_BUSY
    assert read_error(below) is None


def test_a_comment_of_several_lines_in_the_queue_is_no_error(commands):
    folder = commands(squeue="printf '3|RUNNING|None|two\\nlines|other\\n'")
    assert queued_jobs(folder / "results") == {}
