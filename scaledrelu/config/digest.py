"""Digests of files: other images behind a folder, or other weights, make another run."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scaledrelu.config.data_files import data_parts, label_parts
from scaledrelu.config.hashes import Part, digest_files, file_sha256
from scaledrelu.errors import DataError

log = logging.getLogger(__name__)

Known = dict[tuple[str, ...], str | None]  # digests by what they are of


def pin_data_digest(config: dict[str, Any], *, known: Known | None = None) -> None:
    """Fill in ``data.digest`` from the files that the data set's opener reads; null while absent.

    A digest that is set already is kept: it names data that this machine cannot see.

    Args:
        config: resolved; changed in place.
        known: digests found so far, where a plan of many runs should look at the files only once.
    """
    data = config["data"]
    if data["root"] is None or data["digest"] is not None:
        return
    known = {} if known is None else known
    key = ("data", data["root"], repr(sorted(data["build"].items(), key=str)))
    if key not in known:
        known[key] = _of_data(config)
    data["digest"] = known[key]


def pin_init_digest(config: dict[str, Any]) -> None:
    """Fill in ``init.sha256`` of ``init.kind=checkpoint`` from its file; null while absent.

    One that is given stays (in lower case): the run checks that the file has it.
    """
    init = config["init"]
    if init["kind"] != "checkpoint" or not init["path"]:
        return
    path = Path(init["path"])
    if init["sha256"]:
        init["sha256"] = init["sha256"].lower()
    elif path.is_file():
        init["sha256"] = file_sha256(path, store=_store(config, "init", str(path)))


def label_digest(config: dict[str, Any], *, known: Known | None = None) -> str | None:
    """Return a digest of the label maps in the folder ``data.token_labels``; None while absent.

    Args:
        config: resolved.
        known: as in :func:`pin_data_digest`.
    """
    folder = config["data"]["token_labels"]
    known = {} if known is None else known
    key = ("labels", folder)
    if key not in known:
        try:
            parts = label_parts(folder)
        except DataError as error:
            log.debug("no digest of label maps: %s", error)
            parts = []
        known[key] = _digest(parts, _store(config, *key))
    return known[key]


def _of_data(config: dict[str, Any]) -> str | None:
    data = config["data"]
    try:
        parts = data_parts(data["build"], data["root"])
    except DataError as error:  # the run that opens the data says it; a plan and a report go on
        log.debug("no digest of the data: %s", error)
        return None
    return _digest(parts, _store(config, "data", *(part.root for part in parts)))


def _digest(parts: Sequence[Part], store: Path) -> str | None:
    return digest_files(parts, store=store)[:16] if parts else None


def _store(config: dict[str, Any], *what: str) -> Path:
    name = hashlib.sha256(repr(what).encode()).hexdigest()[:16]
    return Path(config["paths"]["results"]) / ".cache" / "digests" / name
