"""Every run on disk as one flat row: how it ended, its metrics, and every key of its configuration.

What was trained stands in ``config.json``, which a run's id is checked against; labels, tags and
places stand in ``config.yaml``, which published records do not have. A folder that cannot be read
costs its own row alone, which says why.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from scaledrelu.config.group import typed
from scaledrelu.config.identity import id_of
from scaledrelu.config.naming import LAYERS
from scaledrelu.config.places import CONFIG, RESULT, runs_root
from scaledrelu.config.stem_options import option_name
from scaledrelu.config.stored import ADDED, CONFIG_YAML, from_yaml
from scaledrelu.errors import ConfigError
from scaledrelu.reports.readable_config import readable_value
from scaledrelu.runs.damage import (
    UNREADABLE,
    RecordError,
    check_files,
    check_runs,
    in_short,
    keep,
    read_text,
)
from scaledrelu.runs.record import (
    Status,
    read_config,
    read_error,
    read_result,
    read_saved,
    unfinished_status,
)

Row = dict[str, Any]
# Of every row, in this order; then the metrics, whose names hold a "/", and the configuration.
FACTS = (
    *("run_id", "outcome", "reason", "crash_kind", "crash_step", "seconds", "device", "commit"),
    "tags",
)
TAGS = "wandb.tags"
_BLOCK = re.compile(r"^(?=[^\s#-])", re.MULTILINE)  # where a group starts in config.yaml


def read_rows(results: str | Path, *, only: Collection[str] | None = None) -> list[Row]:
    """Return a row of every run in a results folder, in the order of their ids.

    Args:
        results: results folder.
        only: ids of the runs to read; None = all.

    Raises:
        ConfigError: there is no such folder.
        RecordError: it may not be read.
    """
    root = runs_root(results)
    check_runs(results)
    try:
        names = sorted(name for name in os.listdir(root) if not name.startswith("."))
    except OSError as error:
        raise ConfigError(
            f"{results}: holds no runs ({root}: {error.strerror}); give another results folder, or "
            "train a run first: python scripts/train.py"
        ) from error
    known: dict[str, Row] = {}
    return _with_words([_row(root / name, known) for name in names if only is None or name in only])


def is_metric(key: str) -> bool:
    """Say whether a key of a row is the name of a metric."""
    return "/" in key


def config_keys(rows: Iterable[Row]) -> list[str]:
    """Return the keys of the configuration that rows have, in alphabetical order."""
    keys = {key for row in rows for key in row}
    return sorted(key for key in keys if key not in FACTS and not is_metric(key))


def metric_names(rows: Iterable[Row]) -> list[str]:
    """Return the names of the metrics that rows have, in alphabetical order."""
    return sorted({key for row in rows for key in row if is_metric(key)})


def has_config(row: Row) -> bool:
    """Say whether the configuration of a run could be read."""
    return "seed" in row


def is_done(row: Row) -> bool:
    """Say whether a run has a result; a crash is one."""
    return row["outcome"] in (Status.OK, Status.CRASH)


def _row(folder: Path, known: dict[str, Row]) -> Row:
    row: Row = {**dict.fromkeys(FACTS), "run_id": folder.name, "reason": ""}
    try:
        check_files(folder)
        science = _science(folder)
        row |= _config(folder, science, known)
        if (tags := row.get(TAGS)) is not None:
            row["tags"] = tags.strip("[]").replace(",", ", ")
        row |= _ending(folder, has_science=science is not None)
    except RecordError as error:
        row |= {"outcome": str(Status.DAMAGED), "reason": str(error)}
    return row


def _science(folder: Path) -> dict[str, Any] | None:
    """Return what a run was trained with; None where it has not ended.

    Raises:
        RecordError: the file is damaged, or another run's.
    """
    science = read_config(folder)
    if science is not None and id_of(science, method=_method(folder)) != folder.name:
        raise RecordError(f"{folder}: config.json is that of another run; {keep(folder)}")
    return science


def _ending(folder: Path, *, has_science: bool) -> Row:
    """Return how a run ended, and its metrics.

    Raises:
        RecordError: the record is damaged, another run's, or none.
    """
    result = read_result(folder)
    if result is None:
        return _unfinished(folder)
    if not has_science or result.run_id != folder.name:
        what = f"is of {result.run_id}" if has_science else "config.json is missing beside it"
        raise RecordError(f"{folder / RESULT}: {what}; {keep(folder)}")
    crash = result.crash or {}
    return {
        "outcome": str(result.outcome),
        "crash_kind": crash.get("kind"),
        "crash_step": crash.get("step"),
        "seconds": result.seconds,
        "device": result.provenance.get("device"),
        "commit": result.provenance.get("commit"),
        **result.metrics,
    }


def _unfinished(folder: Path) -> Row:
    status, reason = unfinished_status(folder), ""
    if status is Status.FAILED:
        reason = read_error(folder) or ""
    elif status is Status.MISSING:
        if not any((folder / name).exists() for name in (CONFIG_YAML, CONFIG)):
            raise RecordError(f"{folder}: not the folder of a run (no {CONFIG_YAML}); move it away")
        saved = read_saved(folder)
        if saved is not None and saved.step is not None:
            reason = f"stopped at step {saved.step} of {saved.total_steps}"
    return {"outcome": str(status), "reason": reason}


def _config(folder: Path, science: Mapping[str, Any] | None, known: dict[str, Row]) -> Row:
    """Return the flat configuration of a run: what it was trained with, labels and places.

    Raises:
        RecordError: its file is damaged.
    """
    found = _planned_config(folder, known) | (_flat_config(science) if science else {})
    return {"method": _method(folder), **ADDED, **found} if found else {}


def _method(folder: Path) -> str:
    return folder.name.rpartition("-")[0]


def _planned_config(folder: Path, known: dict[str, Row]) -> Row:
    """Return what ``config.yaml`` says, flat; groups that many runs share are read once."""
    text = read_text(folder / CONFIG_YAML, advice=keep(folder))
    found: Row = {}
    try:
        for block in _BLOCK.split(text or ""):
            if block not in known:
                known[block] = _read_block(block)
            found |= known[block]
    except (yaml.YAMLError, *UNREADABLE) as error:
        raise RecordError(
            f"{folder / CONFIG_YAML}: damaged ({in_short(error)}); {keep(folder)}"
        ) from error
    return found


def _read_block(block: str) -> Row:
    has_content = any(line.strip() and line[0] != "#" for line in block.splitlines())
    return _flat_config(from_yaml(block)) if has_content else {}


def _flat_config(nested: Mapping[str, Any]) -> Row:
    """Return a configuration, flat, with ``stem.name``: it tells apart stems with one label."""
    stem = nested.get("stem", {})
    if set(LAYERS) <= set(stem):
        nested = {**nested, "stem": {**stem, "name": option_name(stem)}}
    return _flat(nested)


@dataclass(frozen=True, slots=True)
class _Group:
    """What stands at a key that holds others: its text is wanted where other runs have a word."""

    value: Mapping[str, Any]


def _with_words(rows: list[Row]) -> list[Row]:
    """Return rows in which a key that is a plain value in some runs is a text in the others.

    ``lr.curve`` is null or a class with its arguments, ``stem.norm`` a word or one.
    """
    words = {key for row in rows for key, value in row.items() if not isinstance(value, _Group)}
    words |= ADDED.keys()
    return [
        {
            key: readable_value(value.value) if isinstance(value, _Group) else value
            for key, value in row.items()
            if key in words or not isinstance(value, _Group)
        }
        for row in rows
    ]


def _flat(value: Mapping[str, Any], path: str = "") -> Row:
    """Return dotted key -> value; a list becomes its text, as it is typed; groups stay as well."""
    found: Row = {}
    for name, item in value.items():
        key = f"{path}.{name}" if path else str(name)
        if isinstance(item, dict):
            found |= {key: _Group(item), **_flat(item, key)}
        elif isinstance(item, list) and any(isinstance(one, (dict, list)) for one in item):
            found[key] = readable_value(item)
        else:
            found[key] = typed(item) if isinstance(item, list) else item
    return found
