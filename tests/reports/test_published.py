"""What is published of mini, the page too, is what its own records say, to the byte."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from scaledrelu.config.compose import CONF_DIR
from scaledrelu.reports.claims.write import write_claims
from scaledrelu.reports.figure1 import write_figure1_of
from scaledrelu.reports.page import write_page
from scaledrelu.reports.published_tables import table_files
from scaledrelu.reports.report import write_reports
from scaledrelu.tables.planner import plan_tables
from scaledrelu.tables.settings import load_settings
from tests.helpers.pages import read_page

PUBLISHED = CONF_DIR.parent / "results" / "published" / "mini"
TABLES = [path.stem for path in sorted(PUBLISHED.glob("*.csv"))]


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory, composed_before: Path) -> Path:
    """The folder of the reports that the published records make."""
    results = tmp_path_factory.mktemp("published") / "results"
    results.mkdir()
    for name in ("runs", "artifacts"):
        (results / name).symlink_to(PUBLISHED / name)
    cache = composed_before / ".cache"
    cache.mkdir(exist_ok=True)
    (results / ".cache").symlink_to(cache)
    settings = load_settings([f"results={results}", "seeds=table"], script="report")
    write_reports(plan_tables(settings), results=results)
    write_claims(settings)
    if (PUBLISHED / "figure1.csv").is_file():
        write_figure1_of(settings)
    return results / "mini"


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("kind", ["csv", "md"])
def test_the_records_make_the_published_table(reports: Path, table: str, kind: str) -> None:
    made = (reports / f"{table}.{kind}").read_text()
    assert made == (PUBLISHED / f"{table}.{kind}").read_text()


FIGURE1 = [path.name for path in PUBLISHED.glob("figure1.*") if path.suffix != ".png"]


@pytest.mark.parametrize("name", FIGURE1)
def test_the_records_make_the_published_figure(reports: Path, name: str) -> None:
    assert (reports / name).read_bytes() == (PUBLISHED / name).read_bytes()


@pytest.fixture(scope="module")
def page(reports: Path) -> Path:
    """The page that the published files and records make, away from them."""
    folder = reports.parent / "published" / "mini"
    folder.mkdir(parents=True)
    for path in PUBLISHED.iterdir():
        if path.name != "report.html":
            (folder / path.name).symlink_to(path)
    arguments = [f"results={reports.parent}", "seeds=table", "tables=[table1]"]
    return write_page(load_settings(arguments, script="report"), published=True)


def test_the_page_is_about_every_published_table_and_its_links_lead_to_the_records(page) -> None:
    found = read_page(page.read_text())
    sections = {e.attributes["id"] for e in found.all("section")}
    tables = {path.stem for path in table_files(PUBLISHED)}
    assert tables <= sections
    assert found.dead_links(page.parent) == []
    links = {e.attributes["href"] for e in found.all("a") if "section" in e.parents}
    lines = [line for name in tables for line in csv_lines(PUBLISHED / f"{name}.csv")]
    named = {run for line in lines for run in line["run_ids"].split()}
    done = {run for run in named if (PUBLISHED / "runs" / run / "result.json").is_file()}
    assert len(done) > 300
    assert {f"runs/{run}/result.json" for run in done} <= links
    assert not [link for link in links if link.startswith("..")]


def csv_lines(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


@pytest.mark.parametrize("published", sorted(PUBLISHED.glob("report.html")))
def test_the_records_make_the_published_page(page: Path, published: Path) -> None:
    assert page.read_bytes() == published.read_bytes()


def test_the_page_is_of_a_size_that_a_phone_loads(page: Path) -> None:
    assert page.stat().st_size < 5e6
