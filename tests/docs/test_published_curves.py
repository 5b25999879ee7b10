"""What docs/reports.md shows of Figure 1 and of the paper's epochs is what published runs say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from scaledrelu.reports.figure1 import write as figure1
from scaledrelu.reports.milestones import write_milestones
from scaledrelu.tables.settings import Settings, load_settings
from tests.helpers.documents import ROOT

PAGE = (ROOT / "docs" / "reports.md").read_text().splitlines()


@pytest.fixture
def settings(tmp_path: Path, composed_before: Path) -> Settings:
    """The published runs of mini as results."""
    (tmp_path / "runs").symlink_to(ROOT / "results" / "published" / "mini" / "runs")
    known = composed_before / ".cache"
    known.mkdir(exist_ok=True)
    (tmp_path / ".cache").symlink_to(known)
    settings = load_settings(["profile=mini", "seeds=table"])
    return replace(settings, results=tmp_path)


def test_the_page_shows_what_the_published_runs_say(settings: Settings, monkeypatch) -> None:
    monkeypatch.setattr(figure1, "draw", lambda *_: [])
    files = [*figure1.write_figure1_of(settings), *write_milestones(settings)]
    written = {line for path in files if path.suffix == ".md" for line in path.open()}
    shown = [line for line in PAGE if "| absolute |" in line or line.startswith("| C0")]
    assert len(shown) == 7 + 6
    assert [line for line in shown if f"{line}\n" not in written] == []
