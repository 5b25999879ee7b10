"""A contact sheet of a folder in Market-1501's layout: one row per identity, one column per camera.

Reads files only, so that the picture shows what a reader of the folder gets.
"""

from __future__ import annotations

import re
from pathlib import Path

from PIL import Image, ImageDraw

from scaledrelu.errors import DataError
from scaledrelu.inputs.reid_listing import MARKET_FOLDERS

_NAME = re.compile(r"(-1|\d{4})_c(\d+)s\d+_\d{6}_\d{2}\.jpg")
_ZOOM, _GAP, _MARGIN = 2, 4, 44  # the margin holds the labels; pixels
_ROWS = 7  # identities of either half
_EMPTY = (225, 225, 225)

Cells = dict[tuple[str, int], Path]


def save_sheet(root: Path | str, picture: Path | str) -> None:
    """Draw the first image of some identities by every camera.

    Training identities come first, then test identities, distractors (0000) and junk (-1).

    Args:
        root: root of the data set.
        picture: PNG to write.

    Raises:
        DataError: if there is nothing to draw, or the picture cannot be written.
    """
    train, test = (
        _first_images(Path(root), MARKET_FOLDERS[:1]),
        _first_images(Path(root), MARKET_FOLDERS[1:]),
    )
    cells = {**train, **test}
    if not cells:
        raise DataError(
            f"{root}: no images named PPPP_cCsS_FFFFFF_BB.jpg; choose the root of a data set in "
            "the layout of Market-1501"
        )
    people = sorted({identity for identity, _ in train})[:_ROWS]
    people += sorted({identity for identity, _ in test} - {"-1", "0000"})[:_ROWS]
    people += sorted({identity for identity, _ in test} & {"-1", "0000"}, reverse=True)
    try:
        _draw(cells, people).save(picture, "PNG")
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(f"{picture}: cannot be written ({reason}); choose another file") from None


def _first_images(root: Path, folders: tuple[str, ...]) -> Cells:
    cells: Cells = {}
    for folder in folders:
        for path in sorted((root / folder).glob("*.jpg")):
            if found := _NAME.fullmatch(path.name):
                cells.setdefault((found[1], int(found[2])), path)
    return cells


def _draw(cells: Cells, people: list[str]) -> Image.Image:
    cameras = sorted({camera for _, camera in cells})
    with Image.open(next(iter(cells.values()))) as first:
        width, height = (size * _ZOOM for size in first.size)
    size = (_MARGIN + len(cameras) * (width + _GAP), _MARGIN // 2 + len(people) * (height + _GAP))
    sheet = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(sheet)
    for column, camera in enumerate(cameras):
        x = _MARGIN + column * (width + _GAP)
        pen.text((x + 4, 4), f"camera {camera}", fill="black")
        for row, identity in enumerate(people):
            y = _MARGIN // 2 + row * (height + _GAP)
            pen.text((6, y + height // 2), identity, fill="black")
            pen.rectangle((x, y, x + width - 1, y + height - 1), fill=_EMPTY)
            if (identity, camera) in cells:
                with Image.open(cells[identity, camera]) as image:
                    sheet.paste(image.resize((width, height), Image.Resampling.NEAREST), (x, y))
    return sheet
