"""What a sweep hands to SLURM and makes of its answers, without a SLURM: stand-ins on the PATH."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from scaledrelu.config import launchers
from scaledrelu.config.compose import CONF_DIR, compose
from scaledrelu.config.identity import run_id
from scaledrelu.config.overrides import check_overrides
from scaledrelu.errors import ConfigError, RunError
from scaledrelu.launch import slurm
from scaledrelu.launch.progress import Progress
from scaledrelu.launch.slurm import SlurmLauncher, SlurmQueue
from scaledrelu.launch.sweep import build_launcher
from scaledrelu.runs import process, spawn
from scaledrelu.runs.record import read_error, run_directory
from scaledrelu.tables.settings import load_settings

OPTIONS = ["account", "cpus_per_task", "gpus_per_node", "partition", "qos", "setup", "timeout_min"]


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    for name in ("POLL_S", "QUEUE_POLL_S", "CANCEL_POLL_S"):
        monkeypatch.setattr(slurm, name, 0.02)


@pytest.fixture
def installed(monkeypatch):
    """The submitit plugin and sbatch, whether or not this machine has them."""
    monkeypatch.setattr(launchers, "plugin_installed", lambda _module: True)
    monkeypatch.setattr(launchers, "_slurm_options", lambda: OPTIONS)
    monkeypatch.setattr(launchers.shutil, "which", lambda name: f"/usr/bin/{name}")


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


def sweep_command(*arguments):
    settings = load_settings(["launcher=submitit_slurm", "profile=paper", *arguments])
    return build_launcher(settings, print).command(["deit-1", "deit-2"])


def wave(folder, launched, run_ids=("deit-a", "deit-b")):
    """One wave whose submitting command is a line of shell; returns the launcher and its lines."""
    said = []
    launcher = SlurmLauncher(
        profile="smoke", results=folder / "results", name="submitit_slurm", n_jobs=256,
        say=said.append, train=("/bin/sh", "-c", launched), queue=SlurmQueue("scaledrelu-test"),
    )  # fmt: skip
    for name in run_ids:
        run_directory(launcher.results, name).mkdir(parents=True, exist_ok=True)
    launcher.wave(
        run_ids, Progress(dict.fromkeys(run_ids, 1.0), results=launcher.results, say=said.append)
    )
    return launcher, said


def test_options_of_the_launcher_reach_the_command_and_nothing_of_them_the_runs(installed):
    options = ["hydra.launcher.partition=gpu", "hydra.launcher.timeout_min=2880"]
    command = sweep_command(*options, "overrides=[hydra.launcher.qos=high,stem=conv]")
    assert "hydra/launcher=submitit_slurm" in command
    for option in (*options, "hydra.launcher.qos=high", "launch=slurm"):
        assert command.count(option) == 1
    assert "hydra.launcher.array_parallelism=2" in command
    settings = load_settings(["launcher=submitit_slurm", "overrides=[hydra.launcher.qos=high]"])
    assert settings.overrides == ()


def test_at_most_n_jobs_run_at_a_time(installed):
    assert "hydra.launcher.array_parallelism=1" in sweep_command("n_jobs=1")


def test_each_sweep_finds_its_own_jobs_by_name(installed):
    names = {next(a for a in sweep_command() if a.startswith("hydra.launcher.name="))
             for _ in range(3)}  # fmt: skip
    assert len(names) == 3


def test_cpus_of_a_task_reach_its_step(installed):
    setup = [a for a in sweep_command("hydra.launcher.cpus_per_task=12") if "setup=" in a]
    assert len(setup) == 1
    assert "'export SRUN_CPUS_PER_TASK=12'" in setup[0]
    own = "hydra.launcher.setup=['module load cuda']"
    assert [a for a in sweep_command(f'launcher_options=["{own}"]') if "setup=" in a] == [own]


def test_a_choice_of_launch_is_left_alone(installed):
    assert "launch=slurm" not in sweep_command("overrides=[launch=ddp8]")


LAUNCHER = ("launcher=submitit_slurm",)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("hydra.launcher.partion=gpu", "did you mean 'partition'"),
        ("hydra.launcher.name=mine", "the sweep names its jobs"),
        ("launcher_options=[partition=gpu]", r"hydra\.launcher\.<option>=<value>"),
        ("launcher=submitit_slrum", "did you mean 'submitit_slurm'"),
    ],
)
def test_a_mistake_is_one_line_before_anything_is_planned(installed, argument, message):
    with pytest.raises(ConfigError, match=message) as caught:
        load_settings([*LAUNCHER[: not argument.startswith("launcher=")], argument])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("ask", [
    lambda: load_settings(["launcher=submitit_slurm"]),
    lambda: check_overrides(["hydra/launcher=submitit_slurm"], CONF_DIR),
])  # fmt: skip
def test_a_missing_plugin_says_what_to_install(monkeypatch, ask):
    monkeypatch.setattr(launchers, "plugin_installed", lambda _module: False)
    with pytest.raises(ConfigError, match=r"pip install -e '\.\[slurm\]'"):
        ask()


def test_no_slurm_here_is_one_line_but_the_plan_can_be_seen(installed, monkeypatch):
    monkeypatch.setattr(launchers.shutil, "which", lambda name: None)
    with pytest.raises(ConfigError, match="no sbatch on this machine"):
        load_settings(["launcher=submitit_slurm"])
    assert load_settings(["launcher=submitit_slurm", "dry_run=true"]).dry_run


def test_names_of_options_are_those_of_the_plugin():
    if importlib.util.find_spec("hydra_plugins.hydra_submitit_launcher") is None:
        pytest.skip("needs pip install -e .[slurm]")
    assert set(OPTIONS) <= set(launchers._slurm_options())


def test_launching_on_slurm_changes_no_run(monkeypatch):
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "12")
    here, there = (compose(["profile=paper", *extra]) for extra in ([], ["launch=slurm"]))
    assert run_id(here) == run_id(there)
    assert (there["launch"]["nproc"], there["launch"]["threads"]) == (1, 12)
    assert there["launch"]["requeue"]
    assert not here["launch"]["requeue"]


def test_a_job_that_died_is_a_failure_with_its_state(commands):
    folder = commands(
        squeue="test -e $0.asked || echo '7_0 7_1'; touch $0.asked",
        scontrol="echo JobId=7 JobState=NODE_FAIL Reason=None",
    )
    launcher, said = wave(folder, "exit 0")
    for name, job in (("deit-a", "7_0"), ("deit-b", "7_1")):
        folder = run_directory(launcher.results, name)
        assert read_error(folder) == f"its SLURM job {job} ended without a word (NODE_FAIL)"
        assert f".submitit/{job}" in (folder / "error.txt").read_text()
    assert any(line.startswith("[2/2] deit-b failed: its SLURM job 7_1") for line in said)


def test_a_job_that_saved_and_left_is_no_failure(commands):
    folder = commands(
        squeue="test -e $0.asked || echo 9; touch $0.asked",
        scontrol="echo JobId=9 JobState=CANCELLED",
    )
    launcher, said = wave(folder, "exit 0", ["deit-a"])
    assert read_error(run_directory(launcher.results, "deit-a")) is None
    assert said[-1] == "deit-a: SLURM job 9 left (CANCELLED); the same command goes on"


def test_a_launcher_that_waits_for_ever_is_ended_when_the_queue_is_empty(commands):
    folder = commands(squeue="test -e $0.asked || echo 9; touch $0.asked")
    waited = folder / "waited"
    wave(folder, f"sleep 60; touch {waited}", ["deit-a"])
    assert not waited.exists()


def test_a_controller_that_does_not_answer_is_waited_for(commands):
    folder = commands(
        squeue="echo x >> $0.n; n=$(wc -l < $0.n); test $n = 1 && echo 9; test $n -lt 2 -o $n -gt 5"
    )
    wave(folder, "exit 0", ["deit-a"])
    assert len((folder / "bin" / "squeue.n").read_text().split()) >= 7


def test_a_refused_submission_is_one_line(commands):
    folder = commands()
    with pytest.raises(RunError, match="no job was submitted: sbatch: error: Invalid partition"):
        wave(folder, "echo 'sbatch: error: Invalid partition' >&2; exit 1")


def test_ctrl_c_cancels_the_jobs_and_waits_until_they_have_saved(commands, monkeypatch):
    folder = commands(squeue="test -e $0.gone || echo 7_0", scancel=f"touch {'$0'}.told")
    (folder / "bin" / "scancel").write_text(
        f'#!/bin/sh\necho "scancel $*" >> {folder}/calls\ntouch {folder}/bin/squeue.gone\n'
    )

    def interrupt(_launcher, _process, _progress):
        raise KeyboardInterrupt

    monkeypatch.setattr(SlurmLauncher, "_watch", interrupt)
    with pytest.raises(KeyboardInterrupt):
        wave(folder, "sleep 60", ["deit-a"])
    assert "scancel --name scaledrelu-test" in (folder / "calls").read_text()


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
    assert "the same command goes on" in caplog.text


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
