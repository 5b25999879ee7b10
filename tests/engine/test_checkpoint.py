"""A checkpoint is whole or it is not used; a torn one falls back to the one before."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from scaledrelu.engine.checkpoint import (
    LAST,
    PREVIOUS,
    load_latest,
    read_checkpoint,
    save_checkpoint,
)
from scaledrelu.errors import CheckpointError


def test_nothing_saved_is_a_fresh_start(tmp_path: Path) -> None:
    assert load_latest(tmp_path) is None


def test_the_newest_is_loaded_and_the_one_before_is_kept(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        save_checkpoint(tmp_path, {"step": step, "w": torch.ones(3) * step})
    assert load_latest(tmp_path)["step"] == 3
    assert read_checkpoint(tmp_path / PREVIOUS)["step"] == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == [LAST, PREVIOUS]


@pytest.mark.parametrize("keep", [0, 10, 500, -1])
def test_a_torn_checkpoint_falls_back_to_the_one_before(tmp_path: Path, keep: int) -> None:
    for step in (1, 2):
        save_checkpoint(tmp_path, {"step": step})
    data = (tmp_path / LAST).read_bytes()
    (tmp_path / LAST).write_bytes(data[:keep])
    assert load_latest(tmp_path)["step"] == 1


def test_a_kill_between_the_two_renames_loses_nothing(tmp_path: Path) -> None:
    for step in (1, 2):
        save_checkpoint(tmp_path, {"step": step})
    (tmp_path / LAST).replace(tmp_path / PREVIOUS)
    assert load_latest(tmp_path)["step"] == 2


def test_a_file_without_the_marker_is_not_trusted(tmp_path: Path) -> None:
    torch.save({"step": 5}, tmp_path / LAST)
    with pytest.raises(CheckpointError, match="can be read"):
        load_latest(tmp_path)


def test_two_torn_checkpoints_never_restart_in_silence(tmp_path: Path) -> None:
    for name in (LAST, PREVIOUS):
        (tmp_path / name).write_bytes(b"torn")
    with pytest.raises(CheckpointError, match="delete them to train this run from the start"):
        load_latest(tmp_path)


def test_a_full_disk_leaves_the_older_checkpoints_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_checkpoint(tmp_path, {"step": 1})

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(tmp_path, {"step": 2})
    monkeypatch.undo()
    assert load_latest(tmp_path)["step"] == 1
    assert [p.name for p in tmp_path.iterdir()] == [LAST]


def test_a_pickle_that_runs_code_is_refused(tmp_path: Path) -> None:
    torch.save({"step": 1, "complete": True, "evil": Path}, tmp_path / LAST)
    with pytest.raises(CheckpointError):
        read_checkpoint(tmp_path / LAST)
