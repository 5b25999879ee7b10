"""The claims of the paper with their verdicts, read back from ``claims.csv``."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from scaledrelu.reports.claims.cautions import LIMITS
from scaledrelu.reports.claims.decision import Verdict
from scaledrelu.reports.claims.findings import Judged
from scaledrelu.reports.claims.page import HEADERS, head_text
from scaledrelu.reports.claims.records import read_claims
from scaledrelu.reports.claims.words import cells_text, found_text, papers_text
from scaledrelu.reports.page.figures import not_made
from scaledrelu.reports.page.html import Html, joined, scrolling, tag
from scaledrelu.reports.page.links import Links
from scaledrelu.reports.page.text import folded, split_sections, text_block, text_line
from scaledrelu.reports.report_files import CLAIMS

SIGNS = {  # beside the word, for those who see no colours
    Verdict.SUPPORTED: "\u2713",
    Verdict.CONTRADICTED: "\u2717",
    Verdict.UNDECIDED: "?",
    Verdict.NOT_RUN: "\u2013",
    Verdict.NOT_TESTABLE: "\u2013",
}
OPEN, FOLDED = (LIMITS, "Not run yet"), ("How to read this",)  # sections of claims.md
LABEL = "Claims of the paper, each with its verdict"
COLUMNS = (*HEADERS, "rows compared", "runs")


def claims_section(links: Links, profile: str) -> list[Html | None]:
    """Return every claim with its verdict, what it rests on, and the runs behind it.

    Args:
        links: the page's folder.
        profile: named in the command.

    Raises:
        TableError: another version wrote the claims.
    """
    path = links.folder / f"{CLAIMS}.csv"
    if not path.is_file():
        return [not_made("The claims' verdicts", f"make claims PROFILE={profile}")]
    judged = read_claims(path)
    before = text_block(head_text(judged), links)
    table = scrolling(_table(judged, links), label=LABEL)
    files = links.files(f"{CLAIMS}.csv", f"{CLAIMS}.md")
    return [before, table, _words(links), files]


def _table(judged: Sequence[Judged], links: Links) -> Html:
    headers = [tag("th", name, scope="col") for name in COLUMNS]
    bodies = [
        tag(
            "tbody",
            tag("tr", tag("th", name, scope="rowgroup", colspan=len(headers), class_="part")),
            *(_row(one, links) for one in claims),
        )
        for name, claims in groupby(judged, key=lambda one: one.section)
    ]
    head = tag("thead", tag("tr", *headers))
    return tag("table", tag("caption", LABEL), head, *bodies, class_="claims")


def _row(one: Judged, links: Links) -> Html:
    says = tag("strong", one.says) if one.is_headline else one.says
    kind = f"verdict {one.verdict.replace(' ', '-')}"
    verdict = tag("span", f"{SIGNS[one.verdict]} {one.verdict}", class_=kind)
    texts = (found_text(one), papers_text(one), cells_text(one, links.places))
    told = zip(COLUMNS[3:6], (text_line(text, links) for text in texts), strict=True)
    return tag(
        "tr",
        tag("th", one.name, scope="row", id=f"claim-{one.name}"),
        tag("td", says, class_="says"),
        tag("td", verdict, class_="here"),
        *(tag("td", text, data_name=name if text else None) for name, text in told),
        tag("td", _runs(one, links)),
    )


def _runs(one: Judged, links: Links) -> Html | None:
    names = dict.fromkeys(name for part in one.parts for name in part.ours.runs)
    if not names:
        return None
    shown = joined((links.record(name) for name in names), ", ")
    return tag("details", tag("summary", f"{len(names)} runs"), tag("p", shown, class_="ids"))


def _words(links: Links) -> Html | None:
    """Return what the page of the claims says after its tables: it rests on more than the CSV."""
    path = links.folder / f"{CLAIMS}.md"
    if not path.is_file():
        return None
    _, titled = split_sections(path.read_text(encoding="utf-8"))
    after = [text_block(f"## {name}\n{titled[name]}", links) for name in OPEN if name in titled]
    after += [folded(name, titled[name], links) for name in FOLDED if name in titled]
    return joined(after)
