"""What is published is what its own records say, to the byte, also where the images are not."""

from __future__ import annotations

import csv
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from scaledrelu.config.places import CONF_DIR
from scaledrelu.reports.claims.write import write_claims
from scaledrelu.reports.figure1.write import write_figure1_of
from scaledrelu.reports.page.write import write_published_page
from scaledrelu.reports.report import write_reports
from scaledrelu.reports.report_files import table_files
from scaledrelu.tables.planner import plan_tables
from scaledrelu.tables.settings import Settings, load_settings
from tests.helpers.pages import read_page

ROOT = CONF_DIR.parent / "results" / "published"
PAGES = [path.parent.name for path in sorted(ROOT.glob("*/report.html"))]
FILES = [
    (profile, path.name)
    for profile in PAGES
    for path in sorted((ROOT / profile).iterdir())
    if path.suffix in (".csv", ".md", ".svg")
]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, composed_before: Path) -> Path:
    """An empty folder for results folders that know what was composed before."""
    cache = composed_before / ".cache"
    cache.mkdir(exist_ok=True)
    folder = tmp_path_factory.mktemp("published")
    (folder / ".cache").symlink_to(cache)
    return folder


@pytest.fixture(scope="module")
def remade(results: Path) -> Callable[[str], Path]:
    """A function that gives the results folder with the reports that published records make."""

    @cache
    def make(profile: str) -> Path:
        folder, published = results / profile, ROOT / profile
        folder.mkdir()
        (folder / ".cache").symlink_to(results / ".cache")
        for name in ("runs", "artifacts"):
            (folder / name).symlink_to(published / name)
        settings = settings_of(profile, folder)
        write_reports(plan_tables(settings))
        write_claims(settings)
        if (published / "figure1.csv").is_file():
            write_figure1_of(settings)
        return folder

    return make


def settings_of(profile: str, results: Path) -> Settings:
    tables = ",".join(path.stem for path in table_files(ROOT / profile))
    arguments = [f"profile={profile}", f"results={results}", "seeds=table", f"tables=[{tables}]"]
    files = [] if profile == "mini" else ["overrides=[data.root=/nowhere]"]  # digits need no files
    return load_settings([*arguments, *files], script="report")


@pytest.mark.parametrize(("profile", "name"), FILES)
def test_the_records_make_the_published_file(remade, profile: str, name: str) -> None:
    made = remade(profile) / profile / name
    assert made.read_bytes() == (ROOT / profile / name).read_bytes()


@pytest.fixture(scope="module")
def page(remade) -> Callable[[str], Path]:
    """A function that gives the page that published files and records make, away from them."""

    @cache
    def make(profile: str) -> Path:
        results = remade(profile)
        folder = results / "published" / profile
        folder.mkdir(parents=True)
        for path in (ROOT / profile).iterdir():
            if path.name != "report.html":
                (folder / path.name).symlink_to(path)
        return write_published_page(settings_of(profile, results))

    return make


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


@pytest.mark.parametrize("profile", PAGES)
def test_the_records_make_the_published_page(page, profile: str) -> None:
    made = page(profile).read_bytes()
    assert made == (ROOT / profile / "report.html").read_bytes()
    assert len(made) < 5e6, "a phone loads it"
