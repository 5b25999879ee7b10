"""Committed evidence: tables, what else was made of them, and slim run records.

A published profile holds the records that its tables, claims and figures name, upstream runs and
the manifests of artifacts included, and no others. Everything is copied out of the ignored results
folder; the page about it is written anew beside it (``page/write.py``), since its links differ.
"""

from __future__ import annotations

import csv
import logging
import shutil
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

from scaledrelu.config.artifacts import MANIFEST, artifact_directory
from scaledrelu.config.identity import RUN_ID
from scaledrelu.config.places import CONFIG, EVIDENCE, METRICS, RESULT, published_root
from scaledrelu.errors import TableError
from scaledrelu.files import write_changed
from scaledrelu.reports.report_files import CURVES, MILESTONES, other_files, table_files
from scaledrelu.runs.damage import RecordError
from scaledrelu.runs.record import read_config, read_result, run_directory

log = logging.getLogger(__name__)

SMALL = (METRICS, EVIDENCE)  # the weights stay where they are


def publish(
    results: Path, profile: str, *, tables: Sequence[str] | None = None, force: bool = False
) -> list[Path]:
    """Copy a profile's reports, and the record of every run they print, to ``published/``.

    Claims, figures and stability maps go with the tables, whichever these are. A report without a
    finished run is left out, whatever ``force`` says. Records of this profile that no published
    file names any more are removed; a warning says which.

    Args:
        results: results folder.
        profile: name of the profile whose reports they are.
        tables: names of the reports; None = every report of the profile.
        force: publish even what rests on fewer finished runs than the published table.

    Raises:
        TableError: nothing to publish, a record that is gone, or evidence that would shrink.
    """
    source, target = results / profile, published_root(results) / profile
    reports = _with_results(source, tables)
    others = _others(source, tables)
    if not force:
        for path in reports:
            _refuse_less(path, target / path.name, _count, _count)
        counts = [partial(_count_named, root=root) for root in (results, target)]
        for path in (path for path in others if path.suffix == ".csv"):
            _refuse_less(path, target / path.relative_to(source), *counts)
    files = [path for one in reports for path in (one, one.with_suffix(".md"))] + others
    written = []
    for name in _named_in(files):
        written += _publish_run(results, target, name)
        written += _publish_artifact(results, target, name)
    written += [_copy(path, target / path.relative_to(source)) for path in files]
    _remove_unnamed(target)
    return list(dict.fromkeys(written))


def _others(source: Path, tables: Sequence[str] | None) -> list[Path]:
    """Return what is published beside the tables; what rests on no finished run is left out.

    Of a picture that no text names only the SVG is published: it is smaller.
    """
    found = []
    for files in other_files(source):
        if files[0].parent.name == CURVES:
            wanted = (*(tables or ()), MILESTONES)
            files = [p for p in files if p.suffix != ".png" and (not tables or p.stem in wanted)]
        csvs = {path: path.with_suffix(".csv") for path in files}
        alive = {csv for csv in csvs.values() if _count_named(csv, root=source.parent)}
        if alive:
            found += [p for p, csv in csvs.items() if csv in alive or not _named_in([csv])]
        elif files:
            log.warning("%s: not published, no run behind it has finished", files[0])
    return found


def _with_results(folder: Path, tables: Sequence[str] | None) -> list[Path]:
    """Return the reports (CSV) that rest on a finished run."""
    found = [path for path in table_files(folder) if path.with_suffix(".md").exists()]
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
    named = set(_named_in([*target.glob("*.*"), *target.glob("*/*.*")]))
    records = sorted(target.glob("*/*/"))
    gone = [r for r in records if RUN_ID.fullmatch(r.name) and r.name not in named]
    for record in gone:
        shutil.rmtree(record)
    if gone:
        names = " ".join(record.name for record in gone)
        log.warning("%s: removed %d record(s) that no report names: %s", target, len(gone), names)


def _publish_run(results: Path, target: Path, run_id: str) -> list[Path]:
    source = run_directory(results, run_id)
    try:
        if read_result(source) is None or read_config(source) is None:
            return []
    except RecordError as error:  # its cells say so, too
        log.warning("not published: %s", error)
        return []
    names = [CONFIG, RESULT, *(name for name in SMALL if (source / name).exists())]
    return [_copy(source / name, target / "runs" / run_id / name) for name in names]


def _publish_artifact(results: Path, target: Path, name: str) -> list[Path]:
    manifest = artifact_directory(results, name) / MANIFEST
    return [_copy(manifest, target / "artifacts" / name / MANIFEST)] if manifest.exists() else []


def _copy(source: Path, target: Path) -> Path:
    try:
        content = source.read_bytes()
    except FileNotFoundError as error:
        raise TableError(f"{source} is gone; write the reports again: make report") from error
    return write_changed(
        target, content, durable=False
    )  # its source stays; doing it again mends it


def _refuse_less(
    new: Path, published: Path, count: Callable[[Path], int], before: Callable[[Path], int]
) -> None:
    """Refuse to replace what rests on more finished runs."""
    if published.exists() and count(new) < before(published):
        raise TableError(
            f"{published} rests on {before(published)} finished runs, {new} only on {count(new)}; "
            "report with the same seeds first (make report SEEDS=...), or publish with force=true"
        )


def _named_in(files: Iterable[Path]) -> list[str]:
    """Return the ids of the runs and artifacts that some texts name, each once."""
    texts = (_text(path) for path in files if path.suffix in (".csv", ".md") and path.is_file())
    return list(dict.fromkeys(name for text in texts for name in RUN_ID.findall(text)))


def _count_named(path: Path, *, root: Path) -> int:
    """Return how many runs with a result under a folder a file names."""
    return sum((run_directory(root, name) / RESULT).is_file() for name in _named_in([path]))


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
