"""A picture is drawn when it would show something else, or is not what was drawn; not otherwise."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scaledrelu.reports import drawn as drawn_module
from scaledrelu.reports.drawn import draw_changed


class Pen:
    """Draws two files and counts how often."""

    def __init__(self, results: Path) -> None:
        self.results, self.place, self.drawn = results, results / "mini" / "figure1", 0

    def __call__(self, shown: object) -> list[Path]:
        def draw() -> list[Path]:
            self.drawn += 1
            self.place.parent.mkdir(exist_ok=True)
            files = [self.place.with_suffix(suffix) for suffix in (".png", ".svg")]
            for path in files:
                path.write_text(f"{shown} {path.suffix}")
            return files

        return draw_changed(self.place, shown, draw, results=self.results)


@pytest.fixture
def pen(tmp_path: Path) -> Pen:
    """A pen that has drawn 1.5."""
    pen = Pen(tmp_path)
    pen(1.5)
    return pen


def test_the_same_is_not_drawn_again_and_its_files_are_named_alike(pen: Pen) -> None:
    files = pen(1.5)
    assert pen.drawn == 1
    assert files == [pen.place.with_suffix(suffix) for suffix in (".png", ".svg")]


def test_another_number_is_drawn(pen: Pen) -> None:
    pen(1.25)
    assert pen.drawn == 2
    assert pen.place.with_suffix(".svg").read_text() == "1.25 .svg"


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_a_file_that_was_changed_or_removed_is_drawn_again(pen: Pen, suffix: str) -> None:
    path = pen.place.with_suffix(suffix)
    before = path.read_bytes()
    path.write_text("something else")
    pen(1.5)
    assert path.read_bytes() == before
    path.unlink()
    pen(1.5)
    assert path.read_bytes() == before
    assert pen.drawn == 3


def test_a_note_of_no_file_is_not_taken_for_a_picture(pen: Pen) -> None:
    for path in pen(1.5):
        path.unlink()
    (note,) = (pen.results / ".cache").glob("drawn-*.json")
    note.write_text(json.dumps(json.loads(note.read_text()) | {"files": {}}))
    pen(1.5)
    assert pen.drawn == 2


def test_other_code_draws_again(pen: Pen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawn_module, "_code", lambda: "another digest")
    pen(1.5)
    assert pen.drawn == 2


@pytest.mark.parametrize("text", ["", "[]", "{}", json.dumps({"key": 1})])
def test_a_damaged_note_costs_a_drawing_and_nothing_else(pen: Pen, text: str) -> None:
    (note,) = (pen.results / ".cache").iterdir()
    note.write_text(text)
    assert pen(1.5)
    assert pen.drawn == 2


def test_pictures_of_two_profiles_do_not_share_a_note(pen: Pen) -> None:
    pen.place = pen.results / "cifar" / "figure1"
    pen(1.5)
    pen.place = pen.results / "mini" / "figure1"
    pen(1.5)
    assert pen.drawn == 2
