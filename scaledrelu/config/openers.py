"""What each opener of ours reads of a data set's folder: looked at and listed before it is opened.

A look finds folders and files by name and reads the index of a pack; of a class folder it finds one
image. Imports neither torch nor numpy.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from scaledrelu.config.data import OWN_OPENERS
from scaledrelu.config.first_look import (
    CIFAR10_BATCHES,
    Classes,
    check_class_folders,
    check_same_classes,
    find_image_folders,
    has_cifar10,
    split_of,
)
from scaledrelu.config.group import TARGET
from scaledrelu.config.portion import check_portion
from scaledrelu.errors import DataError
from scaledrelu.files import refused_writing
from scaledrelu.inputs.hashes import Part
from scaledrelu.inputs.listing import all_files, class_images, class_names, holds_image
from scaledrelu.inputs.pack import is_image_folder, pack_of, read_pack
from scaledrelu.inputs.reid_listing import (
    MARKET_FOLDERS,
    MARKET_LAYOUT,
    find_market,
    find_msmt,
    market_images,
    msmt_images,
    msmt_lists,
)

ROLES = ("train", "val")
Build = Mapping[str, Any]  # ``data.build``: the opener and its fields


@dataclass(frozen=True, slots=True)
class Opener:
    """What one opener reads.

    Attributes:
        look: refuses a folder without it.
        parts: its files, split by split, in the order in which they are read.
        downloads: whether it downloads what is not there.
        has_people: whether it gives queries and a gallery, of people that are not trained on.
        layout: how its files lie, in words for a message; empty where a message names them.
    """

    look: Callable[[Build, Path], object]
    parts: Callable[[Build, Path], list[Part]]
    downloads: bool = False
    has_people: bool = False
    layout: str = ""


def opener_of(build: Build) -> Opener | None:
    """Return what is known of the opener that ``data.build`` names; None for one from elsewhere."""
    name = str(build.get(TARGET))
    return OPENERS.get(name.removeprefix(OWN_OPENERS)) if name.startswith(OWN_OPENERS) else None


def look_at_data(build: Build, root: Path) -> None:
    """Refuse a folder without what an opener reads.

    Args:
        build: ``data.build``: the opener and its fields.
        root: folder of the data set.

    Raises:
        DataError: naming what is missing, and what was found; or a pack is damaged.
        ConfigError: a field of the opener that is out of its range.
    """
    opener = opener_of(build)
    if opener is not None:
        opener.look(build, root)


def downloads(build: Build, root: Path) -> bool:
    """Say whether an opener would download its data set, since the folder does not have it.

    Args:
        build: ``data.build``: the opener and its fields.
        root: folder of the data set.
    """
    opener = opener_of(build)
    if opener is None or not opener.downloads:
        return False
    return not (is_image_folder(root / split_of(build, "train")) or has_cifar10(root))


def data_parts(build: Build, root: str | Path) -> list[Part]:
    """Return the files of a data set, split by split, in the order in which they are read.

    Empty for data sets without files, and for those that are published in one form only (CIFAR-10's
    batches are compared with their published checksums when they are read).

    Args:
        build: ``data.build``: the opener and its fields.
        root: ``data.root``.

    Raises:
        DataError: if the files are not there, or not what the opener reads.
        ConfigError: for a field of the opener that is out of its range.
    """
    opener, root = opener_of(build), Path(os.path.abspath(root))
    return _whole_folders(build, root) if opener is None else opener.parts(build, root)


def _look_at_image_folders(build: Build, root: Path) -> None:
    _look_at_splits(root, split_of(build, "train"), split_of(build, "val"))


def _look_at_cifar10(build: Build, root: Path, *, test: str) -> None:
    """Refuse class folders of which one is missing; the published batches check themselves."""
    train = split_of(build, "train")
    if is_image_folder(root / train):
        _look_at_splits(root, train, split_of(build, test))
    elif not has_cifar10(root) and (reason := _why_not_made(root)):
        raise DataError(
            f"{root}: CIFAR-10 is not there, and no folder can be made there to download it to "
            f"({reason}); set data.root to a folder with {CIFAR10_BATCHES}/ or class folders "
            "train/ and test/, or to one that can be written"
        )


def _look_at_msmt17(build: Build, root: Path) -> None:
    find_msmt(root, build["version"], msmt_lists(build["version"], with_val=build["with_val"]))


def _look_at_splits(root: Path, train: str, val: str) -> None:
    check_same_classes(*map(_classes_of, find_image_folders(root, train, val)))


def _classes_of(folder: Path) -> Classes:
    pack = pack_of(folder)
    if pack is not None:
        return pack, read_pack(pack).counts
    classes = {name: holds_image(folder, name) for name in class_names(folder)}
    check_class_folders(folder, classes)
    return folder, classes


def _why_not_made(folder: Path) -> str | None:
    """Return why a folder can be neither written nor made where it is not there yet, or None."""
    folder = folder.absolute()
    there = next(place for place in (folder, *folder.parents) if place.exists())
    if not there.is_dir():
        return f"{there} is a file"
    error = refused_writing(there)
    return error.strerror if error else None


def _image_folders(build: Build, root: Path) -> list[Part]:
    return [_image_folder(role, root / split_of(build, role)) for role in ROLES]


def _image_folder(role: str, folder: Path) -> Part:
    path = pack_of(folder)
    if path is None:
        return _part(role, folder, chain.from_iterable(class_images(folder).values()))
    pack = read_pack(path)
    return Part(role, str(path), pack.names, pack.hashes)


def _cifar10(build: Build, root: Path) -> list[Part]:
    return _image_folders(build, root) if is_image_folder(root / split_of(build, "train")) else []


def _cifar10_portion(build: Build, root: Path) -> list[Part]:
    """Return the whole of both folders: their order decides which images are the portion."""
    check_portion(build)
    return _cifar10({**build, "val": build.get("test")}, root)


def _market(_build: Build, root: Path) -> list[Part]:
    place = find_market(root)
    return [
        _part(split, place, (image.name for image in market_images(place, split)))
        for split in MARKET_FOLDERS
    ]


def _msmt17(build: Build, root: Path) -> list[Part]:
    lists = msmt_lists(build["version"], with_val=build["with_val"])
    place = find_msmt(root, build["version"], lists)
    return [
        _part(name, place, (image.name for image in msmt_images(place / name, folder)))
        for name, folder in lists.items()
    ]


def _whole_folders(build: Build, root: Path) -> list[Part]:
    """Return everything: what an opener from elsewhere reads is not known here."""
    folders = {role: root / build[role] for role in ROLES if build.get(role)} or {"all": root}
    return [_part(role, folder, all_files(folder)) for role, folder in folders.items()]


def _part(role: str, root: str | Path, names: Iterable[str]) -> Part:
    return Part(role, str(root), list(names))


MARKET = Opener(
    lambda _build, root: find_market(root), _market, has_people=True, layout=MARKET_LAYOUT
)
OPENERS = {
    "datasets.open_image_folder": Opener(_look_at_image_folders, _image_folders),
    "datasets.open_cifar10": Opener(
        partial(_look_at_cifar10, test="val"), _cifar10, downloads=True
    ),
    "portions.open_cifar10_portion": Opener(
        partial(_look_at_cifar10, test="test"), _cifar10_portion, downloads=True
    ),
    "datasets.open_digits": Opener(lambda *_: None, lambda *_: []),
    "reid.open_market1501": MARKET,
    "reid.open_made": MARKET,
    "reid.open_msmt17": Opener(_look_at_msmt17, _msmt17, has_people=True),
}
