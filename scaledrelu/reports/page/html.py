"""HTML that nothing inside it can break: whatever was not built here is escaped.

A few functions instead of a template language: the page is made of tables and drawings whose
elements are computed, Python's own escaping is all they need, and a dependency less is pinned.
"""

from __future__ import annotations

import html
from collections.abc import Iterable

VOID = frozenset({"br", "hr", "img", "link", "meta", "wbr"})  # elements without an end


class Html(str):
    """Text that is HTML already; every other text is escaped where it is put in."""

    __slots__ = ()


def tag(name: str, /, *children: str | None, **attributes: object) -> Html:
    """Return an element: ``tag("td", "a < b", class_="number", aria_label="sum")``.

    Args:
        name: the element's name.
        children: its content, in order; None is left out.
        attributes: ``_`` stands for ``-``, at the end for nothing; None is left out.
    """
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in VOID:
        return Html(f"<{name}{given}>")
    return Html(f"<{name}{given}>{joined(children)}</{name}>")


def joined(parts: Iterable[str | None], between: str = "") -> Html:
    """Return pieces one behind the other; what is not HTML yet is escaped.

    Args:
        parts: the pieces; None is left out.
        between: what stands between two pieces.
    """
    return Html(escaped(between).join(escaped(part) for part in parts if part is not None))


def escaped(text: str) -> Html:
    """Return a text as HTML; HTML stays what it is."""
    return text if isinstance(text, Html) else Html(html.escape(text))


def listed(items: Iterable[str], **attributes: object) -> Html:
    """Return a bullet list; empty where there is nothing to list.

    Args:
        items: its points.
        attributes: the list's own.
    """
    points = [tag("li", item) for item in items]
    return tag("ul", *points, **attributes) if points else Html("")


def scrolling(*content: str, label: str) -> Html:
    """Return a box that scrolls when its content is wider than the page; the page never does.

    Args:
        content: what the box holds.
        label: what people who do not see it are told that it holds.
    """
    return tag("div", *content, class_="scroll", role="region", aria_label=label, tabindex=0)
