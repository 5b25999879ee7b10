"""However a run is interrupted, what it ends with is what it would have ended with."""

from __future__ import annotations

import contextlib
import os
import pty
import random
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from scaledrelu.config.compose import compose
from scaledrelu.config.run import RunConfig
from scaledrelu.engine.checkpoint import load_latest
from scaledrelu.engine.logbook import Logbook
from scaledrelu.runs.spawn import run_job
from tests.helpers.tiny_runs import fingerprint, folder_of, weights_of

# Everything that has state or draws at random, in twelve steps of which every third is logged.
EVERYTHING = (
    "profile=smoke", "stem=conv", "stem.hidden=4", "model.depth=2", "model.width=16",
    "model.drop_path=0.1", "ema={decay: 0.9}",
    "augment.mixup=0.8", "augment.cutmix=1.0", "augment.erasing=0.5", "data.fraction=0.3",
    "augment.rand_augment=rand-m9-mstd0.5-inc1", "launch.log_every_steps=3",
    "launch.checkpoint_every_steps=2", "optimizer.clip_grad=1.0",
)  # fmt: skip


def tiny(results: Path, *overrides: str) -> RunConfig:
    return compose([*EVERYTHING, f"paths.results={results}", *overrides])


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Fingerprint and CPU time of the SAM run that the tests interrupt."""
    results = tmp_path_factory.mktemp("whole")
    config = tiny(results, "optimizer=sam")
    run_job(config)  # loads lazy imports, so that the second one is timed honestly
    folder_of(config).rename(results / "first")
    started = time.process_time()
    run_job(config)
    return {"bytes": fingerprint(config), "seconds": time.process_time() - started}


def test_kills_at_random_moments_change_no_byte(uninterrupted, tmp_path, in_child) -> None:
    """Also those in the middle of a step; ``test_kills.py`` has one between any two writes."""
    moments = random.Random(0)
    for kill in range(5):
        config = tiny(tmp_path / str(kill), "optimizer=sam")
        in_child(config, after=moments.uniform(0.02, 0.95) * uninterrupted["seconds"])
        assert in_child(config) == "ok"
        assert fingerprint(config) == uninterrupted["bytes"]


def test_one_run_killed_again_and_again_still_ends_the_same(
    uninterrupted, tmp_path, in_child
) -> None:
    config = tiny(tmp_path, "optimizer=sam")
    for step in (3, 6, 9, 12):
        assert in_child(config, at_step=step) is None
    assert in_child(config) == "ok"
    assert fingerprint(config) == uninterrupted["bytes"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_saves_and_leaves_and_the_same_command_goes_on(
    uninterrupted, tmp_path, in_child, number
) -> None:
    config = tiny(tmp_path, "optimizer=sam", "launch.checkpoint_every_steps=1000")
    assert in_child(config, number=number, at_step=6) == "interrupted"
    assert 6 <= load_latest(folder_of(config))["cursor"]["step"] < 12
    assert in_child(config) == "ok"
    assert fingerprint(config) == uninterrupted["bytes"]


def test_a_terminal_that_is_closed_costs_no_step(uninterrupted, tmp_path, in_child) -> None:
    config = tiny(tmp_path, "optimizer=sam", "launch.checkpoint_every_steps=1000")
    child, terminal = pty.fork()
    if child == 0:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # else as pytest was started, e.g. by nohup
        os._exit(0 if trained_until_the_terminal_closes(config, at_step=6) == "interrupted" else 1)
    assert os.read(terminal, 1) == b"."
    os.close(terminal)
    _, status = os.waitpid(child, 0)
    assert (os.WIFEXITED(status), os.WEXITSTATUS(status)) == (True, 0)
    assert 6 <= load_latest(folder_of(config))["cursor"]["step"] < 12
    assert in_child(config) == "ok"
    assert fingerprint(config) == uninterrupted["bytes"]


def trained_until_the_terminal_closes(config: RunConfig, *, at_step: int) -> str:
    """Train in a new terminal's process; say at a step that it is reached, and wait there."""
    torch.set_num_threads(1)
    logged = Logbook.train

    def train(logbook: Logbook, t: Any, **what: Any) -> None:
        logged(logbook, t, **what)
        if t.step + 1 == at_step:
            os.write(1, b".")
            with contextlib.suppress(OSError):
                os.read(0, 1)

    Logbook.train = train
    return run_job(config).ended.value


def test_a_torn_last_checkpoint_costs_steps_not_the_result(
    uninterrupted, tmp_path, in_child
) -> None:
    config = tiny(tmp_path, "optimizer=sam")
    assert in_child(config, at_step=6) is None
    assert (folder_of(config) / "previous.pt").exists()
    last = folder_of(config) / "last.pt"
    last.write_bytes(last.read_bytes()[:1000])
    assert in_child(config) == "ok"
    assert fingerprint(config) == uninterrupted["bytes"]


def test_fp16_with_loss_scaling_resumes_alike(tmp_path, in_child) -> None:
    overrides = ("precision=fp16_2021", "launch.fp16_on_cpu=true")
    whole, cut = tiny(tmp_path / "a", *overrides), tiny(tmp_path / "b", *overrides)
    assert in_child(whole) == "ok"
    assert in_child(cut, at_step=9) is None
    assert in_child(cut) == "ok"
    assert fingerprint(cut) == fingerprint(whole)


def test_a_fused_sgd_resumes_alike(tmp_path, in_child) -> None:
    overrides = ("optimizer=sgd", "+optimizer.build.fused=true")
    whole, cut = tiny(tmp_path / "a", *overrides), tiny(tmp_path / "b", *overrides)
    assert in_child(whole) == "ok"
    assert in_child(cut, at_step=6) is None
    assert in_child(cut) == "ok"
    assert fingerprint(cut) == fingerprint(whole)


@pytest.mark.parametrize(
    "layouts", [("true", "false"), pytest.param(("false", "true"), marks=pytest.mark.slow)]
)
def test_a_run_goes_on_in_another_memory_layout_up_to_rounding(layouts, tmp_path, in_child) -> None:
    first, second = (f"launch.channels_last={value}" for value in layouts)
    whole = tiny(tmp_path / "a", first)
    cut, resumed = (tiny(tmp_path / "b", layout) for layout in (first, second))
    assert in_child(whole) == "ok"
    assert in_child(cut, at_step=6) is None
    assert in_child(resumed) == "ok"
    expected, found = weights_of(whole), weights_of(resumed)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, atol=1e-5, err_msg=name)
