"""The digest of a data set's file list: another data set behind the same folder is another run."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)


def pin_data_digest(config: dict[str, Any]) -> None:
    """Fill in ``data.digest`` from the split folders under ``data.root``; null while absent.

    A digest that is set already is kept: it names data that this machine cannot see.
    """
    data = config["data"]
    if data["root"] is None or data["digest"] is not None:
        return
    splits = [data["build"].get("train"), data["build"].get("val")]
    data["digest"] = folder_digest(
        Path(data["root"]),
        splits,
        cache=Path(config["paths"]["results"]) / ".cache" / "digests.json",
    )


def folder_digest(root: Path, splits: list[str | None], *, cache: Path) -> str | None:
    """Return a digest of names and sizes of the files in the splits, or None if there are none.

    Published archives (CIFAR-10 as torchvision stores it) have no split folders and no digest:
    downloading them does not change a run.

    The scan is cached by the modification times of the folders, so that planning stays quick
    on a million files.
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
    """Hash the folders' and their class folders' modification times."""
    times = []
    for folder in folders:
        times.append((folder.name, folder.stat().st_mtime_ns))
        with os.scandir(folder) as entries:
            times.extend((e.name, e.stat().st_mtime_ns) for e in entries if e.is_dir())
    return hashlib.sha256(repr(sorted(times)).encode()).hexdigest()


def _scan(root: Path, folders: list[Path]) -> str:
    log.info("reading the file list of %s once, to name the data set", root)
    lines = []
    for top in folders:
        for folder, _, names in os.walk(top, followlinks=True):
            for name in names:
                path = Path(folder) / name
                lines.append(f"{path.relative_to(root)}\t{path.stat().st_size}")
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
