"""The claims of the paper with their verdicts, read back from ``claims.csv``."""

from __future__ import annotations

import csv

from scaledrelu.reports.html import Html, scrolling, tag
from scaledrelu.reports.page_figures import not_made, section
from scaledrelu.reports.page_links import Links
from scaledrelu.reports.page_text import text_line
from scaledrelu.reports.published_tables import CLAIMS


def claims_section(links: Links, profile: str) -> Html:
    """Return every claim with its verdict, and what the verdict rests on.

    Args:
        links: the page's folder.
        profile: named in the command.
    """
    path = links.folder / f"{CLAIMS}.csv"
    if not path.is_file():
        missing = not_made("The claims' verdicts", f"make claims PROFILE={profile}")
        return section(CLAIMS, "Claims", missing)
    lines = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    head = tag("tr", *(tag("th", name, scope="col") for name in lines[0]))
    body = [
        tag("tr", *(tag("td", text_line(text, links)) for text in line.values())) for line in lines
    ]
    table = tag("table", tag("thead", head), tag("tbody", *body), class_="small")
    return section(
        CLAIMS,
        "Claims",
        scrolling(table, label="Claims"),
        links.files(f"{CLAIMS}.csv", f"{CLAIMS}.md"),
    )
