"""A run that is killed between any two of its writes ends in the result of one that was not.

The files are copied before every write of one whole run: that is what a kill leaves at that moment.
From each copy the run is then taken up again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from scaledrelu.config.compose import compose
from scaledrelu.config.identity import run_id
from scaledrelu.config.run import RunConfig
from scaledrelu.engine.logbook import Logbook
from scaledrelu.runs import execute as execute_module
from scaledrelu.runs.ending import Ended
from scaledrelu.runs.record import Status, read_result, read_status
from scaledrelu.runs.spawn import run_job
from tests.helpers.configs import with_values
from tests.helpers.tiny_runs import ends_alike_from_its_last_checkpoint, folder_of, what_counts

# Six steps of a net of one block; everything that has state.
TINY = (
    "profile=smoke", "profile.epoch_scale=0.01", "stem=conv", "stem.hidden=4", "model.depth=1",
    "model.width=16", "model.heads=2", "ema={decay: 0.9}", "augment.mixup=0.8",
    "data.fraction=0.1", "launch.log_every_steps=1", "launch.checkpoint_every_steps=2",
)  # fmt: skip
# No loss of a run lies below a hundredth of chance, so these are dead from the first step.
ENDINGS = {
    "ok": (),
    "dead at its end": ("divergence.ratio=0.01",),
    "stopped": (
        "divergence={ratio: 0.01, stop: true, patience: 2, judge_at: 0.5, window: 0.3}",
    ),
    "not finite": ("lr.base=1e30", "optimizer.build.fused=false", "augment.mixup=0"),
}  # fmt: skip
KINDS = {
    "dino": ("augment.mixup=0", "batch.group=16", "batch.total=256"),
    "linear_probe": ("augment.mixup=0", "task.num_blocks=1"),
    "volo": ("augment.mixup=0", "model=volo_d1", "data.token_labels=none"),
}
ASIDE = (
    "rank0.log",
    "timing.jsonl",
    "run.lock",
    "ranks.lock",
    "attempt.json",
    "config.yaml",
)  # no run reads them

Files = dict[str, bytes]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execute_module, "announce", lambda *_: None)  # composes the recipe again


@contextmanager
def before_every_write(note: Callable[[], None]) -> Iterator[None]:
    """Call ``note`` before whatever changes files durably, and after every row of the metrics."""

    def noting(owner: Any, name: str) -> None:
        original = getattr(owner, name)

        def noted(*args: Any, **kwargs: Any) -> Any:
            note()
            return original(*args, **kwargs)

        patch.setattr(owner, name, noted)

    with pytest.MonkeyPatch.context() as patch:
        for name in ("replace", "rename", "unlink", "remove", "fsync"):
            noting(os, name)
        for name in ("_write", "_write_timing", "rewind", "commit", "close"):
            noting(Logbook, name)
        yield


def files_of(folder: Path) -> Files:
    return {path.name: path.read_bytes() for path in folder.glob("*")}


def left_by_kills(config: RunConfig) -> list[Files]:
    """Train a run and return the different states of its folder on the way, the last one too."""
    states: dict[tuple[tuple[str, bytes], ...], Files] = {}

    def note() -> None:
        files = files_of(folder_of(config))
        read = (pair for pair in files.items() if pair[0] not in ASIDE and "tmp" not in pair[0])
        states.setdefault(tuple(sorted(read)), files)

    with before_every_write(note):
        run_job(config)
    note()
    return list(states.values())


def tiny(results: Path, *overrides: str) -> RunConfig:
    shrunk = [x for x in TINY if "model=volo_d1" not in overrides or not x.startswith("model.")]
    return compose([*shrunk, f"paths.results={results}", *overrides])


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_kill_between_any_two_writes_changes_nothing_of_what_a_run_leaves(
    ending: str, tmp_path: Path
) -> None:
    config = tiny(tmp_path / "whole", *ENDINGS[ending])
    if ending == "not finite":
        config = with_values(config, {"launch.checkpoint_every_steps": 1})
    states = left_by_kills(config)
    whole = what_counts(config)
    crash = whole["result"]["crash"]
    expected = {"ok": None, "not finite": "non_finite"}.get(ending, "collapsed")
    assert (crash and crash["kind"]) == expected
    assert len(states) > 10, "some writes were not noticed"
    if (
        ending != "dead at its end"
    ):  # before its first checkpoint a run starts anew, whatever ends it
        states = [files for files in states if {"last.pt", "previous.pt"} & files.keys()]
    for number, files in enumerate(states):
        config = with_values(config, {"paths.results": str(tmp_path / str(number))})
        folder_of(config).mkdir(parents=True)
        for name, data in files.items():
            (folder_of(config) / name).write_bytes(data)
        run_job(config)
        assert what_counts(config) == whole, (number, sorted(files))


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=pytest.mark.slow if kind == "volo" else ()) for kind in KINDS]
)
def test_every_kind_of_run_ends_alike_when_it_is_killed_between_checkpoint_and_result(
    kind: str, tmp_path: Path
) -> None:
    overrides = [f"recipe={kind}", *KINDS[kind]]
    if kind == "linear_probe":
        parent = tiny(tmp_path, "recipe=dino", *KINDS["dino"])
        assert run_job(parent).ended == Ended.OK
        overrides += ["init=run", f"init.run={run_id(parent)}"]
    config = tiny(tmp_path, *overrides, "divergence.ratio=0.01")
    assert run_job(config).ended == Ended.CRASH
    ends_alike_from_its_last_checkpoint(config)


@pytest.mark.parametrize("ending", ["ok", "dead at its end"])
def test_a_failure_after_the_last_checkpoint_changes_nothing_of_what_a_run_leaves(
    ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, broken = (tiny(tmp_path / name, *ENDINGS[ending]) for name in ("whole", "broken"))
    run_job(whole)
    with monkeypatch.context() as patch:
        patch.setattr(execute_module, "collect_evidence", lambda *_: 1 / 0)
        assert run_job(broken).ended == Ended.FAILED
    assert read_status(folder_of(broken)) == Status.FAILED
    run_job(broken)
    assert what_counts(broken) == what_counts(whole)


def test_a_run_that_passed_says_what_was_judged_and_how_much_data_there_was(tmp_path: Path) -> None:
    config = tiny(tmp_path)
    run_job(config)
    result = read_result(folder_of(config))
    judgement = result.judgement
    assert judgement["limit"] == judgement["ratio"] * judgement["chance"]
    assert 0 < judgement["last_mean"] < judgement["limit"]
    assert (judgement["dead_windows"], judgement["dead_stretches"]) == (0, [])
    assert judgement["remark"] is None
    rows = [json.loads(x) for x in (folder_of(config) / "metrics.jsonl").read_text().splitlines()]
    losses = [row["train/loss"] for row in rows if "train/loss" in row]
    window = losses[-judgement["window_steps"] :]
    assert judgement["last_mean"] == pytest.approx(sum(window) / len(window), rel=1e-12)
    assert result.data == {"train": 142, "val": 360, "classes": 10}
