from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from scaledrelu.config import launch as devices
from scaledrelu.config.compose import compose
from scaledrelu.config.launch import visible_cores
from scaledrelu.config.run import RunConfig
from scaledrelu.launch import slots as module
from scaledrelu.launch.slots import is_small, slots_of

SIZES = {
    "mini": ["profile=mini"],
    "mini dino": ["profile=mini", "recipe=dino"],
    "mini volo": ["profile=mini", "recipe=volo", "model=volo_d1"],
    "tiny": ["profile=small", "model.width=64", "model.heads=2", "batch.group=64"],
    "small": ["profile=small"],
    "six groups": ["profile=small", "batch.total=768", "batch.group=64"],
    "paper": ["profile=paper", "launch=local"],
    "spread": ["profile=mini", "launch.nproc=2", "batch.group=32"],
}


@pytest.fixture(scope="module")
def configs() -> dict[str, RunConfig]:
    return {name: compose(overrides) for name, overrides in SIZES.items()}


def set_gpus(monkeypatch: pytest.MonkeyPatch, names: list[str]) -> None:
    for owner in (devices, module):
        monkeypatch.setattr(owner, "visible_gpus", lambda: names)


@pytest.fixture(autouse=True)
def _no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    set_gpus(monkeypatch, [])


def test_runs_of_one_process_and_a_small_model_are_small(configs):
    small = {name for name, config in configs.items() if is_small(config)}
    assert small == {"mini", "mini dino", "mini volo", "tiny"}


def test_a_gpu_is_shared_only_by_runs_that_ask_for_one_thread(configs, monkeypatch):
    set_gpus(monkeypatch, ["0"])
    assert is_small(configs["mini"])
    assert not is_small(configs["tiny"])
    assert is_small(with_launch(configs["tiny"], device="cpu"))


def test_where_all_runs_are_small_they_share_the_cores_else_each_has_the_machine(configs):
    assert len(slots_of([configs["mini"], configs["tiny"]])) == min(visible_cores(), 16)
    assert slots_of([configs["mini"], configs["small"]]) == [{}]


@pytest.mark.parametrize("jobs", [4, 1])
def test_a_number_of_jobs_is_obeyed_whatever_the_runs_are_like(configs, jobs):
    for name in ("mini", "paper"):
        assert len(slots_of([configs[name]], jobs)) == jobs


@pytest.fixture
def gpus(monkeypatch):
    """Four GPUs of eight, as a scheduler would name them."""
    set_gpus(monkeypatch, ["2", "3", "6", "GPU-a7"])


def seen(slots):
    return [slot["CUDA_VISIBLE_DEVICES"] for slot in slots]


@pytest.mark.usefixtures("gpus")
def test_every_slot_has_gpus_of_its_own_out_of_those_that_are_visible(configs):
    big, pair = configs["six groups"], with_launch(configs["six groups"], nproc=2)
    assert seen(slots_of([big])) == ["2", "3", "6", "GPU-a7"]
    assert seen(slots_of([pair])) == ["2,3", "6,GPU-a7"]
    assert seen(slots_of([with_launch(big, nproc=3)])) == ["2,3,6"]
    assert seen(slots_of([big], 2)) == ["2", "3"]
    assert seen(slots_of([configs["mini"]], 6)) == ["2", "3", "6", "GPU-a7", "2", "3"]
    assert slots_of([with_launch(big, device="cpu")]) == [{}]


def with_launch(config, **fields):
    return replace(config, launch=replace(config.launch, **fields))


@pytest.mark.parametrize(
    ("asked", "gpus"),
    [
        ("", []),
        ("-1", []),
        (None, ["0", "1", "2"]),
        ("2, 0", ["2", "0"]),
        ("GPU-a7", ["GPU-a7"]),
        ("0,1,", ["0", "1"]),
        ("0,-1,1", ["0"]),
    ],
)
def test_gpus_are_those_that_this_process_may_use(monkeypatch, asked, gpus):
    monkeypatch.undo()
    monkeypatch.setattr(devices.Path, "glob", lambda *_: [Path(f"nvidia{n}") for n in range(3)])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if asked is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", asked)
    assert devices.visible_gpus() == gpus
