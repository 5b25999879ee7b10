"""Digests of files: other images behind a folder, or other weights, make another run.

The files of a data set are those that its opener reads, found by the same functions.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from scaledrelu.config.openers import data_parts
from scaledrelu.config.run import RunConfig
from scaledrelu.errors import DataError
from scaledrelu.inputs.hashes import Part, digest_files, file_sha256
from scaledrelu.inputs.listing import label_files

log = logging.getLogger(__name__)

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


def label_parts(folder: str | Path) -> list[Part]:
    """Return the label maps of a folder.

    Raises:
        DataError: if a folder cannot be listed.
    """
    return [Part("maps", os.path.abspath(folder), list(label_files(folder)))]
