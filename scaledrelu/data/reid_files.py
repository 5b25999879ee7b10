"""The images of person re-identification sets, and what must hold between their splits.

``inputs/reid_listing.py`` says which files they are; opens none of them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from itertools import compress
from operator import add
from pathlib import Path

import numpy as np

from scaledrelu.errors import ConfigError, DataError, nearest
from scaledrelu.inputs.reid_listing import DISTRACTOR, ReidImage, some


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
    def of(cls, images: Iterable[ReidImage]) -> Listing:
        """Return the listing of some images, at least one."""
        names, ids, cameras = zip(*images, strict=True)
        return cls(list(names), np.array(ids, dtype=np.int64), np.array(cameras, dtype=np.int64))

    def __add__(self, other: Listing) -> Listing:
        return Listing(
            self.names + other.names,
            np.concatenate([self.ids, other.ids]),
            np.concatenate([self.cameras, other.cameras]),
        )


def check_people(root: Path, train: Listing, query: Listing, gallery: Listing) -> None:
    """Refuse distractors outside the gallery, and identities of both training and test split.

    Args:
        root: folder of the data set, for messages.
        train: training images.
        query: queries.
        gallery: images that are searched.

    Raises:
        DataError: naming the images.
    """
    for listing in (train, query):
        if distractors := some(compress(listing.names, listing.ids == DISTRACTOR)):
            raise DataError(
                f"{root}: distractors (person 0000) outside the gallery: {distractors}; move them "
                "to bounding_box_test"
            )
    for listing in (query, gallery):
        if known := some(compress(listing.names, np.isin(listing.ids, train.ids))):
            raise DataError(
                f"{root}: identities occur in both the training and the test split: {known} show "
                "people of bounding_box_train; remove them from one of the splits"
            )


def check_files(
    root: Path, listing: Listing, *, same: Callable[[str], str], may_be_empty: np.ndarray
) -> None:
    """Refuse images that are missing, empty, or in the data set twice.

    Args:
        root: folder that the names are relative to.
        listing: all images of the data set.
        same: names of one image give equal results.
        may_be_empty: N booleans: an empty file is allowed, since loading replaces it.

    Raises:
        DataError: naming the images.
    """
    names = listing.names
    sizes = [_size(f"{root}/{name}") for name in names]
    if missing := some(compress(names, [size is None for size in sizes])):
        raise DataError(f"{root}: missing or unreadable: {missing}; restore the files")
    if empty := some(compress(names, (np.array(sizes) == 0) & ~may_be_empty)):
        raise DataError(f"{root}: empty files: {empty}; restore them")
    first: dict[str, str] = {}
    twice = []
    for name in names:
        if (key := same(name)) in first:
            twice.append(f"{name} (also {first[key]})")
        first.setdefault(key, name)
    if twice:
        raise DataError(f"{root}: in the data set twice: {some(twice)}; keep one of each")


def check_counts(
    root: str,
    train: Mapping[str, Listing],
    query: Listing,
    gallery: Listing,
    expect: Mapping[str, int],
) -> None:
    """Compare with published counts.

    Args:
        root: folder of the data set, for messages.
        train: lists of training images by the name of their count.
        query: queries.
        gallery: gallery images.
        expect: any of the counts of ``train``, query, gallery (images), train_ids, query_ids,
            cameras.

    Raises:
        ConfigError: an unknown key of ``expect``.
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
            f"data.build.expect.{key}: no such count{nearest(key, found)}; allowed: "
            f"{', '.join(found)}"
        )
    wrong = [
        f"{key} {found[key]:,} instead of {count:,}"
        for key, count in expect.items()
        if found[key] != count
    ]
    if wrong:
        raise DataError(
            f"{root}: not the published data set: {', '.join(wrong)}; restore its files, or set "
            "data.build.expect=null to use it as it is"
        )


def _size(path: str) -> int | None:
    try:
        return os.stat(path).st_size
    except OSError:
        return None
