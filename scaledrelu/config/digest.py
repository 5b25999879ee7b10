"""Digests of files: other images behind a folder, or other weights, make another run.

The files of a data set are those that its opener reads, found by the same functions.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from scaledrelu.config.data import OWN_OPENERS
from scaledrelu.config.first_look import split_of
from scaledrelu.config.hashes import Part, digest_files, file_sha256
from scaledrelu.config.listing import all_files, class_images, label_files
from scaledrelu.config.pack import is_image_folder, pack_of, read_pack
from scaledrelu.config.portion import check_portion
from scaledrelu.config.reid_listing import (
    MARKET_FOLDERS,
    find_market,
    find_msmt,
    market_images,
    msmt_images,
    msmt_lists,
)
from scaledrelu.config.run import RunConfig
from scaledrelu.errors import DataError

log = logging.getLogger(__name__)

ROLES = ("train", "val")
Known = dict[tuple[str, ...], str | None]  # digests by what they are of


def pin_data_digest(config: RunConfig, *, known: Known) -> RunConfig:
    """Fill in ``data.digest`` from the files that the data set's opener reads; null if missing.

    A digest that is set already is kept: it names data that this machine cannot see.

    Args:
        config: a run's configuration without the digest of its data.
        known: digests found so far, by what they are of; filled in, so that a plan of many runs
            reads every file once.
    """
    data = config.data
    if data.root is None or data.digest is not None:
        return config
    key = ("data", data.root, repr(sorted(data.build.items(), key=str)))
    if key not in known:
        known[key] = _of_data(config, data.root)
    return replace(config, data=replace(data, digest=known[key]))


def pin_init_digest(config: RunConfig) -> RunConfig:
    """Fill in ``init.sha256`` of ``init.kind=checkpoint`` from its file; null if it is missing.

    A given digest is kept (in lower case): the run checks that the file has it.
    """
    init = config.init
    if init.kind != "checkpoint" or not init.path:
        return config
    digest = init.sha256 and init.sha256.lower()
    if not digest and Path(init.path).is_file():
        store = _store(config, "init", str(Path(init.path)))
        digest = file_sha256(Path(init.path), store=store)
    return replace(config, init=replace(init, sha256=digest))


def label_digest(config: RunConfig, *, known: Known) -> str | None:
    """Return a digest of the label maps in the folder ``data.token_labels``; None if it is missing.

    Args:
        config: a run's configuration.
        known: digests found so far, by what they are of; filled in, so that a plan of many runs
            reads every file once.
    """
    folder = config.data.token_labels
    key = ("labels", folder)
    if key not in known:
        try:
            parts = label_parts(folder)
        except DataError as error:
            log.debug("no digest of label maps: %s", error)
            parts = []
        known[key] = _digest(parts, _store(config, *key))
    return known[key]


def _of_data(config: RunConfig, root: str) -> str | None:
    try:
        parts = data_parts(config.data.build, root)
    except DataError as error:  # the run that opens the data says it; a plan and a report go on
        log.debug("no digest of the data: %s", error)
        return None
    return _digest(parts, _store(config, "data", *(part.root for part in parts)))


def _digest(parts: Sequence[Part], store: Path) -> str | None:
    return digest_files(parts, store=store)[:16] if parts else None


def _store(config: RunConfig, *what: str) -> Path:
    name = hashlib.sha256(repr(what).encode()).hexdigest()[:16]
    return Path(config.paths.results) / ".cache" / "digests" / name


def data_parts(build: Mapping[str, Any], root: str | Path) -> list[Part]:
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
    opener = str(build["_target_"]).removeprefix(OWN_OPENERS)
    return _PARTS.get(opener, _whole_folders)(build, Path(os.path.abspath(root)))


def label_parts(folder: str | Path) -> list[Part]:
    """Return the label maps of a folder.

    Raises:
        DataError: if a folder cannot be listed.
    """
    return [_part("maps", os.path.abspath(folder), label_files(folder))]


def _image_folders(build: Mapping[str, Any], root: Path) -> list[Part]:
    return [_image_folder(role, root / split_of(build, role)) for role in ROLES]


def _image_folder(role: str, folder: Path) -> Part:
    path = pack_of(folder)
    if path is None:
        return _part(role, folder, chain.from_iterable(class_images(folder).values()))
    pack = read_pack(path)
    return Part(role, str(path), pack.names, pack.hashes)


def _cifar10(build: Mapping[str, Any], root: Path) -> list[Part]:
    return _image_folders(build, root) if is_image_folder(root / split_of(build, "train")) else []


def _cifar10_portion(build: Mapping[str, Any], root: Path) -> list[Part]:
    """Return the whole of both folders: their order decides which images are the portion."""
    check_portion(build)
    return _cifar10({**build, "val": build.get("test")}, root)


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


def _part(role: str, root: str | Path, names: Iterable[str]) -> Part:
    return Part(role, str(root), list(names))


_PARTS: dict[str, Callable[[Mapping[str, Any], Path], list[Part]]] = {
    "datasets.open_image_folder": _image_folders,
    "datasets.open_cifar10": _cifar10,
    "portions.open_cifar10_portion": _cifar10_portion,
    "datasets.open_digits": _nothing,
    "reid.open_market1501": _market,
    "reid.open_made": _market,
    "reid.open_msmt17": _msmt17,
}
