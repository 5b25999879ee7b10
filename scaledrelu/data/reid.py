"""Openers of person re-identification sets: from a root folder to training, query and gallery.

They check what a user can get wrong about the files before any training starts; what counts as a
match is left to the evaluation.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from scaledrelu.data.decoding import BadImageError
from scaledrelu.data.memory import resize_all
from scaledrelu.data.reid_files import Listing, check_counts, check_files, check_people
from scaledrelu.data.sources import FolderSource, ImageSource
from scaledrelu.inputs.reid_listing import (
    MARKET_FOLDERS,
    find_market,
    find_msmt,
    market_images,
    msmt_images,
    msmt_lists,
)


@dataclass(frozen=True, slots=True)
class ReidSplits:
    """The images of a re-identification set.

    Attributes:
        train: images whose targets are identities 0 .. num_classes - 1.
        query: images of people to look for; targets count in the same classes as the gallery's.
        gallery: images to find them in.
        num_classes: training identities.
        query_cameras: camera of each query as the data set numbers them, int64.
        gallery_cameras: camera of each gallery image as the data set numbers them, int64.
        query_ids: person of each query as the data set numbers them, int64.
        gallery_ids: person of each gallery image as the data set numbers them, int64; in
            Market-1501 0 is a distractor, never a match.
    """

    train: ImageSource
    query: ImageSource
    gallery: ImageSource
    num_classes: int
    query_cameras: np.ndarray
    gallery_cameras: np.ndarray
    query_ids: np.ndarray
    gallery_ids: np.ndarray

    @property
    def val(self) -> ImageSource:
        """The images that a run is evaluated on: the queries."""
        return self.query

    @property
    def sizes(self) -> dict[str, int]:
        """The numbers of images per split, ``val`` for the queries, and of training identities."""
        splits = {"train": self.train, "val": self.query, "gallery": self.gallery}
        return {name: len(split) for name, split in splits.items()} | {"classes": self.num_classes}


@dataclass(frozen=True, slots=True)
class _Loading:
    """How images are loaded: fields of the openers."""

    image_size: int | Sequence[int]
    in_memory: bool
    on_bad_image: str


def open_market1501(
    *,
    root: str,
    expect: Mapping[str, int] | None,
    image_size: int | Sequence[int],
    in_memory: bool,
    on_bad_image: str,
) -> ReidSplits:
    """Open Market-1501, or another folder with its layout, in the order of the file names.

    Images of person -1 (junk) are left out, those of person 0 (distractors) stay in the gallery.

    Args:
        root: folder with bounding_box_train, query and bounding_box_test, or with
            Market-1501-v15.09.15 around them.
        expect: published counts (train, query, gallery, train_ids, query_ids, cameras), refused if
            they differ; None = any.
        image_size: height and width in pixels, or both at once; used only for images in memory.
        in_memory: decode once and resize: training images bicubic, the others bilinear.
        on_bad_image: raise | skip, for training images.

    Raises:
        DataError: a missing folder, a wrong name, an image or person in the wrong folder, or
            unexpected counts.
    Source: recipes D.3; the two ways to resize, D.1.
    """
    place = find_market(Path(root))
    train, query, gallery = (Listing.of(market_images(place, folder)) for folder in MARKET_FOLDERS)
    check_people(place, train, query, gallery)
    if expect:
        check_counts(root, {"train": train}, query, gallery, expect)
    loading = _Loading(image_size, in_memory, on_bad_image)
    return _splits(place, train, query, gallery, loading, same=os.path.basename)


def open_msmt17(
    *,
    root: str,
    version: str,
    with_val: bool,
    expect: Mapping[str, int] | None,
    image_size: int | Sequence[int],
    in_memory: bool,
    on_bad_image: str,
) -> ReidSplits:
    """Open MSMT17, in the order of its list files.

    The test folder numbers people anew: an equal number is not the same person.

    Args:
        root: folder with list_*.txt and the two image folders, or with MSMT17_V1 or MSMT17_V2
            around them.
        version: v1 (train, test) | v2 (mask_train_v2, mask_test_v2: faces masked).
        with_val: train on list_val.txt, too, as the TransReID code does.
        expect: published counts (train, val, query, gallery, train_ids, query_ids, cameras),
            refused if they differ; None = any.
        image_size: height and width in pixels, or both at once; used only for images in memory.
        in_memory: decode once and resize: training images bicubic, the others bilinear.
        on_bad_image: raise | skip, for training images.

    Raises:
        ConfigError: an unknown version.
        DataError: a missing folder, file or list, a wrong line, an image that is listed twice,
            or unexpected counts.
    Source: recipes D.3.
    """
    lists = msmt_lists(version, with_val=with_val)
    place = find_msmt(Path(root), version, lists)
    listings = [Listing.of(msmt_images(place / name, folder)) for name, folder in lists.items()]
    *trained_on, query, gallery = listings
    if expect:
        known = {key: count for key, count in expect.items() if with_val or key != "val"}
        check_counts(
            root, dict(zip(("train", "val"), trained_on, strict=False)), query, gallery, known
        )
    train = reduce(add, trained_on)
    loading = _Loading(image_size, in_memory, on_bad_image)
    return _splits(place, train, query, gallery, loading, same=str)


def open_made(
    *, root: str, image_size: int | Sequence[int], in_memory: bool, on_bad_image: str, **_: Any
) -> ReidSplits:
    """Open a generated set in the layout of Market-1501.

    Args:
        root: folder of the generated set.
        image_size: pixels of a side, or height and width.
        in_memory: decode once, to ``image_size``.
        on_bad_image: raise | skip.
        _: fields of the opener that it stands in for, which have no effect: profiles set them to
            null, and ``config/data.py`` refuses any other value.

    Raises:
        DataError: whatever ``open_market1501`` refuses, or files that differ from the manifest.
    """
    from scaledrelu.data.people.folder import check_made

    check_made(Path(root))
    return open_market1501(
        root=root,
        expect=None,
        image_size=image_size,
        in_memory=in_memory,
        on_bad_image=on_bad_image,
    )


class MeasuredSource(FolderSource):
    """Queries or gallery images: a bad one is an error, whatever ``data.on_bad_image`` says.

    An image in its place might show another camera, which decides what counts as a match.
    """

    def load(self, index: int) -> Any:
        """Return one image in RGB: Pillow's, unless ``decoded_by`` says otherwise.

        Raises:
            DataError: if the file is missing, unreadable or truncated.
        """
        try:
            return self._decoded(index)
        except BadImageError as error:
            note = " (data.on_bad_image=skip replaces training images only)"
            raise BadImageError(error.path, error.reason, error.remedy, note) from None


def _splits(
    root: Path,
    train: Listing,
    query: Listing,
    gallery: Listing,
    loading: _Loading,
    *,
    same: Callable[[str], str],
) -> ReidSplits:
    """Check the files and make the sources."""
    everything = train + query + gallery
    replaced = np.arange(len(everything.names)) < len(train.names)
    replaced &= loading.on_bad_image == "skip"
    check_files(root, everything, same=same, may_be_empty=replaced)
    known, people = np.unique(train.ids), np.unique((query + gallery).ids)
    whole = FolderSource(
        root,
        train.names,
        np.searchsorted(known, train.ids),
        _names(known),
        on_bad_image=loading.on_bad_image,
    )
    measured = (
        MeasuredSource(root, each.names, np.searchsorted(people, each.ids), _names(people))
        for each in (query, gallery)
    )
    bilinear = Image.Resampling.BILINEAR
    return ReidSplits(
        _load(whole, loading, Image.Resampling.BICUBIC),
        *(_load(source, loading, bilinear) for source in measured),
        num_classes=len(known),
        query_cameras=query.cameras,
        gallery_cameras=gallery.cameras,
        query_ids=query.ids,
        gallery_ids=gallery.ids,
    )


def _names(ids: np.ndarray) -> tuple[str, ...]:
    return tuple(f"{person:04d}" for person in ids.tolist())


def _load(source: FolderSource, loading: _Loading, resample: Image.Resampling) -> ImageSource:
    """Return the source itself, or its images in memory."""
    if not loading.in_memory:
        return source
    size = loading.image_size
    height, width = (size, size) if isinstance(size, int) else size
    return resize_all(source, height=height, width=width, resample=resample)
