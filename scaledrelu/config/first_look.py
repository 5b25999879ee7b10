"""Checks that the files a run reads are there, before anything is opened.

Shared by the openers and by those who want to know beforehand. Looks for folders and files by name,
reads the index of a pack, lists no images of a folder, imports neither torch nor numpy.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from scaledrelu.config.data import UNLABELLED
from scaledrelu.config.listing import LABEL_SUFFIX, class_names
from scaledrelu.config.pack import SUFFIX, is_image_folder, pack_of, read_pack
from scaledrelu.config.reid_listing import find_market, find_msmt, msmt_lists
from scaledrelu.errors import CheckpointError, ConfigError, DataError, nearest
from scaledrelu.files import refused_writing

# Openers of CIFAR-10, and the field that names the folder of its test images in class folders.
TEST_SPLIT = {"datasets.open_cifar10": "val", "portions.open_cifar10_portion": "test"}
Classes = tuple[Path | str, Iterable[str]]  # of a split: its folder or pack, and their names
CIFAR10_BATCHES = "cifar-10-batches-py"  # the folder that the published archive unpacks to


def find_image_folders(root: Path, *splits: str) -> list[Path]:
    """Return the folders of class folders of some splits; a pack may stand for each.

    Args:
        root: folder of the data set.
        splits: their names, relative to the root.

    Raises:
        DataError: if one is missing.
    """
    for split in splits:
        if not is_image_folder(root / split):
            raise DataError(_no_split(root, split))
    return [root / split for split in splits]


def check_same_classes(train: Classes, val: Classes) -> None:
    """Refuse two splits that have not the same classes.

    Args:
        train: the folder or pack of one split, and its classes.
        val: those of the other.

    Raises:
        DataError: naming the classes that one lacks.
    """
    for (place, names), (other, theirs) in ((val, train), (train, val)):
        if lacking := sorted(set(theirs) - set(names)):
            listing = ", ".join(lacking[:3]) + (", ..." if len(lacking) > 3 else "")
            raise DataError(
                f"{place}: lacks {len(lacking)} of the class folders of {other} ({listing}); give "
                "both splits the same class folders"
            )


def split_of(build: Mapping[str, Any], role: str) -> str:
    """Return the name of a split's folder.

    Args:
        build: ``data.build``.
        role: its field: train | val | test.

    Raises:
        ConfigError: if it is no name.
    """
    if not isinstance(build.get(role), str):
        raise ConfigError(
            f"data.build.{role}={build.get(role)}: must be the name of a folder in data.root, the "
            f"one with the {role} images"
        )
    return build[role]


def has_cifar10(root: Path) -> bool:
    """Say whether CIFAR-10's published batches lie below a folder; else they are downloaded."""
    return (root / CIFAR10_BATCHES).is_dir()


def find_weights(path: str | Path) -> Path:
    """Return the path of a file of weights.

    Raises:
        CheckpointError: if there is no such file.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        found = "is a folder" if path.is_dir() else "no such file"
        raise CheckpointError(f"{path}: {found}; give the path of one checkpoint file")
    return path


def find_labels(folder: str | Path) -> Path:
    """Return the folder of label maps.

    Raises:
        DataError: if there is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(
            f"{folder}: no such folder; set data.token_labels to the label maps of NFNet-F6 for "
            "ImageNet-1k's training images (published by TokenLabeling, about 9 GB, "
            f"{folder}/<class>/<image>{LABEL_SUFFIX}), or train without them: "
            f"{UNLABELLED} (83.8 top-1 instead of 84.2 by the VOLO authors, 81.72 without "
            "mixing augmentation)"
        )
    return folder


def look_at_data(opener: str, build: Mapping[str, Any], root: Path) -> None:
    """Refuse a folder without what an opener reads.

    Args:
        opener: name in ``scaledrelu.data``, e.g. ``datasets.open_image_folder``.
        build: ``data.build``: the opener's fields.
        root: folder of the data set.

    Raises:
        DataError: naming what is missing, and what was found; or a pack is damaged.
        ConfigError: a field of the opener that is out of its range.
    """
    match opener:
        case "datasets.open_image_folder":
            _look_at_splits(root, split_of(build, "train"), split_of(build, "val"))
        case "datasets.open_cifar10" | "portions.open_cifar10_portion":
            if not downloads(opener, build, root):
                _look_for_cifar10(opener, build, root)
            elif reason := _why_not_made(root):
                raise DataError(
                    f"{root}: CIFAR-10 is not there, and no folder can be made there to download "
                    f"it to ({reason}); set data.root to a folder with {CIFAR10_BATCHES}/ or class "
                    "folders train/ and test/, or to one that can be written"
                )
        case "reid.open_market1501" | "reid.open_made":
            find_market(root)
        case "reid.open_msmt17":
            lists = msmt_lists(build["version"], with_val=build["with_val"])
            find_msmt(root, build["version"], lists)


def downloads(opener: str, build: Mapping[str, Any], root: Path) -> bool:
    """Say whether an opener would download its data set, since the folder does not have it.

    Args:
        opener: name in ``scaledrelu.data``, e.g. ``datasets.open_cifar10``.
        build: ``data.build``: the opener's fields.
        root: folder of the data set.
    """
    if opener not in TEST_SPLIT:
        return False
    return not (is_image_folder(root / split_of(build, "train")) or has_cifar10(root))


def _look_for_cifar10(opener: str, build: Mapping[str, Any], root: Path) -> None:
    """Refuse class folders of which one is missing; the published batches check themselves."""
    train = split_of(build, "train")
    if is_image_folder(root / train):
        _look_at_splits(root, train, split_of(build, TEST_SPLIT[opener]))


def _look_at_splits(root: Path, train: str, val: str) -> None:
    check_same_classes(*map(_classes_of, find_image_folders(root, train, val)))


def _classes_of(folder: Path) -> Classes:
    pack = pack_of(folder)
    return (folder, class_names(folder)) if pack is None else (pack, read_pack(pack).counts)


def _why_not_made(folder: Path) -> str | None:
    """Return why a folder can be neither written nor made where it is not there yet, or None."""
    folder = folder.absolute()
    there = next(place for place in (folder, *folder.parents) if place.exists())
    if not there.is_dir():
        return f"{there} is a file"
    error = refused_writing(there)
    return error.strerror if error else None


def _no_split(root: Path, split: str) -> str:
    if not root.is_dir():
        return (
            f"{root}: no such folder; set data.root to a folder with {split}/<class>/<images>, or "
            f"with {split}{SUFFIX}, or link one there"
        )
    found = sorted(e.name for e in os.scandir(root) if e.is_dir() or e.name.endswith(SUFFIX))
    listing = ", ".join(found[:5]) + (", ..." if len(found) > 5 else "")
    return (
        f"{root / split}: no such folder (found in {root}: {listing or 'nothing'}"
        f"{nearest(split, found)}); set data.root, or data.build.train and data.build.val"
    )
