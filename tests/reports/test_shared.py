"""One command looks at every run once, however many reports it writes, and they stay the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scaledrelu.config.places import CONF_DIR
from scaledrelu.runs import record
from scaledrelu.tables.cell_planner import CellPlanner
from scaledrelu.tables.settings import load_settings
from scripts.report import report

PUBLISHED = CONF_DIR.parent / "results" / "published" / "mini"


@pytest.fixture
def settings(tmp_path: Path, composed_before: Path) -> Any:
    """All tables of mini with the published records."""
    cache = composed_before / ".cache"
    cache.mkdir(exist_ok=True)
    for name, place in ((".cache", cache), ("runs", PUBLISHED / "runs")):
        (tmp_path / name).symlink_to(place)
    return load_settings([f"results={tmp_path}", "seeds=table"], script="report")


def counted(
    monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, what: Callable[..., Any]
) -> Counter[Any]:
    """Count the calls of a function by what they are about."""
    calls: Counter[Any] = Counter()
    work = getattr(owner, name)

    def count(*arguments: Any, **options: Any) -> Any:
        calls[what(*arguments)] += 1
        return work(*arguments, **options)

    monkeypatch.setattr(owner, name, count)
    return calls


def test_a_report_reads_each_record_and_plans_each_row_once(
    settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = counted(monkeypatch, record, "read_config", lambda folder: Path(folder).name)
    rows = counted(
        monkeypatch,
        CellPlanner,
        "cell",
        lambda _, table, row, column, seeds: (table.name, row.block, row.number, column.name),
    )
    lines: list[str] = []
    report(settings, lines.append)
    written = {Path(line).name for line in lines}
    assert {"table1.md", "figure1.md", "claims.md", "report.html"} <= written
    assert len(records) > 800
    for calls in (records, rows):
        assert set(calls.values()) == {1}
