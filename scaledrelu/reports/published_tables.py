"""Published tables, read back from their CSV alone: no table file, no configuration, no run.

What each column holds: docs/reports.md.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from scaledrelu.errors import TableError
from scaledrelu.reports.cells import UPSTREAM
from scaledrelu.reports.report_files import table_files
from scaledrelu.runs.record import Status
from scaledrelu.tables.captions import title_of
from scaledrelu.tables.table import CRASH

CRASHED_START = re.compile(rf"{UPSTREAM} \((\S+)\)")  # in a note, once for each seed


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a CSV: one metric of one row.

    Attributes:
        row: number of the row; 0 is a block's baseline that is not a row of the table.
        labels: what the table calls the row.
        target: the paper's number; None where it printed none, or a misprint.
        crashes_in_paper: whether the paper printed a crash.
        status: how the row counts here.
        n: finished seeds.
        n_crash: how many of them crashed.
        n_images: what a value is a share of; None where only the seeds decide.
        mean: mean over all finished seeds, in percent; None where none has a value.
        base: row that this one is compared with; None for the base row itself.
        vs_base: mean difference to the base row over paired seeds; None without such a seed.
        ci_vs_base: half of its interval; None for one seed.
        is_decided: whether seeds and images suffice to call it a difference.
        values: seed -> value, of every finished seed that has one.
        run_ids: one per seed.
        crashed_starts: runs that crashed, so that a run which starts from one could not start and
            counts as crashed: one per such seed.
    """

    row: int
    block: str
    labels: Mapping[str, str]
    metric: str
    target: float | None
    crashes_in_paper: bool
    status: Status
    n: int
    n_crash: int
    n_images: int | None
    mean: float | None
    base: int | None
    vs_base: float | None
    ci_vs_base: float | None
    is_decided: bool
    values: Mapping[int, float]
    run_ids: tuple[str, ...]
    crashed_starts: tuple[str, ...]

    @property
    def is_comparable(self) -> bool:
        """Whether the row is one of the table and has something of the paper beside it."""
        return self.row > 0 and (self.crashes_in_paper or self.target is not None)

    @property
    def method(self) -> str:
        """What the runs are trained by, as their ids begin."""
        return self.run_ids[0].rpartition("-")[0]

    @property
    def started(self) -> tuple[int, int]:
        """How many of the seeds that could start crashed, and how many these are."""
        lost = len(self.crashed_starts)
        return self.n_crash - lost, self.n - lost


@dataclass(frozen=True, slots=True)
class PublishedTable:
    """The lines of one CSV, in its order."""

    name: str  # of the file, without its ending
    lines: tuple[Line, ...]

    @property
    def title(self) -> str:
        """What people call it: ``Table 2, knn``."""
        return title_of(self.name)

    @property
    def blocks(self) -> dict[str, list[Line]]:
        """The lines of each block."""
        found: dict[str, list[Line]] = {}
        for line in self.lines:
            found.setdefault(line.block, []).append(line)
        return found

    @property
    def metrics(self) -> list[str]:
        """The metrics, in the order of the table."""
        return list(dict.fromkeys(line.metric for line in self.lines))


def read_published(folder: Path) -> list[PublishedTable]:
    """Read every CSV of a published profile, in order of its name.

    Raises:
        TableError: no CSV, or one that this version did not write.
    """
    paths = table_files(folder)
    if not paths:
        raise TableError(f"{folder}: holds no published table; publish first: make publish")
    return [_read(path) for path in paths]


def _read(path: Path) -> PublishedTable:
    try:
        reader = csv.DictReader(path.read_text(encoding="utf-8").splitlines())
        names = list(reader.fieldnames or ())
        labels = names[names.index("block") + 1 : names.index("metric")]
        lines = tuple(_line(fields, labels) for fields in reader)
        if not lines:
            raise ValueError("no row")
    except (csv.Error, KeyError, TypeError, ValueError) as error:
        raise TableError(
            f"{path}: not a table of this version ({type(error).__name__}: {error}); publish it "
            "again: make publish"
        ) from error
    return PublishedTable(path.stem, lines)


def _line(fields: Mapping[str, str], labels: Sequence[str]) -> Line:
    return Line(
        row=int(fields["row"]),
        block=fields["block"],
        labels={name: fields[name] for name in labels},
        metric=fields["metric"],
        target=_maybe(float, fields["target"]),
        crashes_in_paper=fields["paper"] == CRASH,
        status=Status(fields["status"]),
        n=int(fields["n"]),
        n_crash=int(fields["n_crash"]),
        n_images=_maybe(int, fields["n_images"]),
        mean=_maybe(float, fields["mean_all"]),
        base=_maybe(int, fields["base"]),
        vs_base=_maybe(float, fields["vs_base"]),
        ci_vs_base=_maybe(float, fields["ci_vs_base"]),
        is_decided=fields["decided"] == "yes",
        values=dict(_values(fields["values"].split())),
        run_ids=tuple(fields["run_ids"].split()),
        crashed_starts=tuple(CRASHED_START.findall(fields["note"])),
    )


def _values(items: Iterable[str]) -> Iterable[tuple[int, float]]:
    """Read ``0=92.1667 1=crash:31.3889 2=crash: 3=missing``; the last two have no value."""
    for item in items:
        seed, _, text = item.partition("=")
        number = text.removeprefix(f"{Status.CRASH}:")
        if number and number not in tuple(Status):
            yield int(seed), float(number)


def _maybe(kind: Callable[[str], float], text: str) -> float | None:
    return kind(text) if text else None
