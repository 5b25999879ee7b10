"""The text of our own reports as HTML: their sections stand on the page as they stand in markdown.

Reads what ``reports/`` writes and no more of markdown than that: headings, paragraphs, quotes,
lists of two levels, tables, pictures; within a line code, bold, new lines, links to other reports,
which become places of the page, and the ids of runs, which become links to their records.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from scaledrelu.config.identity import RUN_ID
from scaledrelu.reports.page.html import Html, joined, scrolling, tag
from scaledrelu.reports.page.links import Links
from scaledrelu.reports.page.pictures import picture

SHORT = 16  # characters of a cell up to which it keeps to one line
_INLINE = re.compile(
    r"`(?P<code>[^`]+)`|\*\*(?P<bold>.+?)\*\*|\[(?P<shown>[^\]]+)\]\((?P<to>[^)]+)\)|(?P<br><br>)"
    rf"|\b(?P<run>{RUN_ID.pattern})\b"
)
_PICTURE = re.compile(r"!\[(?P<alt>[^\]]*)\]\((?P<name>[^)]+)\.(?:png|svg)\)")
_HEADING = re.compile(r"(#+) (.*)")
_CELL = re.compile(r"(?<!\\)\|")


def text_block(text: str, links: Links, *, level: int = 3) -> Html:
    """Return a section of a report as HTML.

    Args:
        text: markdown as our reports have it.
        links: where the records of runs are.
        level: what a heading that is ``##`` in the report becomes.
    """
    return joined(
        _block(block.splitlines(), links, level) for block in re.split(r"\n\s*\n", text.strip("\n"))
    )


def text_line(text: str, links: Links) -> Html:
    """Return one line with its code, bold words and ids of runs.

    Args:
        text: the line.
        links: where the records of runs are.
    """
    parts: list[str] = []
    last = 0
    for match in _INLINE.finditer(text):
        parts += [_said(text[last : match.start()]), _inline(match, links)]
        last = match.end()
    return joined([*parts, _said(text[last:])])


def split_sections(text: str) -> tuple[str, dict[str, str]]:
    """Return what a report says before its sections, and its sections by their titles."""
    head, *others = re.split(r"^## ", text, flags=re.MULTILINE)
    parts = (other.partition("\n") for other in others)
    return head, {title: body for title, _, body in parts}


def folded(title: str, text: str, links: Links) -> Html:
    """Return a section of a report that opens when its title is clicked.

    Args:
        title: the line that opens it; the section's own is left out.
        text: the section.
        links: where records are.
    """
    body = text.partition("\n\n")[2] if text.startswith("## ") else text
    return tag("details", tag("summary", title), text_block(body, links))


def _said(text: str) -> str:
    return text.replace(" +/- ", "\u00a0\u00b1\u00a0").replace("+/-", "\u00b1")


def _inline(match: re.Match[str], links: Links) -> Html:
    if bold := match["bold"]:
        return tag("strong", text_line(bold, links))
    if match["br"]:
        return tag("br")
    if shown := match["shown"]:
        return links.place(match["to"], text_line(shown, links))
    name = match["run"] or match["code"]
    shown = tag("code", name)
    return links.record(name, shown) if RUN_ID.fullmatch(name) else shown


def _block(lines: Sequence[str], links: Links, level: int) -> Html:
    if not lines:
        return Html("")
    if heading := _HEADING.fullmatch(lines[0]):
        name = f"h{min(level + len(heading[1]) - 2, 6)}"
        rest = _block(lines[1:], links, level)
        return joined([tag(name, text_line(heading[2], links)), rest])
    if drawn := _PICTURE.fullmatch(lines[0]):
        return picture(links, f"{links.inside}{drawn['name']}", alt=drawn["alt"]) or Html("")
    if lines[0].startswith("|"):
        return _table(lines, links)
    if lines[0].startswith("- "):
        return _list(lines, links)
    if lines[0].startswith("> "):
        quoted = " ".join(line.removeprefix("> ") for line in lines)
        return tag("p", text_line(quoted, links), class_="warning")
    return tag("p", text_line(" ".join(lines), links))


def _list(lines: Sequence[str], links: Links) -> Html:
    items: list[list[str]] = []
    for line in lines:
        if line.startswith("- "):
            items.append([line.removeprefix("- ")])
        elif items:
            items[-1].append(line.strip().removeprefix("- "))
    return tag("ul", *(_item(item, links) for item in items))


def _item(lines: Sequence[str], links: Links) -> Html:
    inner = [tag("li", text_line(line, links)) for line in lines[1:]]
    return tag("li", text_line(lines[0], links), tag("ul", *inner) if inner else None)


def _table(lines: Sequence[str], links: Links) -> Html:
    rows = [[cell.strip().replace("\\|", "|") for cell in _cells(line)] for line in lines]
    head, body = rows[0], rows[2:]
    headers = [tag("th", text_line(cell, links), scope="col") for cell in head]
    drawn = [
        tag("tr", tag("th", text_line(row[0], links), scope="row"), *_data(row[1:], links))
        for row in body
    ]
    table = tag("table", tag("thead", tag("tr", *headers)), tag("tbody", *drawn), class_="small")
    return scrolling(table, label=f"Table of {', '.join(filter(None, head))}")


def _cells(line: str) -> list[str]:
    return _CELL.split(line.strip())[1:-1]


def _data(cells: Sequence[str], links: Links) -> list[Html]:
    short = [len(cell) <= SHORT for cell in cells]
    return [
        tag("td", text_line(cell, links), class_="short" if is_short else None)
        for cell, is_short in zip(cells, short, strict=True)
    ]
