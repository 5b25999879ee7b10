"""A picture of ranked queries, to judge a ranking by eye."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageOps

TILE = (64, 128)  # pixels of one image, width and height: the shape of a person
FRAME = 4
GAP = 6
CAPTION = 14  # pixels of a line of text
RIGHT, WRONG, QUERY = (0, 150, 60), (205, 30, 30), (90, 90, 90)
PAPER, INK = (255, 255, 255), (0, 0, 0)


@dataclass(frozen=True, slots=True)
class RankedQuery:
    """A query and its nearest gallery images.

    Attributes:
        query: position of the query in its source.
        person: its person id.
        first: positions of the nearest gallery images, the nearest first; -1 = there are no more.
        persons: their person ids.
    """

    query: int
    person: int
    first: Sequence[int]
    persons: Sequence[int]


def draw_rankings(
    rows: Sequence[RankedQuery],
    *,
    load_query: Callable[[int], Image.Image],
    load_gallery: Callable[[int], Image.Image],
) -> Image.Image:
    """Draw one row per query: the query, then its nearest images from left to right.

    Images of the query's person are framed green, others red; under each stands its person id.

    Args:
        rows: queries from top to bottom, all with the same number of images.
        load_query: position -> image of a query, RGB.
        load_gallery: position -> image of the gallery, RGB.
    """
    width, height = TILE[0] + 2 * FRAME + GAP, TILE[1] + 2 * FRAME + GAP + CAPTION
    columns = 1 + max(len(row.first) for row in rows)
    sheet = Image.new("RGB", (columns * width + 2 * GAP, len(rows) * height + CAPTION + GAP), PAPER)
    pen = ImageDraw.Draw(sheet)
    lefts = [GAP, *(2 * GAP + column * width for column in range(1, columns))]
    for left, heading in zip(lefts, ["query", *range(1, columns)], strict=True):
        _write(pen, left, 0, str(heading))
    for number, row in enumerate(rows):
        top = CAPTION + number * height
        tiles = [(load_query(row.query), QUERY, row.person), *_ranked(row, load_gallery)]
        for left, (image, colour, person) in zip(lefts, tiles, strict=False):
            framed = ImageOps.expand(image.resize(TILE, Image.Resampling.BICUBIC), FRAME, colour)
            sheet.paste(framed, (left, top))
            _write(pen, left, top + framed.height, str(person))
    return sheet


def _ranked(
    row: RankedQuery, load_gallery: Callable[[int], Image.Image]
) -> list[tuple[Image.Image, tuple[int, int, int], int]]:
    return [
        (load_gallery(position), RIGHT if person == row.person else WRONG, person)
        for position, person in zip(row.first, row.persons, strict=True)
        if position >= 0
    ]


def _write(pen: ImageDraw.ImageDraw, left: int, top: int, text: str) -> None:
    """Centre a line of text on the column that starts at ``left``."""
    pen.text((left + FRAME + TILE[0] // 2, top + CAPTION // 2), text, INK, anchor="mm")
