"""How to read the page: signs, words, intervals, and what counts as a crash."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from scaledrelu.reports.html import Html, joined, listed, section, tag
from scaledrelu.reports.page_links import Links
from scaledrelu.reports.page_text import text_line

CROSS = "\u00d7"
SENTENCES = (
    "A crash is a result, not a fault: it is printed, counted and drawn like every other outcome. "
    "Failed and missing runs are none; they have no dot.",
    "The mean is over all finished seeds; a crashed run counts with the value that it ended at. "
    "Behind \u00b1 stands half of the 95 % t interval of that mean; one seed has none.",
    "A difference is undecided where its interval over seeds holds zero, or where it is smaller "
    "than what the validation images can resolve.",
    "A row of ours counts as a crash beside the paper if more than half of its finished seeds "
    "crashed.",
    "The paper's value is a tick in the drawing only on the paper's own data; elsewhere it stands "
    "beside ours as text, since accuracies on different data cannot be compared.",
    "The last epoch is printed, for every method, with raw weights; the CSV has the best epoch "
    "beside it.",
    "Every number of a run links to its record: what it measured, and the device, the versions and "
    "the commit that it was made with.",
)


def key() -> Html:
    """Return the signs of the page in one line, for its head."""
    dot = tag("circle", cx=7, cy=7, r=3.5, class_="seed")
    cross = tag("path", d="M3.5 3.5l7 7m0 -7l-7 7", class_="crashed")
    mean = (
        tag("line", x1=0, x2=14, y1=7, y2=7, class_="interval"),
        tag("line", x1=7, x2=7, y1=1, y2=13, class_="mean"),
    )
    paper = tag("line", x1=7, x2=7, y1=1, y2=13, class_="paper")
    signs = (
        ((dot,), "a seed that held"),
        ((cross,), "a seed that crashed"),
        (mean, "mean of all seeds, 95 % interval"),
        ((paper,), "the paper's value, where comparable"),
    )
    return listed((joined([_sign(parts), f" {text}"]) for parts, text in signs), class_="key")


def guide_section(rules: Mapping[str, Sequence[str]], links: Links) -> Html:
    """Return how to read the page.

    Args:
        rules: what counts as a crash, in a sentence -> the tables where it does.
        links: where records are.
    """
    crashes = listed(
        joined([text_line(sentence, links), tag("span", f" ({'; '.join(tables)})")])
        for sentence, tables in rules.items()
    )
    heading = tag("h3", "What counts as a crash") if crashes else None
    return section("guide", "How to read this page", listed(SENTENCES), heading, crashes)


def _sign(parts: Sequence[Html]) -> Html:
    size = {"width": 14, "height": 14, "viewBox": "0 0 14 14"}
    return tag("svg", *parts, aria_hidden="true", focusable="false", **size)
