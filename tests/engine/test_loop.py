"""The loop on one process: every state comes back after a stop, no poison is applied or saved."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from loop_toys import TOTAL, build, flat, go

from scaledrelu.engine.checkpoint import LAST, load_latest, read_checkpoint
from scaledrelu.engine.divergence import Kind


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    assert not go(build(), folder).interrupted
    return folder


@pytest.mark.parametrize("step", range(1, TOTAL))
def test_a_run_stopped_after_any_step_ends_in_the_same_state_in_every_part(
    step: int, whole: Path, tmp_path: Path
) -> None:
    ending = go(build(), tmp_path, stop_after=step)
    assert ending.interrupted
    assert ending.cursor.step == step
    go(build(), tmp_path)
    assert flat(read_checkpoint(tmp_path / LAST)) == flat(read_checkpoint(whole / LAST))
    assert (tmp_path / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()


def test_a_run_killed_between_two_checkpoints_repeats_the_lost_steps_alike(
    whole: Path, tmp_path: Path
) -> None:
    run = build()
    update = run.update.apply
    run.update.apply = lambda skip, t: update(skip, t) if t.step < 9 else 1 / 0
    with pytest.raises(ZeroDivisionError):
        go(run, tmp_path)
    assert load_latest(tmp_path)["cursor"]["step"] == 8
    go(build(), tmp_path)
    assert flat(read_checkpoint(tmp_path / LAST)) == flat(read_checkpoint(whole / LAST))
    assert (tmp_path / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()


@pytest.mark.parametrize("read_every", [1, 100])
def test_what_follows_a_non_finite_loss_is_neither_applied_nor_saved(
    read_every: int, tmp_path: Path
) -> None:
    clean = build()
    go(clean, tmp_path / "clean", stop_after=3)
    run = build(bad=((3, 1),), read_every=read_every)
    ending = go(run, tmp_path / "bad")
    assert (ending.verdict.kind, ending.verdict.step) == (Kind.NON_FINITE, 3)
    for name, value in clean.task.state_dict().items():
        assert torch.equal(run.task.state_dict()[name], value), name
    assert load_latest(tmp_path / "bad")["cursor"]["step"] == 2
    assert ending.cursor.step == 4, "a checkpoint that falls due reads the flag first"
