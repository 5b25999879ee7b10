"""A search with Optuna over train.py, for real; the extra [optuna] is not part of the lock."""

from __future__ import annotations

import importlib.util
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from scaledrelu.config.plugins import OPTUNA_PLUGIN, plugin_installed
from scaledrelu.reports.frame import load_runs
from tests.helpers.processes import until

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(
    not plugin_installed(OPTUNA_PLUGIN) or importlib.util.find_spec("optuna") is None,
    reason="Hydra's Optuna plugin is not installed (pip install -e '.[optuna]')",
)


def words(results: Path, *asked: str) -> list[str]:
    return [
        sys.executable, str(ROOT / "scripts" / "train.py"), "-m", "hydra/sweeper=optuna",
        "hydra.sweeper.sampler.seed=1", "profile=smoke", f"paths.results={results}", *asked,
    ]  # fmt: skip


def search(results: Path, *asked: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words(results, *asked), capture_output=True, text=True, cwd=results, timeout=240
    )


def trials_of(results: Path) -> list[Any]:
    import optuna

    return optuna.load_study(study_name="rates", storage=f"sqlite:///{results}/study.db").trials


def test_a_search_finds_the_trial_with_the_largest_headline_metric(tmp_path: Path) -> None:
    rate = "lr.base=tag(log,interval(1e-4,1e-2))"
    done = search(tmp_path, "hydra.sweeper.n_trials=2", "stem=conv", rate)
    assert done.returncode == 0, done.stdout + done.stderr
    runs = load_runs(tmp_path)
    assert len(runs) == 2
    (found,) = (tmp_path / "runs" / ".hydra").glob("*/optimization_results.yaml")
    assert "stem=conv" in (found.parent / "multirun.yaml").read_text()
    best = yaml.safe_load(found.read_text())
    assert best["best_value"] == runs["val/top1"].max()
    winners = runs[runs["val/top1"] == best["best_value"]]["lr.base"]
    assert any(rate == pytest.approx(best["best_params"]["lr.base"]) for rate in winners)
    *_, last, again = done.stdout.splitlines()
    assert last == "0 of 2 runs failed"
    assert str(found.parent.relative_to(tmp_path)) in again


def test_a_crash_counts_and_a_refused_run_fails_its_trial_alone(tmp_path: Path) -> None:
    study = ("hydra.sweeper.storage=sqlite:///study.db", "hydra.sweeper.study_name=rates")
    fixed = "hydra.sweeper.n_trials=6", "optimizer.build.fused=false"
    done = search(tmp_path, *study, *fixed, "lr.base=choice(1e-3,1e30,-1)")
    lines = [line.split("  ")[-1].strip() for line in done.stdout.splitlines()[-8:-2]]
    ended = {line.partition(":")[0] for line in lines}
    assert ended == {"ok", "crash", "refused"}, done.stdout + done.stderr
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    assert "refused: lr.base=-1: must be greater than 0" in done.stdout, "while it goes on, too"
    value = {float(trial.params["lr.base"]): trial.value for trial in trials_of(tmp_path)}
    assert value[1e30] == 0.0
    assert value[-1.0] is None
    assert value[1e-3] == load_runs(tmp_path, "lr.base=1e-3")["val/top1"][0]


def test_where_no_trial_has_a_result_the_reasons_are_said_and_nothing_else(tmp_path: Path) -> None:
    done = search(tmp_path, "hydra.sweeper.n_trials=2", "lr.base=interval(-2.0,-1.0)")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    said = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert all("must be greater than 0" in line for line in said)
    assert len(said) == 2


def test_one_ctrl_c_ends_a_search_and_leaves_no_trial_open(tmp_path: Path) -> None:
    study = ("hydra.sweeper.storage=sqlite:///study.db", "hydra.sweeper.study_name=rates")
    asked = ("hydra.sweeper.n_trials=50", "lr.base=interval(1e-4,1e-3)", "profile.epoch_scale=9")
    process = subprocess.Popen(
        words(tmp_path, *study, *asked, "launch.log_every_steps=1"), cwd=tmp_path,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    until(lambda: list(tmp_path.glob("runs/*/metrics.jsonl")), 120)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 75, said
    assert said.splitlines()[-2] == (
        "0 of 1 runs failed, 1 interrupted (run the same command again to continue)"
    )
    assert "interrupted: stopped by a signal" in said
    (trial,) = trials_of(tmp_path)
    assert trial.state.name == "FAIL"


def test_a_study_whose_choices_change_needs_another_name(tmp_path: Path) -> None:
    study = ("hydra.sweeper.storage=sqlite:///study.db", "hydra.sweeper.study_name=rates")
    for choices in ("choice(-1,-2)", "choice(-1,-3)"):
        done = search(tmp_path, *study, "hydra.sweeper.n_trials=1", f"lr.base={choices}")
    assert done.returncode == 2, "no trial was begun"
    assert "give another hydra.sweeper.study_name" in done.stderr


@pytest.mark.parametrize("storage", ["foo", "sqlite:////nowhere/study.db"])
def test_a_search_that_begins_no_trial_is_wrong_input_and_leaves_no_folder(
    tmp_path: Path, storage: str
) -> None:
    study = f"hydra.sweeper.storage={storage}", "hydra.sweeper.n_trials=1"
    done = search(tmp_path, *study, "lr.base=interval(1e-4,1e-3)")
    assert done.returncode == 2, done.stdout + done.stderr
    (said,) = (line for line in done.stderr.splitlines() if line.startswith("error: "))
    assert said.startswith("error: Optuna stopped: ")
    assert list((tmp_path / "runs" / ".hydra").iterdir()) == []
