"""What the numbers of a table say for and against the paper, in sentences made by rule.

Three lists: what fails, what holds, and what is open. Every sentence rests on a count.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import takewhile

from scaledrelu.reports.agreement import CrashCount, counted
from scaledrelu.reports.grid import signed
from scaledrelu.reports.published_tables import Line, PublishedTable
from scaledrelu.reports.row_pairs import Comparison, Kind, Pair, PairOutcome, comparisons, orders
from scaledrelu.runs.record import Status
from scaledrelu.tables.captions import named_rows
from scaledrelu.text import capital, plural

FEWEST_SEEDS = 3  # a pair of fewer says how many: every row was trained with so many
MOST_NAMED = 3  # pairs of one kind; differences to the base row are all named
GUESS = 'the constant guess "never a crash"'


@dataclass(frozen=True, slots=True)
class Verdicts:
    """Sentences about one table, each a bullet in markdown."""

    fails: list[str] = field(default_factory=list)
    holds: list[str] = field(default_factory=list)
    open: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class CrashRow:
    """A row, in one set of runs, beside the paper; metrics of the same runs are one."""

    line: Line
    data: str  # what tells its runs from the row's others; empty where there are none

    @property
    def is_crash(self) -> bool:
        """Whether it counts as a crash here."""
        return self.line.status is Status.CRASH


def verdicts(table: PublishedTable) -> Verdicts:
    """Return what a table says, crashes first, then differences and orders."""
    found = Verdicts()
    _about_crashes(table, found)
    _about_pairs(table, found)
    for order in orders(table):
        if order.tau <= 0:
            where = f"{order.block}, `{order.metric}`" if _is_several(table) else order.block
            found.fails.append(
                f"Order of the rows of {where}: tau-b {signed(order.tau, 2)} over "
                f"{order.num_rows} rows, no closer to the paper's order than a constant guess (0)."
            )
    return found


def crash_rows(table: PublishedTable) -> list[CrashRow]:
    """Return the rows that have something of the paper beside them, finished or not."""
    shared: dict[tuple[int, tuple[str, ...]], list[Line]] = {}
    for line in table.lines:
        if line.row:
            shared.setdefault((line.row, line.run_ids), []).append(line)
    several = len({row for row, _ in shared}) < len(shared)
    found = []
    for lines in shared.values():
        comparable = [line for line in lines if line.is_comparable]
        names = [line.metric for line in lines]
        if comparable:
            data = _common(names) if several else ""
            found.append(CrashRow(comparable[0], data))
    return sorted(found, key=lambda row: row.data)


def _common(names: Sequence[str]) -> str:
    """Return the common beginning of some metrics: ``market1501`` of its mAP and its rank 1."""
    alike = takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False))
    return "".join(letters[0] for letters in alike).rstrip("_/")


def crash_count(table: PublishedTable) -> CrashCount:
    """Count the rows with a finished run, ours by the paper's."""
    rows = [row for row in crash_rows(table) if row.line.status.done]
    return counted([(row.is_crash, row.line.crashes_in_paper) for row in rows])


def _about_crashes(table: PublishedTable, found: Verdicts) -> None:
    rows, names = crash_rows(table), telling_labels(table.lines)
    done = [row for row in rows if row.line.status.done]
    theirs = [row for row in done if row.line.crashes_in_paper]
    both = [row for row in theirs if row.is_crash]
    lost = [row for row in theirs if not row.is_crash]
    new = [row for row in done if row.is_crash and not row.line.crashes_in_paper]
    if lost:
        head = f"Crashes in the paper but not here ({len(lost)} of {len(theirs)})"
        found.fails.append(_listed(head, lost, names))
    if new:
        head = f"Crashes here where the paper has a number ({plural(len(new), 'row')})"
        found.fails.append(_listed(head, new, names))
    if both:
        head = f"Crashes in the paper and here ({len(both)} of {len(theirs)})"
        found.holds.append(_listed(head, both, names))
    _about_agreement(crash_count(table), found)
    _about_undecided_crashes(rows, found)


def _about_agreement(count: CrashCount, found: Verdicts) -> None:
    if not count.total:
        return
    if not count.paper_crashes and not count.only_ours:
        found.holds.append(
            f"None of the {plural(count.total, 'row')} crashes here or in the paper; {GUESS} is "
            "right as well."
        )
        return
    text = (
        f"Crash or no crash agrees with the paper in {count.alike} of "
        f"{plural(count.total, 'row')}; "
        f"{GUESS} is right in {count.never}"
    )
    if count.alike > count.never:
        found.holds.append(f"{text}.")
    else:
        better = "no better" if count.alike == count.never else "worse"
        found.fails.append(f"{text}, so mini is {better} than the guess.")


def _about_undecided_crashes(rows: Sequence[CrashRow], found: Verdicts) -> None:
    split = [row for row in rows if 0 < row.line.n_crash < row.line.n]
    if split:
        lost = [row for row in split if row.line.crashed_starts]
        more = f" Some of these seeds could not start: {where_text(lost)}." if lost else ""
        found.open.append(f"Some seeds crash and others do not in {where_text(split)}.{more}")
    undone = [row for row in rows if not row.line.status.done]
    if undone:
        found.open.append(f"No run has finished in {where_text(undone)}.")


def _listed(head: str, rows: Iterable[CrashRow], names: Sequence[str]) -> str:
    items = [
        f"{_of(row.data)}{_row_text(row.line, names)}: {_crashes_text(row.line)}" for row in rows
    ]
    return _nested(f"{head}:", items)


def _crashes_text(line: Line) -> str:
    """Return how many seeds crashed, and how many of these never ran."""
    text = f"{line.n_crash} of {plural(line.n, 'seed')} crashed"
    if not line.crashed_starts:
        return text
    n_crash, n = line.started
    return (
        f"{text} ({len(line.crashed_starts)} could not start after a crashed pre-training; "
        f"{n_crash} of the {n} that ran crashed)"
    )


def telling_labels(lines: Iterable[Line]) -> list[str]:
    """Return the labels that distinguish some rows; one that others imply is left out."""
    lines, kept = list(lines), []
    for name in lines[0].labels:
        if _num_kinds(lines, [*kept, name]) > _num_kinds(lines, kept):
            kept.append(name)
    return kept


def _labels_text(line: Line, names: Sequence[str]) -> str:
    """Return some labels as a reader understands them: ``conv, lr 1e-3``."""
    return ", ".join(_word(name, line.labels[name]) for name in names)


def _row_text(line: Line, names: Sequence[str]) -> str:
    """Return a row's labels and its number."""
    text = _labels_text(line, names)
    return f"{text} (row {line.row})" if text else f"row {line.row}"


def where_text(rows: Sequence[CrashRow]) -> str:
    """Return row numbers, apart for each data set: ``row 3 (market1501); rows 3, 8 (msmt17)``."""
    by_data: dict[str, list[str]] = {}
    for row in rows:
        by_data.setdefault(row.data, []).append(str(row.line.row))
    return "; ".join(
        f"{named_rows(numbers)}{f' ({data})' if data else ''}" for data, numbers in by_data.items()
    )


def _about_pairs(table: PublishedTable, found: Verdicts) -> None:
    made = comparisons(table)
    for kind in Kind:
        own = [comparison for comparison in made if comparison.kind is kind]
        total = sum(len(comparison.pairs) for comparison in own)
        for outcome, sentences in (
            (PairOutcome.REVERSED, found.fails),
            (PairOutcome.ALIKE, found.holds),
            (PairOutcome.UNDECIDED, found.open),
        ):
            if n := sum(comparison.count(outcome) for comparison in own):
                verb = "are" if n > 1 else "is"
                head = f"{capital(kind)}: {n} of {plural(total, 'pair')} {verb} {outcome}"
                if outcome is PairOutcome.UNDECIDED:
                    sentences.append(f"{head}{_leanings(own)}.")
                else:
                    sentences.append(_strongest(table, head, own, outcome))


def _leanings(own: Sequence[Comparison]) -> str:
    """Return what the means of undecided pairs say, which proves nothing."""
    told = [
        pair.leaning
        for comparison in own
        for pair in comparison.pairs
        if pair.outcome is PairOutcome.UNDECIDED
    ]
    parts = [
        f"{told.count(outcome)} {outcome}" for outcome in (PairOutcome.REVERSED, PairOutcome.ALIKE)
    ]
    return f" (by the means alone: {', '.join(parts)})"


def _strongest(
    table: PublishedTable, head: str, own: Sequence[Comparison], outcome: PairOutcome
) -> str:
    """Name the pairs with the largest differences; of those with the base row, every one."""
    pairs = [
        (pair, comparison)
        for comparison in own
        for pair in comparison.pairs
        if pair.outcome is outcome
    ]
    pairs.sort(key=lambda item: -abs(item[0].ours))
    most = len(pairs) if own[0].kind is Kind.BASE else MOST_NAMED
    among = "; the largest" if len(pairs) > most else ""
    return _nested(f"{head}{among}:", [_told(table, *item) for item in pairs[:most]])


def _told(table: PublishedTable, pair: Pair, comparison: Comparison) -> str:
    """Return one pair, the row that is higher here first."""
    names = telling_labels(comparison.rows)
    where = [f"`{comparison.metric}`"] * _is_several(table)
    if len(comparison.blocks) == 1 and len(table.blocks) > 1:
        where += comparison.blocks
    place = _of(", ".join(where))
    if comparison.kind is Kind.BASE:
        return f"{place}{_row_text(pair.one, names)}: {_size(pair, 1)}"
    sign = 1 if pair.ours > 0 else -1
    upper, lower = (pair.one, pair.other)[::sign]
    same = [name for name in names if upper.labels[name] == lower.labels[name]]
    own = [name for name in names if name not in same]
    shared = f", both with {_labels_text(upper, same)}" if same else ""
    rows = f"{_row_text(upper, own)} above {_row_text(lower, own)}"
    return f"{place}{rows}{shared}: {_size(pair, sign)}"


def _size(pair: Pair, sign: int) -> str:
    ours, paper = signed(sign * pair.ours, 1), signed(sign * pair.paper, 1)
    few = f" ({plural(pair.num_seeds, 'seed')})" if pair.num_seeds < FEWEST_SEEDS else ""
    return f"{ours} +/- {pair.half:.1f} here{few}, {paper} in the paper"


def _nested(head: str, items: Sequence[str]) -> str:
    return "\n".join([head, *(f"  - {item}" for item in items)])


def _of(where: str) -> str:
    return f"{where}: " if where else ""


def _is_several(table: PublishedTable) -> bool:
    return len(table.metrics) > 1


def _word(name: str, value: str) -> str:
    value = value.partition(" [run as")[0]  # as the paper has it
    try:
        float(value.rstrip("%"))
    except ValueError:
        return value
    return f"{name} {value}"  # a number alone says nothing


def _num_kinds(lines: Sequence[Line], names: Sequence[str]) -> int:
    return len({tuple(line.labels[name] for name in names) for line in lines})
