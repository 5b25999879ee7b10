"""The published tables and claims of mini are what their own records say, to the byte."""

from __future__ import annotations

from pathlib import Path

import pytest

from scaledrelu.config.compose import CONF_DIR
from scaledrelu.reports.claims.write import write_claims
from scaledrelu.reports.report import write_reports
from scaledrelu.tables.planner import plan_tables
from scaledrelu.tables.settings import load_settings

PUBLISHED = CONF_DIR.parent / "results" / "published" / "mini"
TABLES = [path.stem for path in sorted(PUBLISHED.glob("*.csv"))]


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """The folder of the reports that the published records make."""
    results = tmp_path_factory.mktemp("published") / "results"
    results.mkdir()
    for name in ("runs", "artifacts"):
        (results / name).symlink_to(PUBLISHED / name)
    cache = Path(request.config.cache.mkdir("composed")) / ".cache"
    cache.mkdir(exist_ok=True)
    (results / ".cache").symlink_to(cache)
    settings = load_settings([f"results={results}", "seeds=table"], script="report")
    write_reports(plan_tables(settings), results=results)
    write_claims(settings)
    return results / "mini"


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("kind", ["csv", "md"])
def test_the_records_make_the_published_table(reports: Path, table: str, kind: str) -> None:
    made = (reports / f"{table}.{kind}").read_text()
    assert made == (PUBLISHED / f"{table}.{kind}").read_text()
