"""A search with Optuna over train.py, for real; the extra [optuna] is not part of the lock."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from scaledrelu.config.launchers import OPTUNA_PLUGIN, plugin_installed
from scaledrelu.reports.frame import load_runs

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(
    not plugin_installed(OPTUNA_PLUGIN) or importlib.util.find_spec("optuna") is None,
    reason="Hydra's Optuna plugin is not installed (pip install -e '.[optuna]')",
)


def search(results: Path, *asked: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable, str(ROOT / "scripts" / "train.py"), "-m", "hydra/sweeper=optuna",
        "hydra.sweeper.sampler.seed=1", "profile=smoke", f"paths.results={results}", *asked,
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, cwd=results, timeout=240)


def test_a_search_finds_the_trial_with_the_largest_headline_metric(tmp_path: Path) -> None:
    rate = "lr.base=tag(log,interval(1e-4,1e-2))"
    done = search(tmp_path, "hydra.sweeper.n_trials=2", "stem=conv", rate)
    assert done.returncode == 0, done.stdout + done.stderr
    runs = load_runs(tmp_path)
    assert len(runs) == 2
    (found,) = (tmp_path / "runs" / ".hydra").glob("*/optimization_results.yaml")
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
    import optuna

    trials = optuna.load_study(study_name="rates", storage=f"sqlite:///{tmp_path}/study.db").trials
    value = {float(trial.params["lr.base"]): trial.value for trial in trials}
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
