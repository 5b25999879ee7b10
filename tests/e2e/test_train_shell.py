"""What a person may type after train.py, in one process: flags, sweeps, completion, exit status."""

from __future__ import annotations

import importlib.util
import logging
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scaledrelu.config import plugins
from scaledrelu.config.compose import compose, compose_unpinned
from scaledrelu.config.identity import run_id
from scaledrelu.config.options import group_options
from scaledrelu.config.places import CONF_DIR
from scaledrelu.config.run import RunConfig
from scaledrelu.config.shell import read_arguments, ready_for_hydra
from scaledrelu.errors import ConfigError
from scaledrelu.runs import command
from scaledrelu.runs.ending import Ended, JobReport
from scaledrelu.runs.multirun import read_endings
from tests.helpers.options import GROUPS
from tests.helpers.run_folders import CRASHED, leave, plan_in, run_of

ROOT = Path(__file__).resolve().parents[2]
TRAIN = ROOT / "scripts" / "train.py"


@dataclass(frozen=True)
class Said:
    status: int
    out: str
    err: str


@pytest.fixture(scope="module")
def train():
    spec = importlib.util.spec_from_file_location("train_script", TRAIN)
    module = importlib.util.module_from_spec(spec)
    sys.modules["train_script"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["train_script"]


@pytest.fixture(autouse=True)
def log_handlers_as_before() -> Iterator[None]:
    root = logging.getLogger()
    before = root.handlers[:]
    yield
    root.handlers[:] = before


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[dict]:
    """The configurations that would have been trained."""
    found: list[dict] = []

    def run_job(config: RunConfig) -> JobReport:
        found.append(config)
        return ending_of(config)

    monkeypatch.setattr(command, "run_job", run_job)
    return found


ENDINGS = {4: Ended.BUSY, 0: Ended.OK, 1: Ended.FAILED, 2: Ended.CRASH, 3: Ended.INTERRUPTED}


def ending_of(config: RunConfig) -> JobReport:
    """Seeds decide how a run ends here."""
    ended = ENDINGS[config.seed]
    return JobReport(run_id(config), ended, "out of memory" if ended is Ended.FAILED else "")


@pytest.fixture
def shell(real_shell: Callable, trained: list[dict]) -> Callable:
    """Call train.py, which trains nothing."""
    return real_shell


@pytest.fixture
def real_shell(train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> Callable:
    """Call train.py in an empty folder, with results elsewhere."""
    cwd = tmp_path / "cwd"
    cwd.mkdir()
    monkeypatch.chdir(cwd)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")

    def call(*arguments: str, results: Path | None = tmp_path / "results") -> Said:
        place = [] if results is None else [f"paths.results={results}"]
        monkeypatch.setattr(sys, "argv", [str(TRAIN), *arguments, *place])
        try:
            status = train.main()
        except SystemExit as ended:
            status = int(ended.code or 0)
        return Said(status, *capsys.readouterr())

    return call


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ("-m --cfg job seed=0,1", "--multirun and --cfg cannot be combined"),
        ("--run -m", "--run and --multirun cannot be combined"),
        ("--info -m", "cannot be combined"),
        ("--resolve", "--resolve: works only with --cfg"),
        ("--package model", "--package: works only with --cfg"),
        ("--cfg job --package nope", "'nope' not found"),
        ("--cfg nope", "invalid choice: 'nope'"),
        ("--info=nope", "invalid choice: 'nope'"),
        ("--nope", "unrecognized arguments: --nope"),
        ("-cd /nowhere", "/nowhere: no such folder"),
        ("-cp /nowhere", "--config-dir <folder>"),
        ("-cn sweep", "--config-dir <folder>"),
        ("--experimental-rerun x.pickle", "not supported"),
        ("conv", "cannot parse 'conv'"),
        ("--cfg job stem=conv,patchify", "shows one run; give one value"),
        ("hydra/launcher=slots,basic", "hydra/launcher=slots,basic: give one value\n"),
        ("stem.strides=2,2,1", "a list needs brackets: stem.strides=[2,2,1]\n"),
        ("+stem.strides=2,2,1", "a list needs brackets: +stem.strides=[2,2,1]\n"),
        ("stem=conv stem.strides=2,1,1,8", "the projection's stride: stem.strides=[2,1,1]\n"),
        ("+stem.strides=2,1,1,4", "the projection's stride: +stem.strides=[2,1,1]\n"),
        ("stem.strides=2,2,2,2", "stride: stem.strides=[2,2,2] stem.proj_kernel=8 (as in conf/"),
        ("stem.strides=2,2,2,2 stem.kernels=[3,3,3,3]", "brackets: stem.strides=[2,2,2,2]\n"),
        ("optimizer.build.betas=0.9,0.99", "; a list needs brackets: optimizer.build.betas=[0.9,"),
        (
            "-m stem=glob(nope*)",
            f"matches; allowed: {', '.join(GROUPS['stem'])}",
        ),
        ("-m lr.base=glob(1*)", "'lr.base' is not a group"),
        ("-m stem=choice(conv,convv)", "stem=convv: no such option"),
        ("-m stem=interval(0,1)", "stem is a group"),
        ("-m stem=range(0,3)", "stem is a group"),
        ("-m lr.base=interval(1e-4,1e-3)", "does not support sweep type : INTERVAL_SWEEP"),
        ("-m seed=range(3,0)", "the list or range is empty"),
        ("-m seed=range(0,3,0)", "must not be zero"),
        ("-m seed=range(0,3,0.0)", "Invalid range values"),
        ("-m hydra/launcher=nope", "hydra/launcher/nope"),
        ("-m hydra/launcher=slots hydra.launcher.n_jobs=-1", "whole number from 1 on"),
        ("-m hydra/launcher=joblib hydra.launcher.n_jobs=x", "could not be converted to Integer"),
        ("hydra.mode=nope", "hydra.mode"),
        ("~nope", "'nope' does not exist"),
        ("~stem", "stem.label"),
        ("+nope=1", "no such key 'nope'"),
        ("augment.crop_scale.min=0.1", "augment.crop_scale is a list"),
        ("-m augment.crop_scale.min=0.1,0.2", "augment.crop_scale is a list"),
        ("+stem=conv", "stem"),
        ("stem@model=conv", "stem@model"),
        ("stem=null", "stem is a group"),
        ("-m lr.base=-1,-2", "lr.base=-2"),
    ],
)
def test_what_cannot_be_is_one_line_and_exit_2(shell: Callable, typed: str, line: str) -> None:
    said = shell(*typed.split(), "profile=smoke")
    assert said.status == 2
    assert line in said.err
    assert "Traceback" not in said.err
    assert len(said.err.strip().splitlines()) == (2 if "-1,-2" in typed else 1)


@pytest.mark.parametrize(
    ("typed", "again"),
    [
        ("stem=conv,patchify", "stem=conv,patchify"),
        ("seed=0,1", "seed=0,1"),
        ("lr.base=1e-3 seed=range(0,3)", "lr.base=1e-3 'seed=range(0,3)'"),
        ("stem=glob(conv*)", "'stem=glob(conv*)'"),
        ("hydra/launcher=slots ++seed=choice(0,1)", "hydra/launcher=slots '++seed=choice(0,1)'"),
        ("lr.base=interval(1e-4,1e-2)", "'lr.base=interval(1e-4,1e-2)'"),
    ],
)
def test_several_values_without_m_are_one_line_with_the_command_to_type(
    shell: Callable, typed: str, again: str
) -> None:
    said = shell(*typed.split(), results=None)
    several = typed.split()[-1]
    line = f"error: {several}: several values need -m: python scripts/train.py -m {again}\n"
    assert (said.status, said.err) == (2, line)


@pytest.mark.parametrize(
    ("typed", "seeds_and_stems"),
    [
        ("stem=conv -m seed=2", [(2, "ViT_c")]),
        ("-m seed=range(0,1) stem=choice(conv,'patchify')", [(0, "ViT_c"), (0, "ViT_p")]),
        ("--multirun seed=0", [(0, "ViT_p")]),
        ("hydra.mode=MULTIRUN seed=0", [(0, "ViT_p")]),
        (
            "--run seed=0 ++lr.base=1e-3 +optimizer.build.amsgrad=true ~optimizer.build.fused",
            [(0, "ViT_p")],
        ),
    ],
)
def test_what_hydra_understands_is_trained(
    shell: Callable, trained: list[dict], typed: str, seeds_and_stems: list
) -> None:
    said = shell(*typed.split(), "profile=smoke")
    assert said.status == 0, said.err
    assert [(config.seed, config.stem.label) for config in trained] == seeds_and_stems


BY_TORCHRUN = {"RANK": "{rank}", "WORLD_SIZE": "2", "LOCAL_RANK": "{rank}"}
BY_SRUN = {"SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "{rank}", "SLURM_LOCALID": "{rank}"}


@pytest.mark.parametrize("variables", [BY_TORCHRUN, BY_SRUN], ids=["torchrun", "srun"])
@pytest.mark.parametrize("several", ["-m", "hydra.mode=MULTIRUN"])
def test_every_process_of_torchrun_and_srun_refuses_several_runs_and_the_first_says_it(
    shell: Callable, trained: list[dict], monkeypatch, several: str, variables: dict[str, str]
) -> None:
    monkeypatch.setattr(command, "WAIT_S", 0.0)
    said = []
    for rank in (0, 1):
        for name, value in variables.items():
            monkeypatch.setenv(name, value.format(rank=rank))
        said.append(shell(several, "seed=0", "profile=smoke"))
    assert [one.status for one in said] == [2, 2]
    assert said[0].err.startswith(f"error: {several}: ")
    assert "launch.nproc=2" in said[0].err
    assert len(said[0].err.splitlines()) == 1
    assert (said[1].err, trained) == ("", [])


def test_one_process_of_torchrun_trains_several_runs(
    shell: Callable, trained: list[dict], monkeypatch
) -> None:
    for name, value in {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    assert shell("-m", "seed=0", "stem=conv,patchify", "profile=smoke").status == 0
    assert len(trained) == 2


def test_a_glob_is_trained(shell: Callable, trained: list[dict]) -> None:
    assert shell("-m", "stem=glob(conv_b*)", "profile=smoke").status == 0
    bn = compose_unpinned(["stem=conv_bn", "profile=smoke"])
    assert [config.stem for config in trained] == [bn.stem]


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("--cfg job -p lr lr.base=1e-3", "base: 0.001"),
        ("--cfg job --resolve -p stem stem=conv", "hidden: 16"),
        ("-c all -p hydra.job", "chdir: false"),
        ("--info defaults-tree", "profile_model: mini_vit_small"),
        ("--info config", "lr:"),
        ("--info plugins", "JoblibLauncher"),
        ("--hydra-help", "== Flags =="),
    ],
)
def test_what_only_shows_trains_nothing(
    shell: Callable, trained: list[dict], typed: str, shown: str
) -> None:
    hydra_only = "--hydra-help" in typed
    said = shell(*typed.split(), results=None if hydra_only else Path("elsewhere"))
    assert said.status == 0, said.err
    assert shown in said.out
    assert not trained


def test_help_lists_what_a_person_may_choose_and_nothing_else(shell: Callable) -> None:
    said = shell("--help")
    assert said.status == 0
    for group, options in group_options(CONF_DIR).items():
        assert any(line.split()[:1] == [group] for line in said.out.splitlines()), group
        assert all(option in said.out for option in options)
    section = said.out.partition("Options, ")[2].partition("Values, ")[0]
    listed = [line.split()[0] for line in section.splitlines()[1:] if line.strip()]
    names = "data ffn init launch lr model optimizer precision profile recipe stem wandb warmup"
    assert " ".join(listed) == names
    for internal in ("profile_", "table", "figure", "artifact", "_grammar", "_base", "hydra "):
        beside = said.out.replace("tables", "")
        assert not re.search(rf"\b{internal}", beside), internal
    assert "conv*" not in said.out.replace("'stem=glob(conv*)'", "")
    assert "patchify*" in said.out, "the default of a group has a star"
    for status in ("1 a run failed", "2 wrong input", "69 another", "75 or 130 interrupted"):
        assert status in said.out


def test_a_wrong_name_is_answered_with_names_that_may_be_chosen(shell: Callable) -> None:
    said = shell("stemm=conv")
    assert "did you mean 'stem'" in said.err
    assert "profile_" not in said.err


@pytest.mark.parametrize("name", ["bash", "fish", "zsh"])
def test_completion_installs_for_every_shell(shell: Callable, name: str) -> None:
    said = shell("-sc", f"install={name}", results=None)
    assert said.status == 0, said.err
    assert "-sc query=" in said.out
    assert shell("-sc", f"uninstall={name}", results=None).status == 0


@pytest.mark.parametrize(
    "typed", ["-sc", "-sc install=csh", "-sc stem=conv", "-sc install=bash stem=conv"]
)
def test_completion_of_something_else_is_one_line(shell: Callable, typed: str) -> None:
    said = shell(*typed.split(), results=None)
    assert said.status == 2
    assert "install=bash" in said.err


@pytest.mark.parametrize(
    "call",
    ["python3.11 scripts/train.py", "/my-venv/bin/python /my-work/scripts/train.py",
     "./.venv/bin/python ../a+b/train.py"],
)  # fmt: skip
def test_any_python_and_any_folder_get_completions(
    shell: Callable, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    monkeypatch.setenv("COMP_LINE", f"{call} seed=1 stem=conv_b")
    monkeypatch.setenv("COMP_POINT", "1")
    assert shell("-sc", "query=bash", results=None).out.split() == ["stem=conv_bn"]


@pytest.mark.parametrize(
    ("line", "offered", "hidden"),
    [
        ("stem=conv_b", {"stem=conv_bn"}, {"stem=_grammar"}),
        ("optimizer=", {"optimizer=sam", "optimizer=lion"}, {"optimizer=_base"}),
        ("pro", {"profile="}, {"profile_data=", "profile_model="}),
        ("", {"stem=", "lr.", "seed="}, {"table=", "artifact="}),
        ("stem=conv lr.b", {"lr.base="}, set()),
        ("hydra/launcher=s", {"hydra/launcher=slots"}, set()),
        ("lr.base=-1 --nope st", set(), {"error:"}),
    ],
)
def test_completions_are_what_may_be_chosen(
    shell: Callable, monkeypatch: pytest.MonkeyPatch, line: str, offered: set, hidden: set
) -> None:
    monkeypatch.setenv("COMP_LINE", f"python {TRAIN} {line}")
    monkeypatch.setenv("COMP_POINT", "1")
    said = shell("-sc", "query=bash", results=None)
    assert said.status == 0
    assert said.err == ""
    assert offered <= set(said.out.split())
    assert not hidden & set(said.out.split())


@pytest.mark.parametrize(
    ("seeds", "status", "last"),
    [
        ("1", 1, "1 of 1 runs failed"),
        (
            "-1,0,1,2,3",
            1,
            "2 of 5 runs failed, 1 interrupted (run the same command again to continue)",
        ),
    ],
)
def test_a_multirun_says_how_each_run_ended_and_fails_if_one_failed(
    shell: Callable, seeds: str, status: int, last: str
) -> None:
    said = shell("-m", f"seed={seeds}", "profile=smoke")
    assert said.status == status
    number = len(seeds.split(","))
    *lines, end, again = said.out.strip().splitlines()[-number - 2 :]
    assert end == last
    assert again.startswith("this table again: python scripts/collect.py --multirun ")
    for seed, line in zip(seeds.split(","), lines, strict=True):
        how = "refused: seed=-1" if seed == "-1" else ENDINGS[int(seed)]
        assert f"seed={seed} " in line
        assert line.split("  ")[-1].strip().startswith(how)
        assert line.startswith("-" if seed == "-1" else "deit-")
        assert ("out of memory" in line) == (seed == "1")
        assert ("profile=smoke" in line) == (number == 1), "only what varies"


@pytest.mark.parametrize(("seed", "status"), [(0, 0), (1, 1), (2, 0), (3, 75), (4, 69)])
def test_a_single_run_says_by_its_exit_status_how_it_ended(
    shell: Callable, seed: int, status: int
) -> None:
    assert shell(f"seed={seed}", "profile=smoke").status == status


def test_an_interrupted_multirun_starts_nothing_more(shell: Callable, trained: list[dict]) -> None:
    said = shell("-m", "seed=3,0", "profile=smoke")
    assert [config.seed for config in trained] == [3]
    assert "not started" in said.out
    assert said.status == 75


def test_ctrl_c_between_the_runs_is_one_line_and_130(
    shell: Callable, train, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_config: RunConfig) -> JobReport:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "run_job", interrupt)
    said = shell("seed=0", "profile=smoke")
    assert said.status == 130
    assert said.err.strip() == "interrupted; run the same command again to continue"


def test_a_bug_keeps_its_traceback(shell: Callable, train, monkeypatch: pytest.MonkeyPatch) -> None:
    def bug(_config: RunConfig) -> JobReport:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(command, "run_job", bug)
    with pytest.raises(ZeroDivisionError):
        shell("-m", "seed=0,1", "profile=smoke")


def test_a_lost_worker_is_one_line(shell: Callable, train, monkeypatch: pytest.MonkeyPatch) -> None:
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    def lost() -> None:
        raise TerminatedWorkerError("A worker process was terminated.\nMore words.")

    monkeypatch.setattr(train, "job", lost)
    said = shell("-m", "seed=0,1", "profile=smoke")
    assert said.status == 1
    assert said.err.count("\n") == 1
    assert "A worker process was terminated." in said.err


def test_two_multiruns_keep_both_of_their_records(shell: Callable, tmp_path: Path) -> None:
    for seed in ("0", "2"):
        assert shell("-m", f"seed={seed}", "profile=smoke").status == 0
    kept = list((tmp_path / "results" / "runs" / ".hydra").glob("*/multirun.yaml"))
    assert len(kept) == 2
    assert {"seed=2" in path.read_text() for path in kept} == {True, False}
    assert list((tmp_path / "cwd").iterdir()) == []


def test_a_folder_that_a_person_chose_is_written_by_one_multirun_only(
    shell: Callable, tmp_path: Path
) -> None:
    asked = [f"hydra.sweep.dir={tmp_path / 'mine'}", "profile=smoke"]
    first = shell("-m", "seed=-1,-2", *asked)
    in_workers = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=1")
    second = shell("-m", "seed=-3", *in_workers, *asked)
    assert (first.status, second.status) == (2, 2)
    for name, typed in (("mine", "seed=-1,-2"), ("mine-2", "seed=-3")):
        assert typed in (tmp_path / name / "multirun.yaml").read_text()
        ended = read_endings(tmp_path / name)
        assert [one.overrides[0] for one in ended] == [
            f"seed={seed}" for seed in typed.removeprefix("seed=").split(",")
        ]


def test_a_job_returns_the_headline_metric_and_none_without_a_result(
    shell: Callable, train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    returned: list[float | None] = []
    job = train.command.job
    monkeypatch.setattr(train.command, "job", lambda c: returned.append(job(c)) or returned[-1])
    for seed, value, crash in ((0, 81.5, None), (2, 12.0, CRASHED)):
        leave(tmp_path / "results", run_of(seed=seed), value, crash=crash)
    said = shell("-m", "seed=0,2,1,-1", "profile=smoke")
    assert returned == [81.5, 12.0, None, None]
    assert said.status == 1
    lines = said.out.splitlines()[-6:-2]
    assert [line.split()[2] for line in lines] == ["81.50", "12.00", "-", "-"]
    assert shell("seed=0", "profile=smoke").status == 0, "a number is no exit status"


@pytest.fixture
def optuna(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretend that Optuna and its plugin are installed."""
    monkeypatch.setattr(plugins, "plugin_installed", lambda _: True)
    monkeypatch.setattr(plugins, "import_problem", lambda: "")


@pytest.mark.usefixtures("optuna")
def test_optuna_looks_for_the_largest_value() -> None:
    asked = read_arguments(["-m", "hydra/sweeper=optuna", "hydra.sweeper.n_jobs=3", "seed=0,1"])
    ready = ready_for_hydra(asked, CONF_DIR)
    assert ready[3:] == [
        "hydra.sweeper.direction=maximize", "hydra.sweeper.max_failure_rate=1.0", "-m",
    ]  # fmt: skip
    asked = read_arguments(["-m", "seed=0,1"])
    assert ready_for_hydra(asked, CONF_DIR) == ["seed=0,1", "-m"]


@pytest.mark.usefixtures("optuna")
@pytest.mark.parametrize("direction", ["minimize", "[maximize]", "[maximize,minimize]"])
def test_optuna_is_not_asked_for_the_smallest_value_or_for_several(
    shell: Callable, trained: list[dict], direction: str
) -> None:
    asked = f"hydra.sweeper.direction={direction}"
    said = shell("-m", "hydra/sweeper=optuna", asked, "seed=0,1", "profile=smoke")
    assert (said.status, trained) == (2, [])
    assert said.err.startswith(f"error: {asked}: only maximize is allowed, ")
    assert said.err.count("\n") == 1
    for allowed in ("maximize", "'maximize'"):
        asked = read_arguments(["-m", "hydra/sweeper=optuna", f"hydra.sweeper.direction={allowed}"])
        assert "hydra.sweeper.n_jobs=1" in ready_for_hydra(asked, CONF_DIR)


NOT_THERE = ": not allowed; write lr.base=interval("


@pytest.mark.usefixtures("optuna")
@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("hydra.sweeper.n_trials=0", ": must lie in [1, 1000000000], a whole number"),
        ("hydra.sweeper.n_trials=-1", ": must lie in [1, "),
        ("hydra.sweeper.n_jobs=0", ": must lie in [1, "),
        ("hydra.sweeper.max_failure_rate=2", ": must lie in [0, 1]"),
        ("hydra.sweeper.search_space.lr.base.type=float", NOT_THERE),
        (
            "+hydra.sweeper.search_space.lr.base.type=float",
            ": not allowed; write lr.base=interval(",
        ),
        (
            "hydra.sweeper.params={lr.base:'interval(1e-3,1e-2)'}",
            ": not allowed; write lr.base=interval(",
        ),
        (
            "+hydra.sweeper.params={lr.base:'interval(1e-3,1e-2)'}",
            ": not allowed; write lr.base=interval(",
        ),
        ("lr.base=interval(1e-2,1e-3)", ": must begin below its end; swap 0.01 and 0.001"),
        ("lr.base=tag(log,interval(0,1e-3))", ": must begin above 0 on a logarithmic scale"),
        ("lr.base=tag(log,interval(-1,1e-3))", ": must begin above 0 on a logarithmic scale"),
        ("lr.base=interval(0,inf)", ": must have finite ends"),
        ("lr.base=interval(nan,1.0)", ": must have finite ends"),
    ],
)
def test_a_search_that_cannot_draw_a_trial_is_one_line_that_names_the_key(
    shell: Callable, trained: list[dict], asked: str, said: str
) -> None:
    answer = shell("-m", "hydra/sweeper=optuna", asked, "stem=conv,patchify", "profile=smoke")
    assert (answer.status, trained) == (2, [])
    assert answer.err.startswith(f"error: {asked.lstrip('+')}{said}")
    assert answer.err.count("\n") == 1


@pytest.mark.usefixtures("optuna")
@pytest.mark.parametrize(
    "allowed",
    ["hydra.sweeper.n_trials=1", "hydra.sweeper.n_jobs=2", "hydra.sweeper.max_failure_rate=0.5",
     "lr.base=interval(1e-3,1e-3)", "lr.base=tag(log,interval(1e-4,1e-2))",
     "lr.base=interval(-1,2)", "hydra.sweeper.sampler.seed=1"],
)  # fmt: skip
def test_settings_of_a_search_that_mean_something_reach_hydra(allowed: str) -> None:
    asked = read_arguments(["-m", "hydra/sweeper=optuna", allowed])
    assert allowed in ready_for_hydra(asked, CONF_DIR)


def test_settings_of_other_sweepers_are_left_alone() -> None:
    asked = read_arguments(["-m", "+hydra.sweeper.params.seed='0,1'"])
    assert ready_for_hydra(asked, CONF_DIR) == ["+hydra.sweeper.params.seed='0,1'", "-m"]


def test_optuna_that_cannot_be_imported_is_one_line_with_the_reason(
    shell: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugins, "plugin_installed", lambda _: True)
    monkeypatch.setitem(sys.modules, "optuna", None)  # a module that cannot be imported
    said = shell("-m", "hydra/sweeper=optuna", "seed=0,1", "profile=smoke")
    assert said.status == 2
    assert said.err.startswith("error: hydra/sweeper=optuna: optuna cannot be imported (")
    assert said.err.endswith("); run: pip install -e '.[optuna]'\n")


def test_a_multirun_says_at_once_why_a_run_is_refused(shell: Callable) -> None:
    said = shell("-m", "seed=0,-1,2", "profile=smoke")
    lines = said.out.splitlines()
    (reason,) = (at for at, line in enumerate(lines) if "[WARNING] - refused: seed=-1: " in line)
    (following,) = (at for at, line in enumerate(lines) if "#2 : seed=2" in line)
    assert reason < following
    assert "refused" not in shell("seed=-1", "profile=smoke").out, "one run: the last line has it"


@pytest.mark.parametrize(
    ("typed", "asked"),
    [
        ("lr.base=-1,-2", {"-1": " (asked for: lr.base=-1)", "-2": " (asked for: lr.base=-2)"}),
        ("lr.base=-1", {"-1": ""}),
        ("lr.base=-1 stem=conv,patchify", {"-1": " (all 2 runs)"}),
        (
            "lr.base=-1,-2 seed=0,1,2,3",
            {
                "-1": " (asked for: lr.base=-1 seed=0; lr.base=-1 seed=1; 2 more)",
                "-2": " (asked for: lr.base=-2 seed=0; lr.base=-2 seed=1; 2 more)",
            },
        ),
    ],
)
def test_a_multirun_of_wrong_input_ends_with_each_reason_once_and_whose_it_is(
    shell: Callable, typed: str, asked: dict[str, str]
) -> None:
    said = shell("-m", *typed.split(), "profile=smoke")
    reasons = {rate: f"lr.base={rate}: must be greater than 0 and finite" for rate in asked}
    assert said.err.splitlines() == [f"error: {reasons[r]}{asked[r]}" for r in asked]
    assert (said.status, "must be greater" in said.out) == (2, False)


def test_files_that_no_run_of_a_multirun_finds_are_said_once(
    real_shell: Callable, tmp_path: Path
) -> None:
    missing = f"data.root={tmp_path / 'none'}"
    said = real_shell("-m", "seed=0,1,2", "data=imagefolder", missing, "profile=smoke")
    (line,) = said.err.splitlines()
    assert line.startswith(f"error: {tmp_path / 'none'}: no such folder")
    assert line.endswith(" (all 3 runs)")
    assert (said.status, "no such folder" in said.out) == (2, False)


def test_what_was_refused_first_is_said_before_the_first_run_trains(shell: Callable) -> None:
    said = shell("-m", "seed=-1,0", "profile=smoke")
    lines = said.out.splitlines()
    told = "[WARNING] - refused: seed=-1: must lie in [0, 4294967295], a whole number (#0: seed=-1 "
    (reason,) = (at for at, line in enumerate(lines) if told in line)
    (first,) = (at for at, line in enumerate(lines) if "#1 : seed=0" in line)
    assert first < reason
    assert (said.status, said.err) == (1, "")


def test_what_its_images_refuse_is_said_before_the_next_run_trains(real_shell: Callable) -> None:
    said = real_shell("-m", "data.fraction=0.001,0.1", "profile=smoke")
    lines = said.out.splitlines()
    (reason,) = (at for at, line in enumerate(lines) if "[WARNING] - refused: at most 11 " in line)
    trained = next(at for at, line in enumerate(lines) if "step 2/4" in line)
    assert reason < trained
    assert (said.status, said.err) == (1, "")


def test_optuna_that_is_not_installed_is_one_line(
    shell: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugins, "plugin_installed", lambda _: False)
    said = shell("-m", "hydra/sweeper=optuna", "seed=0,1", "profile=smoke")
    assert said.status == 2
    assert said.err.endswith("is not installed; run: pip install -e '.[optuna]'\n")


def test_nothing_is_written_where_the_command_was_typed(shell: Callable, tmp_path: Path) -> None:
    assert shell("seed=0", "profile=smoke").status == 0
    assert list((tmp_path / "cwd").iterdir()) == []


@pytest.mark.parametrize("typed", ["seed=0", "-m seed=0,2", "-m seed=0,2 hydra/launcher=joblib"])
def test_results_that_cannot_be_written_are_one_line(
    real_shell: Callable, tmp_path: Path, typed: str
) -> None:
    (tmp_path / "file").write_text("")
    said = real_shell(*typed.split(), "profile=smoke", results=tmp_path / "file")
    assert said.status == 2, "nothing was tried"
    assert said.err.startswith(f"error: cannot write {tmp_path / 'file'}")
    assert "choose another results folder (paths.results=" in said.err
    assert said.err.count("\n") == 1


NOT_THERE = [
    (
        "data=imagefolder",
        "data/imagefolder: no such folder; set data.root to a folder with "
        "train/<class>/<images>, or with train.pack",
    ),
    ("data=imagefolder data.root=/no/such/place", "/no/such/place: no such folder; set data."),
    (
        "data=imagefolder data.root={images}",
        "{images}/val: no such folder (found in {images}: ",
    ),
    ("data=imagefolder profile=paper precision=fp32 data.root=/no", "/no: no such folder"),
    ("data=cifar10 data.root={images}/file/x", "{images}/file/x: CIFAR-10 is not there"),
    ("init=checkpoint init.path=/no/such.pth", "/no/such.pth: no such file"),
    (
        "recipe=volo model=volo_d1 data.token_labels=/no/such/maps",
        "/no/such/maps: no such folder; set data.token_labels",
    ),
    (
        "recipe=linear_probe model=volo_d1",
        "task.num_blocks=4: reads the class token behind each of the last blocks; VOLO-",
    ),
    ("recipe=deit data=market1501", "so scaledrelu.evals.classification.Top1 has no classes to"),
    ("recipe=reid data=digits", "data.name=digits: has no query and gallery images, which "),
    ("init=run init.run=dino-0123456789ab", "runs/dino-0123456789ab: no such run ("),
    (
        "init=checkpoint init.path={images}/file init.sha256=abc",
        "init.sha256=abc: must be the SHA-256 of the file init.path, 64 hexadecimal digits, or "
        "null for any file",
    ),
    (
        "recipe=volo model=volo_d1 data.token_labels={images}",
        "{images}: holds no label map (<class>/<image>.pt); set data.token_labels",
    ),
    ("recipe=reid", "data.root=made, but the data set has not been generated; run `python "),
    (
        "stem=patchify stem.norm=batch",
        "stem.norm=batch: has no effect, since it follows convolutions and this stem has none; "
        "layers behind the projection are its tail, e.g. stem=patchify_bn_relu or "
        "stem.tail=[batch,relu]",
    ),
    (
        "data.root=/no/such/place",
        "data.root=/no/such/place: has no effect, since digits come with scikit-learn (at mini "
        "and smoke they stand in for imagenet1k); write data=imagefolder to train on your own "
        "images",
    ),
]
# A file that is missing, and a value without effect; the others are told in the same way.
QUICK = ("data=imagefolder", "stem=patchify stem.norm=batch")
MULTIRUNS = [
    pytest.param(typed, line, True, marks=() if typed in QUICK else pytest.mark.slow)
    for typed, line in NOT_THERE
]


@pytest.mark.parametrize(
    ("typed", "line", "several"), [*((*case, False) for case in NOT_THERE), *MULTIRUNS]
)
def test_files_that_are_not_there_are_one_line_and_no_folder_of_a_run_is_made(
    real_shell: Callable, tmp_path: Path, typed: str, line: str, several: bool
) -> None:
    images = write_images(tmp_path / "images")
    shutil.rmtree(images / "val")
    (images / "file").touch()
    words = typed.format(images=images).split()
    profile = [] if "profile" in typed else ["profile=smoke"]
    jobs = ["-m", "seed=0,1", "hydra/launcher=slots"] if several else []
    said = real_shell(*jobs, *words, *profile)
    assert said.status == 2, said.out + said.err
    assert line.format(images=images) in said.err
    assert len(said.err.strip().splitlines()) == 1
    assert list((tmp_path / "results" / "runs").glob("*-*/")) == []


@pytest.mark.parametrize("root", ["data.root={tmp}/nowhere", "data.root=data/imagefolder"])
def test_results_of_other_images_are_no_answer_where_the_images_are_missing(
    real_shell: Callable, tmp_path: Path, root: str
) -> None:
    asked = ["data=imagefolder", "profile=smoke"]
    images = f"data.root={write_images(tmp_path / 'images')}"
    place = f"paths.results={tmp_path / 'results'}"
    leave(tmp_path / "results", compose([*asked, images, place]), 70.0)
    assert real_shell(*asked, images).status == 0, "done already"
    said = real_shell(*asked, root.format(tmp=tmp_path))
    assert said.status == 2
    assert "no such folder; set data.root to a folder" in said.err


def test_a_run_that_is_done_needs_no_data_if_its_file_or_a_digest_says_which(
    real_shell: Callable, tmp_path: Path
) -> None:
    images = write_images(tmp_path / "images")
    asked = ["data=imagefolder", f"data.root={images}", "profile=smoke"]
    config = compose([*asked, f"paths.results={tmp_path / 'results'}"])
    leave(tmp_path / "results", config, 70.0)
    shutil.rmtree(images)
    assert real_shell("--run", run_id(config)).status == 0
    assert real_shell(*asked, f"data.digest={config.data.digest}").status == 0
    assert real_shell(*asked, f"data.digest={config.data.digest}", "seed=1").status == 2


def test_a_planned_run_is_refused_a_folder_that_has_no_effect(
    real_shell: Callable, tmp_path: Path
) -> None:
    config = run_of()
    plan_in(tmp_path / "results", config)
    said = real_shell("--run", run_id(config), "data.root=/no/such/place")
    assert said.status == 2
    assert "data.root=/no/such/place: has no effect" in said.err


def test_a_folder_of_ones_own_adds_options(
    shell: Callable, trained: list[dict], tmp_path: Path
) -> None:
    own = tmp_path / "own"
    (own / "stem").mkdir(parents=True)
    (own / "stem" / "mine.yaml").write_text("defaults: [conv, _self_]\nlabel: mine\n")
    for typed in (["-cd", str(own)], [f"hydra.searchpath=[file://{own}]"]):
        said = shell(*typed, "stem=mine", "profile=smoke")
        assert said.status == 0, said.err
    assert [config.stem.label for config in trained] == ["mine", "mine"]
    assert "did you mean" in shell("-cd", str(own), "stem=mime", "profile=smoke").err


def child(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(TRAIN), *arguments], capture_output=True, text=True, cwd=cwd,
        timeout=240, env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )  # fmt: skip


def test_a_multirun_in_slots_trains_each_run_in_a_process_of_its_own(tmp_path: Path) -> None:
    images = write_images(tmp_path / "images")
    asked = [
        "-m", "hydra/launcher=slots", "hydra.launcher.n_jobs=2", "seed=0,1,-1", "profile=smoke",
        "data=imagefolder", f"data.root={images}", "data.image_size=16", "data.in_memory=false",
        "launch.workers=1", f"paths.results={tmp_path / 'r'}",
    ]  # fmt: skip
    done = child(*asked, cwd=tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    *lines, last, _again = done.stdout.strip().splitlines()[-5:]
    assert last == "1 of 3 runs failed"
    log = [line for line in done.stdout.splitlines() if line.startswith("[")]
    assert sum(" started" in line for line in log) == 2
    assert sum(" ok val/top1 " in line for line in log) == 2
    assert sum("#2 refused: seed=-1: " in line for line in log) == 1
    assert [line.split("  ")[-1].strip().partition(":")[0] for line in lines] == [
        "ok", "ok", "refused",
    ]  # fmt: skip
    results = list((tmp_path / "r" / "runs").glob("deit-*/result.json"))
    assert len(results) == 2
    name = results[0].parent.name
    again = child("--run", name, f"paths.results={tmp_path / 'r'}", cwd=tmp_path)
    assert again.returncode == 0
    assert "is done already" in again.stdout


def write_images(root: Path) -> Path:
    rng = np.random.RandomState(0)
    for split, count in (("train", 40), ("val", 4)):
        for name in ("cat", "dog"):
            (root / split / name).mkdir(parents=True)
            for i in range(count):
                noise = rng.randint(0, 256, (20, 20, 3), dtype=np.uint8)
                Image.fromarray(noise).save(root / split / name / f"{i}.png")
    return root


def test_wrong_input_in_the_workers_of_joblib_is_said_and_exits_2(tmp_path: Path) -> None:
    done = child(
        "-m", "hydra/launcher=joblib", "hydra.launcher.n_jobs=1", "lr.base=-1,-2",
        "profile=smoke", f"paths.results={tmp_path / 'r'}", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 2, done.stdout + done.stderr
    said = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert ["lr.base=-1" in said[0], "lr.base=-2" in said[1]] == [True, True]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["r"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("strides: [2, 1, 1\nlabel: a\n", "line 2: not valid YAML (expected ',' or ']', but got"),
        ("a: b: c\n", "line 1: not valid YAML (mapping values are not allowed here)"),
        ("label: a\nlabel: b\n", "line 2: not valid YAML (found duplicate key label)"),
        ("\tlabel: a\n", "line 1: not valid YAML (found character"),
    ],
)
@pytest.mark.parametrize("more", [[], ["-m", "seed=0,1"], ["--cfg", "job"]], ids=str)
def test_an_option_that_is_no_yaml_gets_one_line(
    shell: Callable, tmp_path: Path, trained: list, text: str, reason: str, more: list[str]
) -> None:
    own = tmp_path / "own" / "stem" / "draft.yaml"
    own.parent.mkdir(parents=True)
    own.write_text(text)
    said = shell("-cd", str(own.parents[1]), "stem=draft", *more)
    assert (said.status, trained) == (2, [])
    assert said.err.splitlines() == [said.err.strip()]
    assert said.err.startswith(f"error: {own}, {reason}")


def test_a_plan_with_an_option_that_is_no_yaml_gets_one_line(tmp_path: Path) -> None:
    conf = Path(shutil.copytree(CONF_DIR, tmp_path / "conf"))
    own = conf / "stem" / "draft.yaml"
    own.write_text("strides: [2, 1, 1\nlabel: a\n")
    with pytest.raises(ConfigError, match=f"{own}, line 2: not valid YAML"):
        compose_unpinned(["stem=draft"], conf_dir=conf)
