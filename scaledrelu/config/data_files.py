"""Which files a data set is made of: those that its opener reads, found by the same functions."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from scaledrelu.config.hashes import Part
from scaledrelu.config.listing import all_files, class_images, label_files
from scaledrelu.config.reid_listing import (
    MARKET_FOLDERS,
    find_market,
    find_msmt,
    market_images,
    msmt_images,
    msmt_lists,
)
from scaledrelu.errors import ConfigError

ROLES = ("train", "val")


def data_parts(build: Mapping[str, Any], root: str | Path) -> list[Part]:
    """Return the files of a data set, split by split, in the order in which they are read.

    Empty for what lies in no files of its own, and for what is published in one form only
    (CIFAR-10's batches are compared with their published checksums when they are read).

    Args:
        build: ``data.build``: the opener and its fields.
        root: ``data.root``.

    Raises:
        DataError: if the files are not there, or not what the opener reads.
        ConfigError: for a field of the opener that is out of its range.
    """
    opener = str(build["_target_"]).removeprefix(_PACKAGE)
    return _PARTS.get(opener, _whole_folders)(build, Path(os.path.abspath(root)))


def label_parts(folder: str | Path) -> list[Part]:
    """Return the label maps of a folder.

    Raises:
        DataError: if a folder cannot be listed.
    """
    return [_part("maps", os.path.abspath(folder), label_files(folder))]


def _image_folders(build: Mapping[str, Any], root: Path) -> list[Part]:
    folders = {role: root / _split(build, role) for role in ROLES}
    return [
        _part(role, folder, chain.from_iterable(class_images(folder).values()))
        for role, folder in folders.items()
    ]


def _cifar10(build: Mapping[str, Any], root: Path) -> list[Part]:
    return _image_folders(build, root) if (root / _split(build, "train")).is_dir() else []


def _nothing(build: Mapping[str, Any], root: Path) -> list[Part]:
    return []


def _market(build: Mapping[str, Any], root: Path) -> list[Part]:
    place = find_market(root)
    return [
        _part(split, place, (image.name for image in market_images(place, split)))
        for split in MARKET_FOLDERS
    ]


def _msmt17(build: Mapping[str, Any], root: Path) -> list[Part]:
    lists = msmt_lists(build["version"], with_val=build["with_val"])
    place = find_msmt(root, build["version"], lists)
    return [
        _part(name, place, (image.name for image in msmt_images(place / name, folder)))
        for name, folder in lists.items()
    ]


def _whole_folders(build: Mapping[str, Any], root: Path) -> list[Part]:
    """Return everything: what an opener from elsewhere reads is not known here."""
    folders = {role: root / build[role] for role in ROLES if build.get(role)} or {"all": root}
    return [_part(role, folder, all_files(folder)) for role, folder in folders.items()]


def _split(build: Mapping[str, Any], role: str) -> str:
    if not isinstance(build.get(role), str):
        raise ConfigError(
            f"data.build.{role}={build.get(role)}: must name the folder of these images below "
            "data.root"
        )
    return build[role]


def _part(role: str, root: str | Path, names: Iterable[str]) -> Part:
    return Part(role, str(root), list(names))


_PACKAGE = "scaledrelu.data."
_PARTS: dict[str, Callable[[Mapping[str, Any], Path], list[Part]]] = {
    "datasets.open_image_folder": _image_folders,
    "datasets.open_cifar10": _cifar10,
    "datasets.open_digits": _nothing,
    "reid.open_market1501": _market,
    "reid.open_made": _market,
    "reid.open_msmt17": _msmt17,
}
