"""What a first look at class folders costs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from scaledrelu.inputs.listing import holds_image


@pytest.mark.parametrize("nested", [False, True])
def test_a_look_for_an_image_ends_at_the_first(nested: bool, tmp_path: Path, monkeypatch) -> None:
    for number in range(20):
        place = tmp_path / "cat" / (f"{number}" if nested else "")
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number}.jpg").touch()
    listed, scandir = [], os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: listed.append(path) or scandir(path))
    assert holds_image(tmp_path, "cat")
    assert len(listed) <= 3
    (tmp_path / "dog" / "deep").mkdir(parents=True)
    (tmp_path / "dog" / "deep" / "notes.txt").touch()
    assert not holds_image(tmp_path, "dog")
