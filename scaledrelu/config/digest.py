"""Digests of files: another data set behind a folder, or other weights, make another run."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

FEW_FILES = 5000  # a plan looks at each of so many files: some hundredths of a second


def pin_data_digest(
    config: dict[str, Any], *, known: dict[tuple[str | None, ...], str | None] | None = None
) -> None:
    """Fill in ``data.digest`` from the split folders under ``data.root``; null while absent.

    A digest that is set already is kept: it names data that this machine cannot see.

    Args:
        config: resolved; changed in place.
        known: digests found so far, where a plan of many runs should look at the files only once.
    """
    data = config["data"]
    if data["root"] is None or data["digest"] is not None:
        return
    splits = [data["build"].get("train"), data["build"].get("val")]
    splits = splits if any(splits) else ["."]  # ReID sets have folders of their own
    known = {} if known is None else known
    key = (data["root"], *splits)
    if key not in known:
        cache = Path(config["paths"]["results"]) / ".cache" / "digests.json"
        known[key] = folder_digest(Path(data["root"]), splits, cache=cache)
    data["digest"] = known[key]


def pin_init_digest(config: dict[str, Any]) -> None:
    """Fill in ``init.sha256`` of ``init.kind=checkpoint`` from its file; null while absent.

    One that is given stays (in lower case): the run checks that the file has it.
    """
    init = config["init"]
    if init["kind"] != "checkpoint" or not init["path"]:
        return
    path = Path(init["path"]).expanduser()
    if init["sha256"]:
        init["sha256"] = init["sha256"].lower()
    elif path.is_file():
        init["sha256"] = _file_digest(
            path, cache=Path(config["paths"]["results"]) / ".cache" / "digests.json"
        )


def _file_digest(path: Path, *, cache: Path) -> str:
    status = path.stat()
    stamp = f"{status.st_size} {status.st_mtime_ns}"
    known = _read(cache)
    entry = known.get(str(path.resolve()))
    if entry and entry["stamp"] == stamp:
        return entry["digest"]
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    known[str(path.resolve())] = {"stamp": stamp, "digest": digest}
    _write(cache, known)
    return digest


def folder_digest(root: Path, splits: list[str | None], *, cache: Path) -> str | None:
    """Return a digest of names and sizes of the files in the splits, or None if there are none.

    Published archives (CIFAR-10 as torchvision stores it) have no split folders and no digest:
    downloading them does not change a run.

    The scan is cached until something changes that `_stamp` sees, so that planning stays quick on
    a million files.
    """
    folders = [root / split for split in splits if split and (root / split).is_dir()]
    if not folders:
        return None
    stamp = _stamp(folders)
    known = _read(cache)
    entry = known.get(str(root.resolve()))
    if entry and entry["stamp"] == stamp:
        return entry["digest"]
    digest = _scan(root, folders)
    known[str(root.resolve())] = {"stamp": stamp, "digest": digest}
    _write(cache, known)
    return digest


def _stamp(folders: list[Path]) -> str:
    """Hash what tells that files changed: of few files everything, of many their folders' times.

    A million files cannot be looked at in every plan. There a file that is added or removed shows
    in the time of its class folder, one that is overwritten in place does not.
    """
    looked_at = list(islice(_files(folders), FEW_FILES + 1))
    if len(looked_at) > FEW_FILES:
        looked_at = list(_class_folders(folders))
    seen = []
    for path in looked_at:
        status = path.stat()
        seen.append((str(path), status.st_size, status.st_mtime_ns))
    return hashlib.sha256(repr(sorted(seen)).encode()).hexdigest()


def _files(folders: list[Path]) -> Iterator[Path]:
    for top in folders:
        for folder, _, names in os.walk(top, followlinks=True):
            yield from (Path(folder) / name for name in names)


def _class_folders(folders: list[Path]) -> Iterator[Path]:
    for folder in folders:
        yield folder
        with os.scandir(folder) as entries:
            yield from (Path(entry.path) for entry in entries if entry.is_dir())


def _scan(root: Path, folders: list[Path]) -> str:
    log.info("reading the file list of %s once, to name the data set", root)
    lines = [f"{path.relative_to(root)}\t{path.stat().st_size}" for path in _files(folders)]
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()[:16]


def _read(cache: Path) -> dict[str, Any]:
    try:
        return json.loads(cache.read_text())
    except (OSError, ValueError):
        return {}


def _write(cache: Path, known: dict[str, Any]) -> None:
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        temporary = cache.with_suffix(f".{os.getpid()}")
        temporary.write_text(json.dumps(known))
        temporary.replace(cache)
    except OSError as error:  # a read-only results folder costs speed, not correctness
        log.debug("digest cache not written: %s", error)
