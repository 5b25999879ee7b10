"""Pairs of rows that the paper orders, and what our seeds and images say of each.

Which rows make a pair follows from the structure of a table alone: a row and its base row, two
other rows of a block, and rows of two blocks that differ in nothing but what sets the blocks apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations

from scaledrelu.reports.agreement import Order, order_of
from scaledrelu.reports.published_tables import Line, PublishedTable
from scaledrelu.reports.statistics import is_decided, paired
from scaledrelu.runs.record import Status


class PairOutcome(StrEnum):
    """What became of a pair that the paper orders."""

    ALIKE = "as in the paper"
    REVERSED = "the other way round"
    UNDECIDED = "undecided"


class Kind(StrEnum):
    """Which rows a comparison is between."""

    BASE = "against the base row"
    WITHIN = "two rows of a block"
    ACROSS = "same setting in two blocks"


@dataclass(frozen=True, slots=True)
class Pair:
    """Two rows whose numbers in the paper differ.

    Attributes:
        one: a row.
        other: what it is compared with.
        ours: one minus other, the mean over the seeds that both have; None without such a seed.
        half: half of its 95 % interval; None for less than two seeds.
        is_decided: whether seeds and images suffice to call it a difference.
    """

    one: Line
    other: Line
    ours: float | None
    half: float | None
    is_decided: bool

    @property
    def paper(self) -> float:
        """The paper's difference; never 0."""
        return self.one.target - self.other.target

    @property
    def num_seeds(self) -> int:
        """How many seeds have a value in both rows."""
        return len(self.one.values.keys() & self.other.values.keys())

    @property
    def outcome(self) -> PairOutcome:
        """Whether the difference is decided, and if so whether it has the paper's sign."""
        if not self.is_decided:
            return PairOutcome.UNDECIDED
        return self.leaning

    @property
    def leaning(self) -> PairOutcome:
        """What the means alone say, sure or not; undecided without a difference."""
        if not self.ours:
            return PairOutcome.UNDECIDED
        return PairOutcome.ALIKE if (self.ours > 0) == (self.paper > 0) else PairOutcome.REVERSED


@dataclass(frozen=True, slots=True)
class Comparison:
    """The pairs of one kind, of one metric and one block (or of two).

    Attributes:
        kind: which rows are compared.
        blocks: one label, or two.
        metric: name of the metric compared.
        rows: the lines that the pairs are made of: their labels name the rows.
        pairs: those that the paper orders.
    """

    kind: Kind
    blocks: tuple[str, ...]
    metric: str
    rows: tuple[Line, ...]
    pairs: tuple[Pair, ...]

    def count(self, outcome: PairOutcome) -> int:
        """Return how many pairs came out like this."""
        return sum(pair.outcome is outcome for pair in self.pairs)


def comparisons(table: PublishedTable) -> list[Comparison]:
    """Return every comparison that holds a pair which the paper orders."""
    blocks = [(block,) for block in table.blocks]
    places = [(Kind.BASE, block, _with_base) for block in blocks]
    places += [(Kind.WITHIN, block, _within) for block in blocks]
    places += [(Kind.ACROSS, two, _across) for two in combinations(table.blocks, 2)]
    found = [_compare(table, metric, *place) for place in places for metric in table.metrics]
    return [comparison for comparison in found if comparison.pairs]


def orders(table: PublishedTable) -> list[Order]:
    """Return tau-b of every block and metric with enough rows that crash neither here nor there."""
    found = []
    for block, lines in table.blocks.items():
        for metric in table.metrics:
            rows = [
                (line.mean, line.target)
                for line in lines
                if line.metric == metric and line.is_comparable and line.status is Status.OK
            ]
            found.append(order_of(block, metric, rows))
    return [order for order in found if order]


def _compare(
    table: PublishedTable,
    metric: str,
    kind: Kind,
    blocks: tuple[str, ...],
    make: Callable[..., Iterable[Pair]],
) -> Comparison:
    parts = [[line for line in table.blocks[b] if line.metric == metric] for b in blocks]
    rows = tuple(line for part in parts for line in part)
    return Comparison(kind, blocks, metric, rows, tuple(make(*parts)))


def _with_base(lines: Sequence[Line]) -> Iterable[Pair]:
    """Compare rows with their base row, with what the CSV says of the difference."""
    by_row = {line.row: line for line in lines}
    for line in lines:
        if line.base in by_row and _are_ordered(line, by_row[line.base]):
            base = by_row[line.base]
            yield Pair(line, base, line.vs_base, line.ci_vs_base, line.is_decided)


def _within(lines: Sequence[Line]) -> Iterable[Pair]:
    """Compare every two rows of a block; a base row has been compared already."""
    bases = {line.base for line in lines}
    rows = [line for line in lines if line.row not in bases and line.row > 0]
    for one, other in combinations(rows, 2):
        if _are_ordered(one, other):
            yield _pair(one, other)


def _across(lines: Sequence[Line], others: Sequence[Line]) -> Iterable[Pair]:
    """Compare rows of two blocks that agree in every label but those that each block has one of."""
    varying = [
        name
        for name in lines[0].labels
        if any(len({line.labels[name] for line in part}) > 1 for part in (lines, others))
    ]
    for one in lines:
        for other in others:
            same = all(one.labels[name] == other.labels[name] for name in varying)
            rows = one.row > 0 and other.row > 0
            if rows and same and one.method == other.method and _are_ordered(one, other):
                yield _pair(one, other)


def _are_ordered(one: Line, other: Line) -> bool:
    return None not in (one.target, other.target) and one.target != other.target


def _pair(one: Line, other: Line) -> Pair:
    size = paired(one.values, other.values)
    if size is None:
        return Pair(one, other, None, None, False)
    decided = is_decided(size, one.mean, other.mean, one.n_images)
    return Pair(one, other, size.mean, size.half, decided)
