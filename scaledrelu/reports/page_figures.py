"""Figure 1, the curves and the stability maps on the page: pictures that other commands make.

What has not been made is left out, with one line that names the command that makes it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from scaledrelu.reports.html import Html, tag
from scaledrelu.reports.markdown import title_of
from scaledrelu.reports.page_links import Links
from scaledrelu.reports.page_pictures import picture
from scaledrelu.reports.page_text import folded, text_block
from scaledrelu.reports.published_tables import CURVES, FIGURE1, STABILITY
from scaledrelu.reports.recipe_differences import TITLE as RECIPE
from scaledrelu.tables.spec import Table

MILESTONES = "milestones"  # what the paper says of its curves, with ours beside it
FOLDED = (RECIPE, "Its runs", "Notes", "Runs")  # sections that open when their title is clicked


def figure_section(links: Links, profile: str) -> Html:
    """Return Figure 1 with the text that was written beside it.

    Args:
        links: the page's folder.
        profile: named in the command.
    """
    content = _document(links, FIGURE1) or [not_made("Figure 1", f"make figure1 PROFILE={profile}")]
    return section(FIGURE1, "Figure 1", *content)


def curves_section(tables: Sequence[Table], links: Links, profile: str) -> Html:
    """Return what the paper says of its curves, and the curves of every table that has them.

    Args:
        tables: those of the page.
        links: the page's folder.
        profile: named in the command.
    """
    parts = _document(links, f"{CURVES}/{MILESTONES}")
    for table in tables:
        alt = f"{title_of(table)}: loss and accuracy along training, a line for each run"
        drawn = picture(links, f"{CURVES}/{table.name}", alt=alt)
        parts += [tag("h3", title_of(table)), drawn] if drawn else []
    missing = not_made("Curves", f"make curves PROFILE={profile}")
    return section(CURVES, "Curves", *(parts or [missing]))


def stability_section(links: Links, profile: str) -> Html:
    """Return the pages about stability: maps, edges, sensitivity to the rate.

    Args:
        links: the page's folder.
        profile: named in the command.
    """
    names = sorted(path.stem for path in (links.folder / STABILITY).glob("*.md"))
    parts = [part for name in names for part in _stability(links, name)]
    missing = not_made("Stability maps", f"make stability PROFILE={profile}")
    return section(STABILITY, "Stability", *(parts or [missing]))


def section(anchor: str, title: str, *content: str | None) -> Html:
    """Return a section of the page.

    Args:
        anchor: what links point at.
        title: its heading.
        content: below it.
    """
    return tag("section", tag("h2", title), *content, id=anchor)


def not_made(what: str, command: str) -> Html:
    """Say in one line that something is not there, and which command makes it.

    Args:
        what: is not there.
        command: as one types it.
    """
    return tag("p", f"{what}: not made yet; this command makes it: ", tag("code", command))


def _stability(links: Links, name: str) -> list[Html]:
    return [tag("h3", name), *_document(links, f"{STABILITY}/{name}", level=4)]


def _document(links: Links, name: str, *, level: int = 3) -> list[Html]:
    """Return a text that was written beside the page: its title left out, details folded up."""
    path = links.folder / f"{name}.md"
    if not path.is_file():
        return []
    place = f"{name.rpartition('/')[0]}/" if "/" in name else ""
    inside = replace(links, inside=place)
    head, *others = re.split(r"^## ", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    parts = [text_block(head.partition("\n\n")[2], inside)]
    for text in others:
        title, _, body = text.partition("\n")
        if title in FOLDED:
            parts.append(folded(title, body, inside))
        else:
            parts.append(text_block(f"## {text}", inside, level=level))
    return parts
