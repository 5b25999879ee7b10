"""Checks that the files a run reads are there, before anything is opened.

Shared by the openers and by those who want to know beforehand. Looks for folders and files by name,
opens none, imports neither torch nor numpy.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from scaledrelu.config.data import UNLABELLED
from scaledrelu.errors import CheckpointError, ConfigError, DataError, nearest
from scaledrelu.inputs.listing import (
    IMAGE_SUFFIXES,
    LABEL_SUFFIX,
    first_label_file,
    image_names,
)
from scaledrelu.inputs.pack import SUFFIX, is_image_folder

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


def check_class_folders(folder: Path, holds: Mapping[str, object]) -> None:
    """Refuse a folder without class folders, or with one that has no image.

    Args:
        folder: holds the class folders.
        holds: class -> its images, or whether it has any.

    Raises:
        DataError: naming the folder.
    """
    if not holds:
        found = len(image_names(folder))
        raise DataError(
            f"{folder}: holds no class folders (found {found} images directly in it); sort the "
            f"images into {folder}/<class>/"
        )
    for name, images in holds.items():
        if not images:
            raise DataError(
                f"{folder / name}: class folder without images; add images (allowed: "
                f"{' '.join(IMAGE_SUFFIXES)}), or remove the folder from every split"
            )


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
        ConfigError: if it is not a name.
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
        DataError: if there is no such folder, or no label map in its class folders.
    """
    folder = Path(folder)
    lacking = "no such folder" if not folder.is_dir() else ""
    if not lacking and first_label_file(folder) is None:
        lacking = f"holds no label map (<class>/<image>{LABEL_SUFFIX})"
    if lacking:
        raise DataError(
            f"{folder}: {lacking}; set data.token_labels to the label maps of NFNet-F6 for "
            "ImageNet-1k's training images (published by TokenLabeling, about 9 GB, "
            f"{folder}/<class>/<image>{LABEL_SUFFIX}), or train without them: "
            f"{UNLABELLED} (83.8 top-1 instead of 84.2 by the VOLO authors, 81.72 without "
            "mixing augmentation)"
        )
    return folder


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
