"""A sweeper that searches calls a launcher again and again; a signal ends all of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from scaledrelu.config.identity import run_id
from scaledrelu.config.places import CONF_DIR
from scaledrelu.launch import slots_launcher
from scaledrelu.runs.ending import Ended
from scaledrelu.runs.spawn import train_planned
from scripts.sweep import PRELOAD
from tests.helpers.run_folders import run_of


def test_after_a_signal_no_further_trial_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    submitted = []

    class Executor:
        open_jobs = 1

        def __init__(self, *_: object, **__: object) -> None: ...

        def submit(self, jobs: list) -> None:
            submitted.extend(jobs)

        def stop(self, _: object) -> list:
            return []

        def close(self) -> None: ...

    @contextmanager
    def signalled() -> Iterator[list[int]]:
        yield [2]

    monkeypatch.setattr(slots_launcher, "LocalExecutor", Executor)
    monkeypatch.setattr(slots_launcher, "note_signals", signalled)
    launcher = slots_launcher.SlotsLauncher(1, "scaledrelu.runs.spawn.train_planned", [])
    for seed in (0, 1):
        config = run_of(seed=seed, paths__results=str(tmp_path))
        composed = slots_launcher._Composed((f"seed={seed}",), config)
        (report,) = launcher._run([composed]).values()
        assert (report.ended, report.reason) == (Ended.INTERRUPTED, "not started")
    assert [job.name for job in submitted] == [run_id(run_of(seed=0))]


def test_a_multirun_in_slots_trains_as_a_sweep_does() -> None:
    conf = yaml.safe_load((CONF_DIR / "hydra" / "launcher" / "slots.yaml").read_text())
    assert tuple(conf["preload"]) == PRELOAD
    assert conf["train"] == f"{train_planned.__module__}.{train_planned.__name__}"
