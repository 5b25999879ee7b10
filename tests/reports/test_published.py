"""What is published is what its own records say, to the byte.

Of mini everything is made again. At cifar the ids of runs depend on image files that are not here:
there every page is held to the tables and records beside it.
"""

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

ROOT = CONF_DIR.parent / "results" / "published"
PUBLISHED = ROOT / "mini"
TABLES = [path.stem for path in sorted(PUBLISHED.glob("*.csv"))]
PAGES = [path.parent.name for path in sorted(ROOT.glob("*/report.html"))]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, composed_before: Path) -> Path:
    """An empty results folder that knows what was composed before."""
    folder = tmp_path_factory.mktemp("published") / "results"
    folder.mkdir()
    cache = composed_before / ".cache"
    cache.mkdir(exist_ok=True)
    (folder / ".cache").symlink_to(cache)
    return folder


@pytest.fixture(scope="module")
def reports(results: Path) -> Path:
    """The folder of the reports that the published records make."""
    for name in ("runs", "artifacts"):
        (results / name).symlink_to(PUBLISHED / name)
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
def page(results: Path, reports: Path) -> Path:
    """The page that the published files and records make, away from them."""
    folder = results / "published" / "mini"
    folder.mkdir(parents=True)
    for path in PUBLISHED.iterdir():
        if path.name != "report.html":
            (folder / path.name).symlink_to(path)
    arguments = [f"results={results}", "seeds=table", "tables=[table1]"]
    return write_page(load_settings(arguments, script="report"), published=True)


@pytest.mark.parametrize("profile", PAGES)
def test_the_page_is_about_every_published_table_and_its_links_lead_to_the_records(profile) -> None:
    published = ROOT / profile
    found = read_page((published / "report.html").read_text())
    sections = {e.attributes["id"] for e in found.all("section")}
    tables = {path.stem for path in table_files(published)}
    assert tables <= sections
    assert found.dead_links(published) == []
    links = {e.attributes["href"] for e in found.all("a") if "section" in e.parents}
    lines = [line for name in tables for line in csv_lines(published / f"{name}.csv")]
    named = {run for line in lines for run in line["run_ids"].split()}
    done = {run for run in named if (published / "runs" / run / "result.json").is_file()}
    assert len(done) > 100
    assert {f"runs/{run}/result.json" for run in done} <= links
    assert not [link for link in links if link.startswith("..")]


def csv_lines(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def test_the_records_make_the_published_page(page: Path) -> None:
    assert page.read_bytes() == (PUBLISHED / "report.html").read_bytes()


def test_the_page_is_of_a_size_that_a_phone_loads(page: Path) -> None:
    assert page.stat().st_size < 5e6
