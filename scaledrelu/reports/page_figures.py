"""Figure 1, the curves and the stability maps on the page: pictures that other commands make.

What has not been made is left out, with one line that names the command that makes it.
"""

from __future__ import annotations

from collections.abc import Sequence

from scaledrelu.reports.html import Html, tag
from scaledrelu.reports.markdown import title_of
from scaledrelu.reports.page_links import Links
from scaledrelu.reports.page_pictures import has_picture, picture
from scaledrelu.reports.page_text import text_block
from scaledrelu.reports.published_tables import CURVES, FIGURE1, STABILITY
from scaledrelu.tables.spec import Table


def figure_section(links: Links, profile: str) -> Html:
    """Return Figure 1 with the text that was written beside it.

    Args:
        links: the page's folder.
        profile: named in the command.
    """
    if not has_picture(links.folder, FIGURE1):
        return section(FIGURE1, "Figure 1", not_made("Figure 1", f"make figure1 PROFILE={profile}"))
    alt = "Figure 1: similarity of tokens, layer by layer, ours and the paper's"
    return section(FIGURE1, "Figure 1", picture(links, FIGURE1, alt=alt), _beside(links, FIGURE1))


def curves_section(tables: Sequence[Table], links: Links, profile: str) -> Html:
    """Return the training and validation curves of every table that has a picture of them.

    Args:
        tables: those of the page.
        links: the page's folder.
        profile: named in the command.
    """
    drawn = [t for t in tables if has_picture(links.folder, f"{CURVES}/{t.name}")]
    parts = [_curves(title_of(table), table.name, links) for table in drawn]
    if not drawn:
        parts = [not_made("Curves", f"make curves PROFILE={profile}")]
    return section(CURVES, "Curves", *parts)


def stability_section(links: Links, profile: str) -> Html:
    """Return the maps of learning rate and warm-up, each with its numbers.

    Args:
        links: the page's folder.
        profile: named in the command.
    """
    folder = links.folder / STABILITY
    names = sorted({path.stem for path in folder.glob("*.*") if path.suffix in (".svg", ".png")})
    parts = [_stability(name, links) for name in names]
    if not names:
        parts = [not_made("Stability maps", f"make stability PROFILE={profile}")]
    return section(STABILITY, "Stability", *parts)


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


def _curves(title: str, name: str, links: Links) -> Html:
    alt = f"{title}: loss and accuracy along training, a line for each run"
    return tag("div", tag("h3", title), picture(links, f"{CURVES}/{name}", alt=alt))


def _stability(name: str, links: Links) -> Html:
    alt = f"{name}: accuracy and crashes by learning rate and warm-up"
    place = f"{STABILITY}/{name}"
    return tag("div", tag("h3", name), picture(links, place, alt=alt), _beside(links, place))


def _beside(links: Links, name: str) -> Html | None:
    """Return the text that was written beside a picture, without its own title."""
    path = links.folder / f"{name}.md"
    if not path.is_file():
        return None
    text = path.read_text(encoding="utf-8")
    return text_block(text.partition("\n\n")[2] if text.startswith("# ") else text, links)
