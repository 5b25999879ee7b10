"""Committed evidence: tables and slim run records, copied out of the ignored results folder.

A published profile holds the records that its tables name, upstream runs and the manifests of
artifacts included, and no others.
"""

from __future__ import annotations

import csv
import logging
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from scaledrelu.config.artifacts import MANIFEST, artifact_directory
from scaledrelu.errors import TableError
from scaledrelu.files import write_atomic
from scaledrelu.runs.damage import RecordError
from scaledrelu.runs.record import (
    CONFIG,
    RESULT,
    read_config,
    read_result,
    run_directory,
)

log = logging.getLogger(__name__)

EVIDENCE = ("metrics.jsonl", "evidence.npz")  # small; the weights stay where they are
RUN_ID = re.compile(r"[a-z0-9_]+-[0-9a-f]{12}")


def publish(
    results: Path, profile: str, *, tables: Sequence[str] | None = None, force: bool = False
) -> list[Path]:
    """Copy a profile's reports, and the record of every run they print, to ``published/``.

    A report without a finished run is left out, whatever ``force`` says. Records of this profile
    that no published table or text names any more are removed; a warning says which.

    Args:
        results: results folder.
        profile: name of the profile whose reports they are.
        tables: names of the reports; None = every report of the profile.
        force: publish even what rests on fewer finished runs than the published table.

    Returns:
        The published files.

    Raises:
        TableError: nothing to publish, a record that is gone, or evidence that would shrink.
    """
    reports = _with_results(results / profile, tables)
    target = results / "published" / profile
    written = []
    for report in reports:
        _refuse_less(report, target / report.name, force=force)
    for report in reports:
        for name in RUN_ID.findall(_text(report.with_suffix(".md"))):
            written += _publish_run(results, target, name)
            written += _publish_artifact(results, target, name)
        for path in (report, report.with_suffix(".md")):
            written.append(_copy(path, target / path.name))
    _remove_unnamed(target)
    return list(dict.fromkeys(written))


def _with_results(folder: Path, tables: Sequence[str] | None) -> list[Path]:
    """Return the reports (CSV) that rest on a finished run."""
    found = sorted(p for p in folder.glob("*.csv") if p.with_suffix(".md").exists())
    reports = [path for path in found if tables is None or path.stem in tables]
    if not reports:
        raise TableError(
            f"{folder} holds no report; write them first: make report PROFILE={folder.name}"
        )
    empty = [path.stem for path in reports if not _count(path)]
    if len(empty) == len(reports):
        raise TableError(
            f"{folder}: nothing is published: no run of {', '.join(empty)} has finished; train "
            f"first: make {empty[0]} PROFILE={folder.name}"
        )
    if empty:
        log.warning("%s: not published, no run has finished: %s", folder, ", ".join(empty))
    return [path for path in reports if path.stem not in empty]


def _remove_unnamed(target: Path) -> None:
    """Remove records whose run no file beside them mentions; anything else stays."""
    files = [path for kind in ("*.csv", "*.md") for path in target.glob(kind)]
    named = {run_id for path in files for run_id in RUN_ID.findall(_text(path))}
    records = sorted(target.glob("*/*/"))
    gone = [r for r in records if RUN_ID.fullmatch(r.name) and r.name not in named]
    for record in gone:
        shutil.rmtree(record)
    if gone:
        names = " ".join(record.name for record in gone)
        log.warning("%s: removed %d record(s) that no table names: %s", target, len(gone), names)


def _publish_run(results: Path, target: Path, run_id: str) -> list[Path]:
    source = run_directory(results, run_id)
    try:
        if read_result(source) is None or read_config(source) is None:
            return []
    except RecordError as error:  # its cells say so, too
        log.warning("not published: %s", error)
        return []
    names = [CONFIG, RESULT, *(name for name in EVIDENCE if (source / name).exists())]
    return [_copy(source / name, target / "runs" / run_id / name) for name in names]


def _publish_artifact(results: Path, target: Path, name: str) -> list[Path]:
    manifest = artifact_directory(results, name) / MANIFEST
    return [_copy(manifest, target / "artifacts" / name / MANIFEST)] if manifest.exists() else []


def _copy(source: Path, target: Path) -> Path:
    try:
        content = source.read_bytes()
    except FileNotFoundError as error:
        raise TableError(f"{source} is gone; write the reports again: make report") from error
    if not target.exists() or target.read_bytes() != content:
        write_atomic(target, content, durable=False)  # its source stays; publishing again mends it
    return target


def _refuse_less(new: Path, published: Path, *, force: bool) -> None:
    if force or not published.exists():
        return
    before, now = _count(published), _count(new)
    if now < before:
        raise TableError(
            f"{published} rests on {before} finished runs, {new} only on {now}; report with the "
            "same seeds first (make report SEEDS=...), or publish with force=true"
        )


def _count(report: Path) -> int:
    lines = csv.DictReader(_text(report).splitlines())
    try:
        return sum(int(line["n_ok"]) + int(line["n_crash"]) for line in lines)
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise TableError(
            f"{report}: not a table of this version; restore it from a copy, or publish with "
            "force=true"
        ) from error


def _text(report: Path) -> str:
    try:
        return report.read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        raise TableError(
            f"{report}: cannot be read ({error}); write the reports again (make report), or "
            "restore the published ones from a copy"
        ) from error
