"""Which files of a person re-identification set are data, by its folders and list files.

Says which images there are and what their names mean; opens none, imports neither torch nor numpy.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from itertools import compress
from pathlib import Path
from typing import NamedTuple

from scaledrelu.errors import ConfigError, DataError
from scaledrelu.inputs.listing import image_names

MARKET_FOLDERS = ("bounding_box_train", "query", "bounding_box_test")
MARKET_LAYOUT = "in the layout of Market-1501"
MARKET_INNER = "Market-1501-v15.09.15"
MSMT_FOLDERS = {"v1": ("train", "test"), "v2": ("mask_train_v2", "mask_test_v2")}
JUNK, DISTRACTOR = -1, 0  # ids in Market-1501 that belong to no person

_MARKET_NAME = re.compile(r"(-1|\d{4})_c([1-9]\d*)s\d+_\d+_\d+\.jpg", re.ASCII)
_MARKET_RULE = "PPPP_cCsS_FFFFFF_BB.jpg: person, camera, sequence, frame, box"
_MSMT_LINE = re.compile(r"((\d{4})/\d+_\d+_(\d\d)_\S+\.jpg) (\d+)", re.ASCII)
_MSMT_RULE = "PPPP/PPPP_nnn_CC_*.jpg with camera CC, a space, the number of person PPPP"


class ReidImage(NamedTuple):
    """One image: its path relative to the root, whom it shows and which camera took it."""

    name: str
    person: str
    camera: str


def _find_root(root: Path, inner: str, entries: Sequence[str], *, hint: str) -> Path:
    """Return the root, or the folder ``inner`` in it, whichever has all the entries."""
    places = [place for place in (root, root / inner) if place.is_dir()]
    if not places:
        raise DataError(
            f"{root}: no such folder; set data.root to a folder with {', '.join(entries)}, or "
            "link one there"
        )
    for place in places:
        if all((place / entry).exists() for entry in entries):
            return place
    place = places[-1]
    lacking = ", ".join(entry for entry in entries if not (place / entry).exists())
    found = sorted(entry.name for entry in os.scandir(place))
    raise DataError(
        f"{place}: {lacking} missing (found: {some(found) or 'nothing'}); set data.root{hint}"
    )


def find_market(root: Path) -> Path:
    """Return the folder that holds the three folders of Market-1501.

    Raises:
        DataError: if there is none.
    """
    hint = f" to a folder {MARKET_LAYOUT}"
    return _find_root(root, MARKET_INNER, MARKET_FOLDERS, hint=hint)


def market_images(root: Path, split: str) -> list[ReidImage]:
    """Return the images of one folder in the order of their names, without person -1 (junk).

    Hidden files and files other than images (Thumbs.db) are skipped.

    Args:
        root: the folder that :func:`find_market` returned.
        split: one of ``MARKET_FOLDERS``.

    Raises:
        DataError: an image with a wrong name, or no image at all.
    """
    names = image_names(root / split)
    matches = [_MARKET_NAME.fullmatch(name) for name in names]
    if wrong := some(compress(names, [match is None for match in matches])):
        raise DataError(
            f"{root / split}: wrong file names: {wrong}; allowed: {_MARKET_RULE}; rename or remove "
            "them"
        )
    images = [ReidImage(f"{split}/{match[0]}", match[1], match[2]) for match in matches]
    people = [image for image in images if int(image.person) != JUNK]
    if not people:
        raise DataError(
            f"{root / split}: holds no image of a person; add images named {_MARKET_RULE}"
        )
    return people


def msmt_lists(version: str, *, with_val: bool) -> dict[str, str]:
    """Return the list files of MSMT17 in their order, each with the folder its paths begin in.

    Args:
        version: ``data.build.version``: v1 | v2.
        with_val: whether the validation list is trained on.

    Raises:
        ConfigError: an unknown version.
    """
    if version not in MSMT_FOLDERS:
        allowed = ", ".join(MSMT_FOLDERS)
        raise ConfigError(f"data.build.version={version}: no such version; allowed: {allowed}")
    trained, tested = MSMT_FOLDERS[version]
    lists = {"list_train.txt": trained}
    lists |= {"list_val.txt": trained} if with_val else {}
    return lists | {"list_query.txt": tested, "list_gallery.txt": tested}


def find_msmt(root: Path, version: str, lists: dict[str, str]) -> Path:
    """Return the folder that holds the list files of MSMT17 and the folders that they name.

    Args:
        root: ``data.root``.
        version: v1 | v2.
        lists: list files and their folders, as :func:`msmt_lists` returns them.

    Raises:
        DataError: if there is none.
    """
    return _find_root(
        root,
        f"MSMT17_{version.upper()}",
        (*MSMT_FOLDERS[version], *lists),
        hint=f", or data.build.version (now {version})",
    )


def msmt_images(path: Path, folder: str) -> list[ReidImage]:
    """Return the images of one list file in its order; ``folder`` is where its paths begin.

    A byte order mark and empty lines, which editors leave, are ignored.

    Args:
        path: the list file.
        folder: where its paths begin.

    Raises:
        DataError: a line that breaks the rule, a file without lines, or an unreadable one.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); restore it") from None
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8, or restore it"
        ) from None
    rows = [(number, line.strip()) for number, line in enumerate(lines, 1) if line.strip()]
    matches = [_MSMT_LINE.fullmatch(line) for _, line in rows]
    wrong = some(
        f"line {number} '{line}'"
        for (number, line), match in zip(rows, matches, strict=True)
        if match is None or int(match[2]) != int(match[4])
    )
    if wrong or not rows:
        raise DataError(
            f"{path}: wrong lines: {wrong or 'none there'}; allowed: {_MSMT_RULE}; restore the file"
        )
    return [ReidImage(f"{folder}/{match[1]}", match[4], match[3]) for match in matches]


def some(names: Iterable[str]) -> str:
    """Return up to three of some names and how many more there are; "" if there is none."""
    found = list(names)
    more = f" and {len(found) - 3:,} more" if len(found) > 3 else ""
    return ", ".join(found[:3]) + more
