"""What a table is, once its file is read: columns, rows, the values that the paper prints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from scaledrelu.config.seeds import Seeds
from scaledrelu.text import capital

CRASH, MISSING = "crash", "missing"  # what stands in place of a number


@dataclass(frozen=True, slots=True)
class Column:
    """One column: a label read from the run's config, or a metric with its own overrides."""

    name: str
    header: str
    source: str  # config key, caption name or metric name
    kind: str  # from | caption | metric
    of_upstream: bool = False
    digits: int = 1
    run: tuple[str, ...] = ()
    judged_on: tuple[str, str] | None = None  # metric that counts what this averages, their name


@dataclass(frozen=True, slots=True)
class Row:
    """One printed row; number 0 is a block's baseline, which arrows are relative to."""

    number: int
    block: str
    run: tuple[str, ...]
    upstream: tuple[str, ...] | None
    released_weights: Mapping[
        str, tuple[str, ...]
    ]  # profile -> what it starts from instead of upstream
    paper: Mapping[str, float | str]
    misprints: tuple[str, ...] = ()  # metrics whose printed value is no target
    corrected: Mapping[str, float] = field(default_factory=dict)  # what is printed instead
    note: str = ""
    block_note: str = ""  # about every row of its block
    is_reference: bool = False  # a row of the table that its block's deltas refer to
    seeds: Seeds | None = None  # the row's own or its block's; None: the table's

    @property
    def is_baseline(self) -> bool:
        """Whether the row is not the table's own but only what its deltas refer to."""
        return self.number == 0


@dataclass(frozen=True, slots=True)
class Table:
    """One table as data, of the paper or beside it."""

    name: str
    source: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    seeds: Seeds
    only_at: tuple[str, ...] = ()  # the only profiles that it is trained at; empty: every profile
    not_at: tuple[str, ...] = ()  # profiles that make it only where it is named
    judged: bool = False  # whether the loss that the crash rule judged is printed beside its limit
    is_grid: bool = False  # of learning rates and warm-ups, from conf/stability
    more_seeds: str = ""  # a table that trains some of these settings with more seeds
    note: str = ""  # on the whole table, which reports print below its numbers

    @property
    def opening(self) -> str:
        """The sentences that its reports open with: what it shows, and where the paper has it."""
        return f"{capital(self.title)}. {capital(self.source)}."

    @property
    def labels(self) -> tuple[Column, ...]:
        """Columns that name a row."""
        return tuple(column for column in self.columns if column.kind != "metric")

    @property
    def metrics(self) -> tuple[Column, ...]:
        """Columns that hold a measured value."""
        return tuple(column for column in self.columns if column.kind == "metric")

    def is_printed(self, metric: Column) -> bool:
        """Say whether the paper has this column at all."""
        return any(row.paper[metric.name] != MISSING for row in self.rows)

    @property
    def is_of_the_paper(self) -> bool:
        """Whether the paper prints any value of it."""
        return any(map(self.is_printed, self.metrics))

    def is_made_at(self, profile: str) -> bool:
        """Say whether a profile makes this table when none is named.

        Args:
            profile: an option of ``conf/profile``.
        """
        return profile not in self.not_at and profile in (self.only_at or (profile,))

    def seeds_of(self, row: Row) -> Seeds:
        """Return a row's own seeds, or those of its block; else the table's."""
        return row.seeds or self.seeds

    def baseline_of(self, row: Row) -> Row | None:
        """Return what a row is compared with in its block; None for itself or where none is."""
        same = (r for r in self.rows if r.block == row.block)
        base = next((r for r in same if r.is_baseline or r.is_reference), None)
        return None if base is row else base
