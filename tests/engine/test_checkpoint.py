"""A checkpoint is whole or it is not used; a torn one falls back to the one before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from scaledrelu.engine.checkpoint import (
    COMPLETE,
    DAMAGED,
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


def test_a_checkpoint_of_another_run_falls_back_to_the_own_one_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for step, name in ((1, "deit-a"), (2, "deit-b")):
        save_checkpoint(tmp_path, {"step": step, "run_id": name})
    assert load_latest(tmp_path, run_id="deit-a")["step"] == 1
    assert f"{LAST}: is the checkpoint of deit-b, not of deit-a." in caplog.text
    assert sorted(p.name for p in tmp_path.iterdir()) == [DAMAGED, PREVIOUS]


def test_a_run_with_checkpoints_of_another_run_only_is_refused(tmp_path: Path) -> None:
    for step in (1, 2):
        save_checkpoint(tmp_path, {"step": step, "run_id": "deit-b"})
    with pytest.raises(CheckpointError, match="is the checkpoint of deit-b, not of deit-a"):
        load_latest(tmp_path, run_id="deit-a")
    assert sorted(p.name for p in tmp_path.iterdir()) == [LAST, PREVIOUS]


def test_a_checkpoint_of_an_older_version_names_no_run_and_is_accepted(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, {"step": 1})
    assert load_latest(tmp_path, run_id="deit-a")["step"] == 1


def test_two_torn_checkpoints_never_restart_in_silence(tmp_path: Path) -> None:
    for name in (LAST, PREVIOUS):
        (tmp_path / name).write_bytes(b"torn")
    with pytest.raises(CheckpointError, match="no checkpoint of this run can be read") as refused:
        load_latest(tmp_path)
    assert all(name in str(refused.value) for name in (LAST, PREVIOUS, "move them away"))
    assert "\n" not in str(refused.value)
    assert sorted(p.name for p in tmp_path.iterdir()) == [LAST, PREVIOUS], "nothing is thrown away"


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


def whole(folder: Path) -> bytes:
    """Save a checkpoint of every kind of content; return its bytes."""
    torch.manual_seed(0)
    save_checkpoint(
        folder, {"task": {"w": torch.randn(40, 9)}, "cursor": {"step": 7, "seconds": 1.5}}
    )
    return (folder / LAST).read_bytes()


def flips(data: bytes) -> Iterator[tuple[int, bytes]]:
    """One bit of every fourth byte."""
    for at in range(0, len(data), 4):
        yield at, data[:at] + bytes([data[at] ^ 1 << at // 4 % 8]) + data[at + 1 :]


def zeroed(data: bytes, page: int = 64) -> Iterator[tuple[int, bytes]]:
    """One page after the other without its content."""
    for at in range(0, len(data), page):
        yield at, data[:at] + bytes(len(data[at : at + page])) + data[at + page :]


def same(one: object, other: object) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return one == other


@pytest.mark.parametrize("harm", [flips, zeroed])
def test_no_damage_to_any_byte_is_loaded(tmp_path: Path, harm) -> None:
    data, path = whole(tmp_path), tmp_path / LAST
    read_checkpoint(path)
    for at, damaged in harm(data):
        if damaged == data:  # a page of zeros
            continue
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError) as refused:
            read_checkpoint(path)
        assert "\n" not in str(refused.value), f"byte {at}"


def test_a_checkpoint_of_a_version_without_a_seal_is_checked_by_its_archive(tmp_path: Path) -> None:
    good, path = {"task": {"w": torch.randn(40, 9)}, "step": 7, COMPLETE: True}, tmp_path / LAST
    torch.save(good, path)
    data = path.read_bytes()
    assert same(read_checkpoint(path), good)
    for harm in (flips, zeroed):
        for at, damaged in harm(data):
            path.write_bytes(damaged)
            try:
                state = read_checkpoint(path)
            except CheckpointError:
                continue
            assert same(state, good), f"byte {at}"


def test_damage_falls_back_and_the_next_save_keeps_the_good_one(tmp_path: Path, caplog) -> None:
    for step in (1, 2):
        save_checkpoint(tmp_path, {"step": step})
    data = bytearray((tmp_path / LAST).read_bytes())
    data[len(data) // 2] ^= 4
    (tmp_path / LAST).write_bytes(data)
    assert load_latest(tmp_path)["step"] == 1
    assert [r.levelname for r in caplog.records] == ["WARNING"]
    assert "damaged" in caplog.text
    assert "Resuming from previous.pt instead" in caplog.text
    assert (tmp_path / DAMAGED).read_bytes() == data, "kept, but not as a checkpoint"
    save_checkpoint(tmp_path, {"step": 2})
    assert load_latest(tmp_path)["step"] == 2
    (tmp_path / LAST).unlink()
    assert load_latest(tmp_path)["step"] == 1


def test_a_checkpoint_of_something_else_is_passed_over(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, {"cursor": {"step": 1}})
    save_checkpoint(tmp_path, {0: torch.ones(2), 1: 3})
    assert load_latest(tmp_path, entries=["cursor"])["cursor"] == {"step": 1}
    with pytest.raises(CheckpointError, match=r"not a checkpoint of this run \(no task\)"):
        load_latest(tmp_path, entries=["task"])


def test_a_link_that_leads_nowhere_is_no_fresh_start(tmp_path: Path) -> None:
    (tmp_path / LAST).symlink_to(tmp_path / "unmounted")
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        load_latest(tmp_path)
