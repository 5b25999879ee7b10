"""Files are read once, and again where they may have changed; a bad store costs time alone."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scaledrelu import countdown
from scaledrelu.inputs import hashes
from tests.helpers.data_folders import OTHERS, settle, write

pytestmark = pytest.mark.usefixtures("short_wait")


def test_files_are_read_once_and_again_only_where_they_changed(
    images: Path, named: Callable[..., str | None], reads: list[str]
) -> None:
    named(images)
    assert len(reads) == 8
    reads.clear()
    named(images)
    assert reads == []
    write(images / "train/a/0.png", OTHERS)
    settle()
    named(images)
    assert reads == [str(images / "train/a/0.png")]


def test_a_file_that_was_just_written_is_not_believed_twice(
    images: Path,
    named: Callable[..., str | None],
    reads: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hashes, "RACY_NS", 10**15)
    first = named(images)
    reads.clear()
    assert named(images) == first
    assert len(reads) == 8


@pytest.mark.parametrize("place", [5, 100, -5])
def test_a_damaged_store_is_ignored_with_one_line(
    images: Path,
    named: Callable[..., str | None],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    place: int,
) -> None:
    before = named(images)
    (store,) = (tmp_path / "results/.cache/digests").iterdir()
    content = bytearray(store.read_bytes())
    content[place] ^= 1
    store.write_bytes(content)
    write(images / "train/a/0.png", OTHERS)
    with caplog.at_level(logging.WARNING):
        after = named(images)
    assert [r.getMessage().count("\n") for r in caplog.records] == [0]
    assert f"{store}: damaged or unreadable" in caplog.text
    shutil.rmtree(store.parent)
    assert after == named(images) != before


@pytest.mark.parametrize("content", [b"", b"\0" * 400, b"{}\n{}\n", b"not a store"])
def test_a_store_that_is_none_costs_time_only(
    images: Path, named: Callable[..., str | None], tmp_path: Path, content: bytes
) -> None:
    before = named(images)
    (store,) = (tmp_path / "results/.cache/digests").iterdir()
    store.write_bytes(content)
    assert named(images) == before


def test_a_results_folder_that_cannot_be_written_costs_time_only(
    images: Path, named: Callable[..., str | None], tmp_path: Path
) -> None:
    (tmp_path / "results").write_text("a file where the folder should be")
    first = named(images)
    assert named(images) == first is not None
    write(images / "train/a/0.png", OTHERS)
    assert named(images) != first


def test_what_was_read_before_a_stop_is_not_read_again(
    images: Path, named: Callable[..., str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    read, done = hashes._read_one, []

    def stop(files: Any, index: int) -> Any:
        if len(done) == 5:
            raise KeyboardInterrupt
        done.append(index)
        return read(files, index)

    monkeypatch.setattr(hashes, "_read_one", stop)
    with pytest.raises(KeyboardInterrupt):
        named(images)
    done[:] = []
    assert named(images) is not None
    assert len(done) == 3


def test_a_long_reading_says_how_long(
    images: Path,
    named: Callable[..., str | None],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(countdown, "QUIET_S", 0.0)
    monkeypatch.setattr(countdown, "EVERY_S", 1e9)
    with caplog.at_level(logging.WARNING):
        named(images)
    (line,) = [record.getMessage() for record in caplog.records]
    assert "hashing 8 data files once, for the run ids: 0.0 kB of 0.1 kB, about" in line
