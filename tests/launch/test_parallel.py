from __future__ import annotations

import pytest

from scaledrelu.config import launch
from scaledrelu.config.compose import compose
from scaledrelu.config.run import RunConfig
from scaledrelu.errors import ConfigError
from scaledrelu.launch import parallel
from scaledrelu.launch.parallel import choose_launcher, is_small
from scaledrelu.tables.settings import load_settings
from tests.helpers.configs import with_values

SIZES = {
    "mini": ["profile=mini"],
    "mini dino": ["profile=mini", "recipe=dino"],
    "mini volo": ["profile=mini", "recipe=volo", "model=volo_d1"],
    "tiny": ["profile=small", "model.width=64", "model.heads=2", "batch.group=64"],
    "small": ["profile=small"],
    "paper": ["profile=paper", "launch=local"],
    "spread": ["profile=mini", "launch.nproc=2", "batch.group=32"],
}


@pytest.fixture(scope="module")
def configs() -> dict[str, RunConfig]:
    return {name: compose(overrides) for name, overrides in SIZES.items()}


@pytest.fixture(autouse=True)
def _no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "gpu_visible", lambda: False)


def test_runs_of_one_process_and_a_small_model_are_small(configs):
    small = {name for name, config in configs.items() if is_small(config)}
    assert small == {"mini", "mini dino", "mini volo", "tiny"}


def test_a_gpu_is_shared_only_by_runs_that_ask_for_one_thread(configs, monkeypatch):
    monkeypatch.setattr(launch, "gpu_visible", lambda: True)
    assert is_small(configs["mini"])
    assert not is_small(configs["tiny"])
    on_cpu = with_values(configs["tiny"], {"launch.device": "cpu"})
    assert is_small(on_cpu)


def test_auto_goes_parallel_where_all_runs_are_small(configs):
    settings = load_settings([])
    several = choose_launcher(settings, [configs["mini"], configs["tiny"]])
    assert several.launcher == "joblib"
    assert several.n_jobs >= 1
    one = choose_launcher(settings, [configs["mini"], configs["small"]])
    assert (one.launcher, one.n_jobs) == ("basic", 1)


@pytest.mark.parametrize(("jobs", "launcher"), [(4, "joblib"), (1, "basic")])
def test_a_number_of_jobs_is_obeyed_whatever_the_runs_are_like(configs, jobs, launcher):
    settings = load_settings([f"n_jobs={jobs}"])
    for name in ("mini", "paper"):
        chosen = choose_launcher(settings, [configs[name]])
        assert (chosen.launcher, chosen.n_jobs) == (launcher, jobs)


def test_without_joblib_runs_go_one_by_one_unless_jobs_were_asked_for(configs, monkeypatch):
    monkeypatch.setattr(parallel, "_joblib_installed", lambda: False)
    chosen = choose_launcher(load_settings([]), [configs["mini"]])
    assert (chosen.launcher, chosen.n_jobs) == ("basic", 1)
    for argument in ("n_jobs=4", "launcher=joblib"):
        with pytest.raises(ConfigError, match="pip install hydra-joblib-launcher"):
            choose_launcher(load_settings([argument]), [configs["mini"]])


@pytest.mark.parametrize("visible", ["", "-1"])
def test_hidden_gpus_are_none(monkeypatch, visible):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert launch.gpu_visible() is False
