"""The files of person re-identification sets: folders, file names, list files and their checks.

Says which images a data set has, of whom and by which camera; opens none of them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import compress
from operator import add
from pathlib import Path

import numpy as np

from scaledrelu.data.datasets import IMAGE_SUFFIXES
from scaledrelu.errors import ConfigError, DataError, nearest

MARKET_FOLDERS = ("bounding_box_train", "query", "bounding_box_test")
JUNK, DISTRACTOR = -1, 0  # persons of Market-1501 that are nobody

_MARKET_NAME = re.compile(r"(-1|\d{4})_c([1-9]\d*)s\d+_\d+_\d+\.jpg")
_MARKET_RULE = "PPPP_cCsS_FFFFFF_BB.jpg: person, camera, sequence, frame, box"
_MSMT_LINE = re.compile(r"((\d{4})/\d+_\d+_(\d\d)_\S+\.jpg) (\d+)")
_MSMT_RULE = "PPPP/PPPP_nnn_CC_*.jpg with camera CC, a space, the number of person PPPP"


@dataclass(frozen=True, slots=True)
class Listing:
    """The images of one split.

    Attributes:
        names: N paths relative to the root.
        ids: person of each image as the data set numbers them, int64.
        cameras: camera of each image as the data set numbers them, int64.
    """

    names: list[str]
    ids: np.ndarray
    cameras: np.ndarray

    @classmethod
    def of(cls, rows: Iterable[tuple[str, str, str]]) -> Listing:
        """Return the listing of some (name, person, camera), at least one."""
        names, ids, cameras = zip(*rows, strict=True)
        return cls(list(names), np.array(ids, dtype=np.int64), np.array(cameras, dtype=np.int64))

    def __add__(self, other: Listing) -> Listing:
        return Listing(
            self.names + other.names,
            np.concatenate([self.ids, other.ids]),
            np.concatenate([self.cameras, other.cameras]),
        )


def find_root(root: Path, inner: str, entries: Sequence[str], *, hint: str) -> Path:
    """Return the root, or the folder ``inner`` in it, whichever has all the entries.

    Raises:
        DataError: if neither has, with ``hint`` for what else to change.
    """
    places = [place for place in (root, root / inner) if place.is_dir()]
    if not places:
        raise DataError(f"{root}: no such folder: set data.root to one with {', '.join(entries)}")
    for place in places:
        if all((place / entry).exists() for entry in entries):
            return place
    place = places[-1]
    lacking = ", ".join(entry for entry in entries if not (place / entry).exists())
    found = sorted(entry.name for entry in os.scandir(place))
    raise DataError(
        f"{place}: lacks {lacking} (found: {some(found) or 'nothing'}): set data.root{hint}"
    )


def list_market(root: Path, split: str) -> Listing:
    """Return the images of one folder in the order of their names, without person -1 (junk).

    Hidden files and files that are no images (Thumbs.db) are passed over.

    Raises:
        DataError: for an image whose name breaks the rule, or if there is no image.
    """
    files = sorted(entry.name for entry in os.scandir(root / split))
    images = [f for f in files if f[0] != "." and f.lower().endswith(IMAGE_SUFFIXES)]
    matches = [_MARKET_NAME.fullmatch(name) for name in images]
    if wrong := some(compress(images, [match is None for match in matches])):
        raise DataError(
            f"{root / split}: wrongly named: {wrong} (allowed: {_MARKET_RULE}): rename or remove"
        )
    rows = [(f"{split}/{match[0]}", match[1], match[2]) for match in matches]
    people = [row for row in rows if int(row[1]) != JUNK]
    if not people:
        raise DataError(f"{root / split}: no image of a person (named {_MARKET_RULE}): add some")
    return Listing.of(people)


def read_msmt_list(path: Path, folder: str) -> Listing:
    """Return the images of one list file in its order; ``folder`` is where its paths begin.

    Raises:
        DataError: for a line that breaks the rule, or if there is none.
    """
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    matches = [_MSMT_LINE.fullmatch(line.strip()) for line in lines]
    wrong = some(
        f"line {number} '{line}'"
        for number, (line, match) in enumerate(zip(lines, matches, strict=True), 1)
        if match is None or int(match[2]) != int(match[4])
    )
    if wrong or not lines:
        raise DataError(f"{path}: wrong: {wrong or 'no line'} (allowed: {_MSMT_RULE}): restore it")
    return Listing.of((f"{folder}/{match[1]}", match[4], match[3]) for match in matches)


def check_people(root: Path, train: Listing, query: Listing, gallery: Listing) -> None:
    """Refuse distractors outside the gallery, and people who are trained on and looked for.

    Raises:
        DataError: naming the images.
    """
    for listing in (train, query):
        if nobody := some(compress(listing.names, listing.ids == DISTRACTOR)):
            raise DataError(
                f"{root}: distractors outside the gallery: {nobody}: move them to bounding_box_test"
            )
    for listing in (query, gallery):
        if known := some(compress(listing.names, np.isin(listing.ids, train.ids))):
            raise DataError(
                f"{root}: of people who are in bounding_box_train, too: {known}: remove either; "
                "nobody may be both trained on and looked for"
            )


def check_files(
    root: Path, listing: Listing, *, same: Callable[[str], str], may_be_empty: np.ndarray
) -> None:
    """Refuse images that are missing, empty, or in the data set twice.

    Args:
        root: of the names.
        listing: all images of the data set.
        same: names of one image give equal results.
        may_be_empty: N booleans: the image is replaced when it is loaded.

    Raises:
        DataError: naming the images.
    """
    names = listing.names
    sizes = [_size(f"{root}/{name}") for name in names]
    if missing := some(compress(names, [size is None for size in sizes])):
        raise DataError(f"{root}: missing or unreadable: {missing}: restore the files")
    if empty := some(compress(names, (np.array(sizes) == 0) & ~may_be_empty)):
        raise DataError(f"{root}: empty files: {empty}: restore them")
    first: dict[str, str] = {}
    twice = []
    for name in names:
        if (key := same(name)) in first:
            twice.append(f"{name} (also {first[key]})")
        first.setdefault(key, name)
    if twice:
        raise DataError(f"{root}: in the data set twice: {some(twice)}: keep one of each")


def check_counts(
    root: str,
    train: Mapping[str, Listing],
    query: Listing,
    gallery: Listing,
    expect: Mapping[str, int],
) -> None:
    """Compare with published counts.

    Args:
        root: for the message.
        train: lists of training images by what their count is called.
        query: queries.
        gallery: gallery images.
        expect: any of the counts of ``train``, query, gallery (images), train_ids, query_ids,
            cameras.

    Raises:
        ConfigError: for another key.
        DataError: naming every count that differs.
    """
    trained = reduce(add, train.values())
    found = {name: len(listing.names) for name, listing in train.items()} | {
        "query": len(query.names),
        "gallery": len(gallery.names),
        "train_ids": len(np.unique(trained.ids)),
        "query_ids": len(np.unique(query.ids)),
        "cameras": len(np.unique((trained + query + gallery).cameras)),
    }
    for key in set(expect) - set(found):
        raise ConfigError(
            f"data.build.expect.{key}: must be one of {', '.join(found)}{nearest(key, found)}"
        )
    wrong = [
        f"{key} {found[key]:,} instead of {count:,}"
        for key, count in expect.items()
        if found[key] != count
    ]
    if wrong:
        raise DataError(
            f"{root}: not the published data set: {', '.join(wrong)}: restore its files, or set "
            "data.build.expect=null to use it as it is"
        )


def some(names: Iterable[str]) -> str:
    """Return up to three of some names and how many more there are; "" if there is none."""
    found = list(names)
    more = f" and {len(found) - 3:,} more" if len(found) > 3 else ""
    return ", ".join(found[:3]) + more


def _size(path: str) -> int | None:
    try:
        return os.stat(path).st_size
    except OSError:
        return None
