"""What ``scripts/collect.py`` does: chosen runs as a table, single or in groups, and as files."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from scaledrelu.errors import ConfigError, nearest
from scaledrelu.files import write_atomic
from scaledrelu.reports.collect.filters import check_key, read_filters, select, why_none
from scaledrelu.reports.collect.groups import (
    averaged_over,
    group_lines,
    group_record,
    group_runs,
    pivot_lines,
)
from scaledrelu.reports.collect.multirun import endings_of, multirun_text
from scaledrelu.reports.collect.rows import (
    FACTS,
    Row,
    config_keys,
    metric_names,
    read_rows,
)
from scaledrelu.reports.collect.table import (
    HEADERS,
    counts_text,
    fitting,
    grid,
    headlines,
    in_order,
    run_cells,
    telling_keys,
    varying_keys,
)
from scaledrelu.text import Say, csv_of

ALL = "all"
MOST_NAMES = 12  # that a message lists
OK, NOTHING_FOUND = 0, 1


@dataclass(frozen=True, slots=True)
class Asked:
    """The command line of ``scripts/collect.py``; what was not given is None or empty."""

    filters: Sequence[str]
    results: str
    multirun: Path | None
    keys: str | None
    by: str | None
    metric: str | None
    pivot: bool
    csv: Path | None
    markdown: Path | None
    plot: Path | None

    @property
    def is_bare(self) -> bool:
        """Whether nothing is said of which runs to show, and how."""
        return not any((self.filters, self.keys, self.by, self.metric, self.csv, self.markdown))


@dataclass(frozen=True, slots=True)
class Listing:
    """A table and what is said under it."""

    headers: Sequence[str]
    lines: Sequence[Sequence[str]]
    notes: Sequence[str]
    num_fixed: int  # columns that are shown however narrow the terminal is


def collect(asked: Asked, say: Say, *, width: int | None = None) -> int:
    """Print a table of runs and write it to files; return the exit status.

    Args:
        asked: the command line.
        say: prints one line.
        width: letters of a line; None = as many as needed.

    Raises:
        ConfigError: a filter, key or metric that does not exist, or options that exclude each
            other, or a file that cannot be written.
    """
    _check(asked)
    if asked.multirun and asked.is_bare:
        say(multirun_text(asked.multirun, asked.results))
        return OK
    filters, by = read_filters(asked.filters), _listed(asked.by)
    everything = _rows(asked)
    if not everything:
        why = "no runs yet; train one: python scripts/train.py stem=conv"
        if asked.multirun:
            started = any(ending.run_id for ending in endings_of(asked.multirun))
            runs = f"has none of the runs of {asked.multirun}; give --results <their folder>"
            why = runs if started else f"none of the jobs of {asked.multirun} became a run"
        say(f"{asked.results}: {why}")
        return NOTHING_FOUND
    rows = select(everything, filters)
    if not rows:
        say(why_none(everything, filters))
        return NOTHING_FOUND
    if by:
        table, records = _grouped(asked, rows, by, say)
    else:
        table, records = _single(asked, rows)
    say(_printed(table, width))
    _write(asked, table, records, say)
    return OK


def _check(asked: Asked) -> None:
    if asked.pivot and len(_listed(asked.by)) < 2:
        raise ConfigError("--pivot: needs two keys in --by, e.g. --by stem.label,lr.base")
    if asked.plot and not asked.by:
        raise ConfigError("--plot: needs --by, e.g. --by stem.label,lr.base")
    if asked.by and asked.keys:
        raise ConfigError("--keys: chooses columns of single runs; it cannot be given with --by")


def _rows(asked: Asked) -> list[Row]:
    if asked.multirun is None:
        return read_rows(asked.results)
    names = {ending.run_id for ending in endings_of(asked.multirun)}
    return read_rows(asked.results, only=names)


def _single(asked: Asked, rows: Sequence[Row]) -> tuple[Listing, list[Row]]:
    """Return the table of single runs, and every column of them for a CSV file."""
    varying = varying_keys(rows)
    keys = varying if asked.keys == ALL else _listed(asked.keys)
    for key in keys:
        check_key(key, rows, typed=f"--keys {asked.keys}")
    keys = keys or telling_keys(rows, varying)
    columns = ["run_id", "outcome", *_metrics(asked, rows), "seconds"]
    ordered = in_order(rows, [key for key in keys if key not in columns])
    columns += [key for key in keys if key not in columns]
    notes = [counts_text(rows)]
    if hidden := [key for key in varying if key not in columns]:
        notes.append(f"{len(hidden)} more settings differ among them; --keys all shows them")
    lines = [run_cells(row, columns) for row in ordered]
    names = [*FACTS, *metric_names(rows), *config_keys(rows)]
    records = [{name: row.get(name) for name in names} for row in ordered]
    num_fixed = len(columns) - len(keys)
    return Listing([HEADERS.get(key, key) for key in columns], lines, notes, num_fixed), records


def _grouped(
    asked: Asked, rows: Sequence[Row], by: Sequence[str], say: Say
) -> tuple[Listing, list[Row]]:
    """Return the table of groups, and each of them for a CSV file; draw them if asked."""
    for key in by:
        check_key(key, rows, typed=f"--by {asked.by}")
    metrics = _metrics(asked, rows, best=False)
    if len(metrics) != 1:
        found = ", ".join(metrics) or "none"
        raise ConfigError(f"--by: averages one metric; give --metric (found: {found})")
    groups = group_runs(rows, by, metrics[0])
    headers, lines = (pivot_lines if asked.pivot else group_lines)(groups, by)
    over = averaged_over(groups)
    notes = [
        f"{counts_text(rows)}; {metrics[0]}: mean and half of its 95 % t interval over runs, a "
        "crashed run with the value it ended at"
    ]
    if over:
        notes.append(f"settings that vary inside the groups: {', '.join(over)}")
    if asked.plot:
        from scaledrelu.reports.collect.plot import draw_groups

        place = asked.plot.with_suffix("") if asked.plot.suffix in (".png", ".svg") else asked.plot
        with _writable(place):
            for path in draw_groups(groups, by, place):
                say(f"wrote {path}")
    records = [group_record(group, by) for group in groups]
    return Listing(headers, lines, notes, len(headers)), records


def _metrics(asked: Asked, rows: Sequence[Row], *, best: bool = True) -> list[str]:
    """Return the metrics to show: those asked for, else the headlines, with their best values."""
    known, found = metric_names(rows), _listed(asked.metric)
    for name in found:
        if name not in known:
            raise ConfigError(
                f"--metric {name}: no chosen run has it"
                f"{nearest(name, known) or f'; found: {_some(known)}'}"
            )
    if found:
        return found
    return [m for one in headlines(rows) for m in ([one, f"{one}_best"] if best else [one])]


def _printed(table: Listing, width: int | None) -> str:
    headers, lines, notes = table.headers, table.lines, list(table.notes)
    if width is not None:
        shown = fitting(headers, lines, fixed=table.num_fixed, width=width)
        if shown < len(headers):
            notes.append(
                f"no room for: {', '.join(headers[shown:])} (--keys chooses, a pipe shows all)"
            )
        headers, lines = headers[:shown], [line[:shown] for line in lines]
    return "\n".join([grid(headers, lines), *notes])


def _write(asked: Asked, table: Listing, records: Sequence[Row], say: Say) -> None:
    if asked.csv:
        _write_text(asked.csv, csv_of(records[0], (record.values() for record in records)), say)
    if asked.markdown:
        notes = "\n".join(f"\n{note}" for note in table.notes)
        text = f"{grid(table.headers, table.lines, style='github')}\n{notes}\n"
        _write_text(asked.markdown, text, say)


def _write_text(path: Path, text: str, say: Say) -> None:
    with _writable(path):
        write_atomic(path, text)
    say(f"wrote {path}")


@contextlib.contextmanager
def _writable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be written ({error.strerror}); give a file in another folder"
        ) from error


def _some(names: Sequence[str]) -> str:
    return ", ".join([*names[:MOST_NAMES], *(["..."] if names[MOST_NAMES:] else [])]) or "none"


def _listed(text: str | None) -> list[str]:
    return [part for part in (text or "").split(",") if part]
