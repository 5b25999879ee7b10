"""What tests ask of a page: that it is sound HTML, and what stands in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

from scaledrelu.reports.page.html import VOID


@dataclass
class Element:
    """One element: its attributes, its place among others, its text."""

    name: str
    attributes: dict[str, str | None]
    parents: tuple[str, ...]
    pieces: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(self.pieces)


@dataclass
class Page(HTMLParser):
    """A parsed page; an element that is not closed, or closed twice, fails at once."""

    elements: list[Element] = field(default_factory=list)
    open_: list[Element] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"{tag}: an attribute twice: {names}"
        element = Element(tag, dict(attrs), tuple(one.name for one in self.open_))
        self.elements.append(element)
        if tag not in VOID:
            self.open_.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open_, f"</{tag}> closes nothing"
        assert self.open_.pop().name == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        for element in self.open_:
            element.pieces.append(data)

    def all(self, name: str, **attributes: str) -> list[Element]:
        """Return elements of a name, with some attributes (``class_`` is one word of several)."""
        kind = attributes.pop("class_", None)
        return [
            element
            for element in self.elements
            if element.name == name
            and all(element.attributes.get(key) == value for key, value in attributes.items())
            and (kind is None or kind in (element.attributes.get("class") or "").split())
        ]

    def dead_links(self, folder: Path) -> list[str]:
        """Return links that lead nowhere: to no place of the page, and to no file on disk."""
        ids = {element.attributes.get("id") for element in self.elements}
        found = [e.attributes["href"] for e in self.elements if e.attributes.get("href")]
        return [
            link
            for link in found
            if not (link[1:] in ids if link[0] == "#" else (folder / unquote(link)).is_file())
        ]


def read_page(text: str) -> Page:
    """Parse a page; every element must be closed, every id stands once, headings skip no level."""
    page = Page()
    page.feed(text)
    page.close()
    assert not page.open_, f"never closed: {[e.name for e in page.open_]}"
    ids = [e.attributes["id"] for e in page.elements if "id" in e.attributes]
    assert len(ids) == len(set(ids)), "an id twice"
    assert all(e.attributes.get("scope") for e in page.all("th")), "a table header without scope"
    levels = [int(e.name[1]) for e in page.elements if e.name in ("h1", "h2", "h3", "h4", "h5")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    steps = pairwise(levels)
    assert all(after <= before + 1 for before, after in steps), "a heading skips a level"
    return page
