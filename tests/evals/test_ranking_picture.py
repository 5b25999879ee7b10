"""The picture of ranked queries shows the right images in the right frames and places."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from scaledrelu.evals.ranking_picture import (
    CAPTION,
    FRAME,
    GAP,
    QUERY,
    RIGHT,
    TILE,
    WRONG,
    RankedQuery,
    draw_rankings,
)  # fmt: skip

ROWS = [
    RankedQuery(query=4, person=7, first=[3, 0, 2], persons=[7, 9, 7]),
    RankedQuery(query=1, person=8, first=[5, 1, -1], persons=[0, 8, -1]),
]


def blue(position: int) -> Image.Image:
    return Image.new("RGB", (32, 64), (0, 0, 100 + position))


def grey(position: int) -> Image.Image:
    return Image.new("RGB", (10, 90), (10 + position,) * 3)


@pytest.fixture(scope="module")
def sheet() -> np.ndarray:
    return np.asarray(draw_rankings(ROWS, load_query=grey, load_gallery=blue)).astype(int)


def corner(row: int, column: int) -> tuple[int, int]:
    """Top and left of a tile's frame, in steps of one tile."""
    top = CAPTION + row * (TILE[1] + 2 * FRAME + GAP + CAPTION)
    left = GAP + column * (TILE[0] + 2 * FRAME + GAP) + (GAP if column else 0)
    return top, left


@pytest.mark.parametrize(
    ("row", "column", "frame", "pixel"),
    [
        (0, 0, QUERY, (14, 14, 14)),
        (0, 1, RIGHT, (0, 0, 103)),
        (0, 2, WRONG, (0, 0, 100)),
        (0, 3, RIGHT, (0, 0, 102)),
        (1, 0, QUERY, (11, 11, 11)),
        (1, 1, WRONG, (0, 0, 105)),
        (1, 2, RIGHT, (0, 0, 101)),
    ],
)
def test_every_image_stands_in_its_place_and_frame(sheet, row, column, frame, pixel) -> None:
    top, left = corner(row, column)
    height, width = TILE[1] + 2 * FRAME, TILE[0] + 2 * FRAME
    tile = sheet[top : top + height, left : left + width]
    inside = tile[FRAME:-FRAME, FRAME:-FRAME]
    assert (inside == pixel).all()
    assert inside.shape == (TILE[1], TILE[0], 3)
    border = np.ones(tile.shape[:2], dtype=bool)
    border[FRAME:-FRAME, FRAME:-FRAME] = False
    assert (tile[border] == frame).all()


def test_nothing_stands_where_the_gallery_ended(sheet) -> None:
    top, left = corner(1, 3)
    assert (sheet[top:, left:] == 255).all()


def test_right_and_wrong_differ_for_people_who_see_no_red_and_green(sheet) -> None:
    """Under each image stands its person id, so equal ids look alike and others do not."""

    def caption(row: int, column: int) -> np.ndarray:
        top, left = corner(row, column)
        top += TILE[1] + 2 * FRAME
        return sheet[top : top + CAPTION, left : left + TILE[0] + 2 * FRAME]

    assert (caption(0, 0) < 128).any()
    assert (caption(0, 0) == caption(0, 1)).all()
    assert (caption(0, 0) != caption(0, 2)).any()


def test_the_same_rows_give_the_same_bytes(sheet) -> None:
    again = draw_rankings(ROWS, load_query=grey, load_gallery=blue)
    assert (np.asarray(again) == sheet).all()
