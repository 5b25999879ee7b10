"""Fixtures of tests of digests: a small data set, its name, and what is read for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scaledrelu.config.digest import pin_data_digest
from scaledrelu.inputs import hashes
from tests.helpers.data_folders import FOLDERS, made, settle, write


@pytest.fixture
def short_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Believe times soon: two ticks of the clock of the file systems that tests run on."""
    monkeypatch.setattr(hashes, "RACY_NS", 20 * 10**6)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Two splits of two classes with two small files each, all of one size."""
    root = tmp_path / "images"
    for split in ("train", "val"):
        for name in ("a", "b"):
            for i in range(2):
                write(root / split / name / f"{i}.png", f"{split} {name} {i}".encode().ljust(16))
    settle()
    return root


@pytest.fixture
def named(tmp_path: Path) -> Callable[..., str | None]:
    """A function that gives the digest of a data set as one more command would."""

    def name(root: Path, build: dict[str, Any] = FOLDERS, **changes: Any) -> str | None:
        config = made(
            tmp_path / "results", {"data.root": str(root), "data.build": {**build, **changes}}
        )
        return pin_data_digest(config, known={}).data.digest

    return name


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that are read, and not only looked at, by their order."""
    seen: list[str] = []
    read = hashes._read_one

    def note(files: Any, index: int) -> Any:
        seen.append(files.paths[index])
        return read(files, index)

    monkeypatch.setattr(hashes, "_read_one", note)
    return seen
