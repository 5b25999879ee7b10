"""Pictures inside a page: an SVG as part of it, or the PNG beside it where the SVG is too large."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from xml.etree import ElementTree

from scaledrelu.errors import TableError
from scaledrelu.reports.page.html import Html, scrolling, tag
from scaledrelu.reports.page.links import Links

LARGEST_SVG = 600_000  # bytes; of a larger one the page shows the PNG
WIDTH = 864  # pixels, of a picture that does not say
SUFFIXES = ("csv", "svg", "png")
_USED_ID = re.compile(r"url\(#([^)]+)\)")
_LEFT_OUT = ("metadata", "style", "script")  # a style would hold for the whole page
_OF_ALL = "stroke-linejoin:round;stroke-linecap:butt"  # what matplotlib's style says


def picture(links: Links, name: str, *, alt: str) -> Html | None:
    """Return a figure with its files; None where there is no such picture.

    Args:
        links: the page's folder, which holds the picture.
        name: path without suffix, relative to that folder.
        alt: what it shows, for those who do not see it.
    """
    svg, png = (links.folder / f"{name}.{suffix}" for suffix in ("svg", "png"))
    if svg.is_file() and (svg.stat().st_size <= LARGEST_SVG or not png.is_file()):
        drawn = _inline_svg(svg, name=re.sub(r"\W+", "-", name), alt=alt)
    elif png.is_file():
        code = base64.b64encode(png.read_bytes()).decode()
        drawn = tag("img", src=f"data:image/png;base64,{code}", alt=alt)
    else:
        return None
    files = links.files(*(f"{name}.{suffix}" for suffix in SUFFIXES))
    return tag("figure", scrolling(drawn, label=f"Picture: {alt}"), tag("figcaption", files))


def _inline_svg(path: Path, *, name: str, alt: str) -> Html:
    """Return an SVG as an element of the page; its ids begin with a name of its own."""
    try:
        root = ElementTree.fromstring(path.read_bytes())
    except ElementTree.ParseError as error:
        raise TableError(f"{path}: not an SVG ({error}); remove it and make it again") from error
    _drop(root)
    used = _used_ids(root)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        given = {key.rpartition("}")[2]: value for key, value in element.attrib.items()}
        element.attrib.clear()
        element.attrib.update(_renamed(given, used, name))
    for length in ("width", "height"):
        root.attrib.pop(length, None)
    size = f"--width:{_pixels(root)}px"  # the style sheet decides what becomes of it
    root.attrib |= {"role": "img", "aria-label": alt, "style": f"{_OF_ALL};{size}"}
    return Html(ElementTree.tostring(root, encoding="unicode").strip())


def _pixels(root: ElementTree.Element) -> int:
    """Return the width that a picture was drawn for, as a browser counts: 96 in an inch."""
    box = root.attrib.get("viewBox", "").split()
    return round(float(box[2]) * 96 / 72) if len(box) == 4 else WIDTH


def _drop(element: ElementTree.Element) -> None:
    for child in list(element):
        if child.tag.rpartition("}")[2] in _LEFT_OUT:
            element.remove(child)
        else:
            _drop(child)


def _used_ids(root: ElementTree.Element) -> set[str]:
    values = [value for element in root.iter() for value in element.attrib.values()]
    found = {name for value in values for name in _USED_ID.findall(value)}
    return found | {value[1:] for value in values if value.startswith("#")}


def _renamed(given: dict[str, str], used: set[str], prefix: str) -> dict[str, str]:
    """Return attributes with ids of their own; an id that nothing uses is left out."""
    renamed = {}
    for key, value in given.items():
        if key == "id":
            if value in used:
                renamed[key] = f"{prefix}-{value}"
        elif key == "href" and value.startswith("#"):
            renamed[key] = f"#{prefix}-{value[1:]}"
        else:
            renamed[key] = _USED_ID.sub(rf"url(#{prefix}-\1)", value)
    return renamed
