"""Every published report says what its runs were made on, and what a crash is among them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from scaledrelu.config.identity import RUN_ID
from scaledrelu.config.places import CONF_DIR

PUBLISHED = CONF_DIR.parent / "results" / "published"
REPORTS = [
    path
    for page in sorted(PUBLISHED.glob("*/report.html"))
    for path in sorted(page.parent.rglob("*.md"))
]
# Each ends with what a loss is compared with, in the words of the report of a table or of claims.
CRASH = re.compile(r"counts as a crash as soon as .+|A run is a crash if its training loss.+")


@pytest.fixture(params=REPORTS, ids=lambda path: str(path.relative_to(PUBLISHED)))
def report(request: pytest.FixtureRequest) -> Path:
    return request.param


def devices_behind(report: Path) -> set[str]:
    """Return the devices of the finished runs that a report and its CSV name."""
    folder = PUBLISHED / report.relative_to(PUBLISHED).parts[0] / "runs"
    texts = [path.read_text() for path in (report, report.with_suffix(".csv"))]
    names = {name for text in texts for name in RUN_ID.findall(text)}
    records = [folder / name / "result.json" for name in names]
    found = [json.loads(path.read_text()) for path in records if path.is_file()]
    return {one["provenance"]["device"] for one in found}


def test_the_head_of_every_report_names_the_devices_behind_it(report: Path) -> None:
    head = report.read_text().partition("\n## ")[0]
    (made,) = re.findall(r"^Made on .+ From .*commit.+\.$", head, re.MULTILINE)
    devices = devices_behind(report)
    assert devices
    assert {device for device in devices if device not in made} == set()


def test_every_report_says_what_a_crash_is_there(report: Path) -> None:
    assert CRASH.search(report.read_text())
