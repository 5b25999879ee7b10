from __future__ import annotations

from pathlib import Path

import pytest

from scaledrelu.engine.checkpoint import LAST, load_latest, save_checkpoint
from scaledrelu.engine.saved import PROGRESS, Saved, read_saved, write_saved
from tests.helpers.loop_toys import TOTAL, build, go


def test_what_a_run_says_to_have_saved_is_what_its_checkpoint_holds(tmp_path: Path) -> None:
    run = build()
    update = run.update.apply
    run.update.apply = lambda skip, t: update(skip, t) if t.step < 9 else 1 / 0
    with pytest.raises(ZeroDivisionError):
        go(run, tmp_path)
    assert read_saved(tmp_path) == Saved(load_latest(tmp_path)["cursor"]["step"], TOTAL)
    go(build(), tmp_path, stop_after=2)
    assert read_saved(tmp_path) == Saved(10, TOTAL)


@pytest.mark.parametrize("name", [LAST, PROGRESS])
def test_nothing_is_written_through_a_link_that_lies_in_wait(tmp_path: Path, name: str) -> None:
    precious = tmp_path / "precious"
    precious.write_text("of somebody")
    (tmp_path / f".{name}.tmp").symlink_to(precious)
    save_checkpoint(tmp_path, {"cursor": {"step": 5}})
    write_saved(tmp_path, step=5, total_steps=10)
    assert precious.read_text() == "of somebody"
    assert load_latest(tmp_path)["cursor"]["step"] == 5
    assert read_saved(tmp_path) == Saved(5, 10)


def test_without_a_checkpoint_nothing_is_saved_whatever_a_file_says(tmp_path: Path) -> None:
    write_saved(tmp_path, step=5, total_steps=10)
    assert read_saved(tmp_path) is None
    (tmp_path / "previous.pt").touch()
    assert read_saved(tmp_path) == Saved(5, 10)
    assert read_saved(tmp_path).share == 0.5


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\x00", b"[]", b"{}", b'{"step": 9, "total_steps": 5}', b'{"step": true}'],
)
def test_a_damaged_note_costs_the_step_and_no_more(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "last.pt").touch()
    (tmp_path / PROGRESS).write_bytes(content)
    assert read_saved(tmp_path) == Saved(None, None)
    assert read_saved(tmp_path).share == 0.0
