"""Runs as the rows of a table for a terminal or a markdown file: what varies, and how they ended.

Of the configuration only keys that differ among the chosen runs are shown, and of these none that
follows from a label: a stem's fields follow from ``stem.label`` where every run with one label has
the same.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from scaledrelu.config.identity import is_transient
from scaledrelu.reports.collect.rows import (
    Row,
    config_keys,
    has_config,
    is_metric,
    metric_names,
)
from scaledrelu.runs.record import Status
from scaledrelu.tables.captions import value_text
from scaledrelu.text import duration, plural

HEADERS = {"run_id": "run"}
KIND = ("method", "profile.name", "data.name", "model.label")  # what decides most of the others
STEM_LABEL, STEM_NAME = "stem.label", "stem.name"
FIRST = (*KIND, STEM_LABEL, STEM_NAME, "ffn.label", "optimizer.label", "lr.base", "warmup.epochs")
NUMBERS = ("lr.base", "warmup.epochs", "seed")  # said wherever they vary
NO_WARMUP = "warmup.label"  # says no more than that a warm-up has 0 epochs
LONGEST = 60  # characters of a reason in a terminal


def varying_keys(rows: Iterable[Row]) -> list[str]:
    """Return the keys of the configuration that differ among runs, the most telling first.

    Args:
        rows: runs; those whose configuration is unknown are passed over.
    """
    known = [row for row in rows if has_config(row)]
    shown = [key for key in config_keys(known) if _is_name(key) or not is_transient(key)]
    found = [key for key in shown if any(row.get(key) != known[0].get(key) for row in known)]
    order = {key: place for place, key in enumerate(FIRST)}
    order["seed"] = 10**6  # last
    return sorted(found, key=lambda key: (order.get(key, len(FIRST)), key))


def telling_keys(rows: Sequence[Row], varying: Sequence[str]) -> list[str]:
    """Return the varying keys without those that follow from labels.

    Args:
        rows: runs.
        varying: keys that differ among them.
    """
    known = [row for row in rows if has_config(row)]
    names = [key for key in varying if _is_name(key) and key != NO_WARMUP]
    if STEM_NAME in names and _decide(known, [STEM_LABEL], STEM_NAME):
        names.remove(STEM_NAME)
    kind = [key for key in KIND if key in names]

    def follows(key: str) -> bool:
        own = [name for name in names if name.split(".")[0] == key.split(".")[0]]
        own = ["warmup.epochs"] if key == NO_WARMUP else own
        return _decide(known, own, key) or _decide(known, kind, key)

    return [key for key in varying if key in names or key in NUMBERS or not follows(key)]


def _is_name(key: str) -> bool:
    """Say whether a key of the configuration names what others spell out."""
    return key in (*KIND, STEM_NAME) or key.endswith(".label")


def headlines(rows: Iterable[Row]) -> list[str]:
    """Return the metrics whose best value is kept as well: those that runs are judged by."""
    names = metric_names(rows)
    return [name for name in names if f"{name}_best" in names]


def in_order(rows: Iterable[Row], keys: Sequence[str]) -> list[Row]:
    """Return runs sorted by some keys, numbers as numbers.

    Args:
        rows: runs.
        keys: the first counts most.
    """
    return sorted(rows, key=lambda row: [sort_key(row.get(key)) for key in (*keys, "run_id")])


def sort_key(value: Any) -> tuple[bool, bool, float, str]:
    """Return what values of mixed types are sorted by: nothing first, then numbers, then text."""
    is_number = isinstance(value, int | float)
    return value is not None, not is_number, value if is_number else 0.0, str(value)


def run_cells(row: Row, columns: Sequence[str]) -> list[str]:
    """Return the texts of one run.

    Args:
        row: the run.
        columns: keys of rows.
    """
    return [_cell(row, key) for key in columns]


def outcome_text(row: Row) -> str:
    """Return how a run ended, and where it crashed or why it has no result."""
    if row["outcome"] == Status.CRASH:
        step = "" if row["crash_step"] is None else f" at step {row['crash_step']}"
        return f"crash: {row['crash_kind'] or 'unknown kind'}{step}"
    *_, reason = row["reason"].partition(f"{row['run_id']}")  # without the path of the run
    reason = reason.lstrip("/: ") or row["reason"]
    return f"{row['outcome']}: {reason}" if reason else row["outcome"]


def counts_text(rows: Sequence[Row]) -> str:
    """Return e.g. ``5 runs: 3 ok, 2 crash``."""
    counted = Counter(row["outcome"] for row in rows)
    parts = [f"{counted[status]} {status}" for status in Status if counted[status]]
    return f"{plural(len(rows), 'run')}: {', '.join(parts)}"


def grid(headers: Sequence[str], lines: Sequence[Sequence[str]], *, style: str = "plain") -> str:
    """Return texts as a table.

    Args:
        headers: one for each column.
        lines: texts, one for each column.
        style: ``plain`` for a terminal, ``github`` for markdown.
    """
    from tabulate import tabulate  # what only some commands need

    if style == "plain":  # tabulate would make room around headers
        table = tabulate([headers, *lines], tablefmt=style, disable_numparse=True)
    else:
        shown = [[cell.replace("|", r"\|") for cell in line] for line in lines]
        table = tabulate(shown, headers, tablefmt=style, disable_numparse=True)
    return "\n".join(line.rstrip() for line in table.splitlines())


def fitting(
    headers: Sequence[str], lines: Sequence[Sequence[str]], *, fixed: int, width: int
) -> int:
    """Return how many columns of a plain table fit into a width.

    Args:
        headers: one for each column.
        lines: its texts.
        fixed: columns that are shown in any case.
        width: letters of a line.
    """
    used = 0
    for place, header in enumerate(headers):
        used += 2 * (place > 0) + max(len(header), *(len(line[place]) for line in lines))
        if used > width and place >= fixed:
            return place
    return len(headers)


def _decide(rows: Sequence[Row], by: Sequence[str], key: str) -> bool:
    """Say whether every run with the same values of some keys has the same value of another."""
    if not by:
        return False
    seen: dict[tuple[Any, ...], Any] = {}
    return all(
        seen.setdefault(tuple(row.get(one) for one in by), row.get(key)) == row.get(key)
        for row in rows
    )


def _cell(row: Row, key: str) -> str:
    value = row.get(key)
    if key == "outcome":
        text = outcome_text(row)
        return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
    if value is None and (is_metric(key) or key in ("seconds", "tags") or not has_config(row)):
        return "-"
    if key == "seconds":
        return duration(value)
    if is_metric(key):
        return f"{value:.2f}" if math.isfinite(value) else str(value)
    return value_text(value)
