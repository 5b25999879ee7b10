"""Openers of data sets: from a root folder to training and validation sources.

They check what a user can get wrong about files and folders, before any training starts.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from scaledrelu.config.listing import IMAGE_SUFFIXES, class_images, image_names
from scaledrelu.data.cifar import cifar10_batches, read_cifar10
from scaledrelu.data.digits import load_digits, stratified_choice
from scaledrelu.data.memory import decode_all
from scaledrelu.data.sources import FolderSource, ImageSource
from scaledrelu.errors import ConfigError, DataError, nearest

log = logging.getLogger(__name__)

_DIGITS_VAL = 360  # of 1,797


@dataclass(frozen=True, slots=True)
class Splits:
    """The training and validation images of a data set; both count in the same classes."""

    train: ImageSource
    val: ImageSource
    num_classes: int


def open_image_folder(
    *,
    root: str,
    train: str,
    val: str,
    expect: Mapping[str, int] | None = None,
    image_size: int,
    in_memory: bool = False,
    on_bad_image: str = "raise",
) -> Splits:
    """Open ``<root>/<train>/<class>/*`` and ``<root>/<val>/<class>/*``.

    Args:
        root: folder of the data set.
        train: folder of the training images, relative to the root.
        val: folder of the validation images, relative to the root.
        expect: published counts (train, val, classes); others are reported, not refused.
        image_size: pixels; used only for images in memory.
        in_memory: decode once, to ``image_size`` (short side resized, centre cropped).
        on_bad_image: raise | skip.

    Raises:
        DataError: for a missing folder, an empty class, or classes that differ between splits.
    """
    folders = {split: Path(root) / split for split in (train, val)}
    for split, folder in folders.items():
        if not folder.is_dir():
            raise DataError(_no_folder(Path(root), split))
    sources = {
        split: scan_folder(folder, on_bad_image=on_bad_image) for split, folder in folders.items()
    }
    _check_same_classes(folders[train], sources[train], folders[val], sources[val])
    splits = Splits(sources[train], sources[val], len(sources[train].classes))
    _report_counts(root, splits, expect or {})
    if not in_memory:
        return splits
    return Splits(
        decode_all(splits.train, image_size=image_size),
        decode_all(splits.val, image_size=image_size),
        splits.num_classes,
    )


def open_digits(
    *,
    root: str | None = None,
    image_size: int,
    in_memory: bool = True,
    on_bad_image: str = "raise",
    **_: Any,
) -> Splits:
    """Open scikit-learn's 1,797 handwritten digits: 1,437 for training, 360 for validation.

    The split is fixed and stratified. Images are scaled bilinearly from 8 to ``image_size``
    pixels and have three equal channels. They are always in memory and never bad.

    Args:
        root: not used: they come with scikit-learn.
        image_size: pixels of a side.
        in_memory: not used.
        on_bad_image: not used.

    Source: the mini protocol (a stand-in for ImageNet-1k that needs no download).
    """
    whole = load_digits(image_size)
    val = stratified_choice(whole.targets, _DIGITS_VAL, seed=0)
    train = np.setdiff1d(np.arange(len(whole)), val)
    return Splits(train=whole.select(train), val=whole.select(val), num_classes=10)


def open_cifar10(
    *,
    root: str,
    train: str,
    val: str,
    expect: Mapping[str, int] | None = None,
    image_size: int = 32,
    in_memory: bool = True,
    on_bad_image: str = "raise",
) -> Splits:
    """Open CIFAR-10: class folders under the root, else its python batches, else a download.

    Args:
        root: folder of the data set.
        train: folder of the training images in a class-folder copy.
        val: folder of the test images in a class-folder copy.
        expect: published counts; others are reported, not refused.
        image_size: pixels; python batches are always 32.
        in_memory: for a class-folder copy; python batches always are.
        on_bad_image: raise | skip, for a class-folder copy.

    Raises:
        DataError: if there is neither copy and the download fails, or a copy is damaged.
    """
    if (Path(root) / train).is_dir():
        return open_image_folder(
            root=root,
            train=train,
            val=val,
            expect=expect,
            image_size=image_size,
            in_memory=in_memory,
            on_bad_image=on_bad_image,
        )
    batches = cifar10_batches(Path(root))
    if image_size != 32:
        raise ConfigError(f"data.image_size={image_size}: CIFAR-10's python batches have 32 pixels")
    splits = Splits(read_cifar10(batches, "train"), read_cifar10(batches, "test"), 10)
    _report_counts(root, splits, expect or {})
    return splits


def scan_folder(folder: Path | str, *, on_bad_image: str = "raise") -> FolderSource:
    """List the images of a folder of class folders, in the order of torchvision's ImageFolder.

    Args:
        folder: of class folders.
        on_bad_image: raise | skip.

    Raises:
        DataError: if there is no class folder, or one without images.
    """
    folder = Path(folder)
    images = class_images(folder)
    if not images:
        found = len(image_names(folder))
        raise DataError(
            f"{folder}: no class folders (found {found} images beside each other): sort the images "
            f"into {folder}/<class>/"
        )
    for name, files in images.items():
        if not files:
            raise DataError(
                f"{folder / name}: no image in this class folder (allowed: "
                f"{' '.join(IMAGE_SUFFIXES)}): add images or remove the folder from every split"
            )
    targets = np.repeat(np.arange(len(images)), [len(files) for files in images.values()])
    names = list(chain.from_iterable(images.values()))
    return FolderSource(folder, names, targets, tuple(images), on_bad_image=on_bad_image)


def _no_folder(root: Path, split: str) -> str:
    if not root.is_dir():
        return f"{root}: no such folder: set data.root to a folder with {split}/<class>/<images>"
    found = sorted(e.name for e in os.scandir(root) if e.is_dir())
    listing = ", ".join(found[:5]) + (", ..." if len(found) > 5 else "")
    return (
        f"{root / split}: no such folder (found in {root}: {listing or 'nothing'}"
        f"{nearest(split, found)}): set data.root or data.build.train and data.build.val"
    )


def _check_same_classes(
    train_folder: Path, train: FolderSource, val_folder: Path, val: FolderSource
) -> None:
    if train.classes == val.classes:
        return
    lacking = sorted(set(train.classes) - set(val.classes))
    folder, other, names = val_folder, train_folder, lacking
    if not lacking:
        folder, other = train_folder, val_folder
        names = sorted(set(val.classes) - set(train.classes))
    listing = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    raise DataError(
        f"{folder}: lacks {len(names)} of the class folders of {other} ({listing}): both splits "
        "need the same class folders"
    )


def _report_counts(root: str, splits: Splits, expect: Mapping[str, int]) -> None:
    found = {
        "train": len(splits.train),
        "val": len(splits.val),
        "classes": splits.num_classes,
    }
    for what, count in expect.items():
        if found[what] != count:
            log.warning(
                "%s: %s %s, the published data set has %s: results are not comparable",
                root, f"{found[what]:,}", "classes" if what == "classes" else f"{what} images",
                f"{count:,}",
            )  # fmt: skip
