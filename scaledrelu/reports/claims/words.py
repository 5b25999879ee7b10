"""What was found about a claim, in words: the number, its interval, and what it rests on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from scaledrelu.reports.claims.decision import Interval, Verdict, together
from scaledrelu.reports.claims.findings import (
    COSINE,
    OF_RUNS,
    PERCENT,
    CellName,
    Judged,
    Part,
    Said,
)
from scaledrelu.reports.grid import signed
from scaledrelu.tables.captions import named_rows, title_of
from scaledrelu.tables.figures import FIGURE1
from scaledrelu.text import plural

BREAK = "<br>"  # a new line within a cell of a markdown table
MOST_PARTS = 4  # that are all told; of more, the decided ones
SMALL_P = 0.05
PRECONDITION = "precondition"
UNSUPPORTABLE = "no outcome with these seeds and images could support it"
WITHIN_NOISE = "is within the noise of one run"


def found_text(judged: Judged) -> str:
    """Return what our runs say of a claim, part by part."""
    parts = judged.parts
    reasons = dict.fromkeys(part.ours.reason for part in parts)
    untold = all(part.ours.verdict is Verdict.NOT_TESTABLE for part in parts)
    if untold and len(reasons) == 1:
        return parts[0].ours.reason
    one_way = judged.can_be_decided and not judged.can_be_supported
    lines = [UNSUPPORTABLE] if one_way else []
    if len(parts) <= MOST_PARTS:
        lines = [*(_told(part, alone=len(parts) == 1) for part in parts), *lines]
        return BREAK.join(lines)
    decided = [part for part in parts if part.ours.verdict.is_decided]
    head = f"of {len(parts)} comparisons {counts_of(part.ours.verdict for part in parts)}"
    return BREAK.join([head, *(_told(part, alone=False) for part in decided), *lines])


def papers_text(judged: Judged) -> str:
    """Return what the printed numbers say of a claim: the verdict, then the numbers."""
    verdict, parts = judged.papers_verdict, judged.parts
    if verdict is Verdict.NOT_TESTABLE:
        return "-"
    told = [part for part in parts if part.paper.interval is not None]
    if len(told) > MOST_PARTS:
        return f"{verdict}: {counts_of(part.paper.verdict for part in parts)}"
    return f"{verdict}: {BREAK.join(map(_printed, told))}"


def cells_text(judged: Judged, tables: Iterable[str]) -> str:
    """Return which cells a claim compares, with a link to each table that lies beside the page.

    Args:
        judged: the claim.
        tables: tables of the profile.
    """
    rows: dict[str, list[CellName]] = {}
    for cell in (cell for part in judged.parts for cell in part.cells):
        rows.setdefault(cell.table, []).append(cell)
    return BREAK.join(_place(table, cells, table in tables) for table, cells in rows.items())


def counts_of(verdicts: Iterable[Verdict]) -> str:
    """Return how often each verdict was found: ``1 supported, 2 undecided``."""
    counts = Counter(verdicts)
    return ", ".join(f"{counts[verdict]} {verdict}" for verdict in Verdict if counts[verdict])


def number_text(said: Said) -> str:
    """Return a number with its unit and interval; what is said has one."""
    interval, digits = said.interval, said.digits
    if said.unit == PERCENT:
        return f"{interval.size:.{digits}f} %{_ends(interval, digits, sign='')}"
    unit = "in cosine" if said.unit == COSINE else said.unit
    return f"{signed(interval.size, digits)} {unit}{_ends(interval, digits)}"


def _place(table: str, cells: Sequence[CellName], is_there: bool) -> str:
    title = title_of(table)
    linked = f"[{title}]({table}.md)" if is_there else title
    if table == FIGURE1:
        return linked
    return f"{linked}, {named_rows({str(cell.row or 'base') for cell in cells})}"


def _told(part: Part, *, alone: bool) -> str:
    """Return a part with its number, and its verdict where there are others beside it."""
    said = part.ours
    words = _given(part) + ": ".join(text for text in (part.text, _ours(said)) if text)
    return words if alone or said.verdict is Verdict.NOT_TESTABLE else f"{words} ({said.verdict})"


def _given(part: Part) -> str:
    return f"{PRECONDITION}: " if part.is_given else ""


def _ours(said: Said) -> str:
    """Return the number, what it rests on, and what else is to be known."""
    if said.interval is None:
        return said.reason
    if said.unit == OF_RUNS:
        return _crashes(said)
    behind = [plural(said.seeds, "seed")]
    behind += [f"{said.images:,} images"] if said.images else []
    behind += [_tests(said)] if said.tests else []
    told = f"{number_text(said)}, {', '.join(behind)}"
    return f"{told}; {said.reason}" if said.reason else told


def _tests(said: Said) -> str:
    """Return in how many seeds McNemar's test finds a difference, and which way."""
    small = [test for test in said.tests if test.p < SMALL_P]
    up = sum(test.only_one > test.only_other for test in small)
    return f"McNemar {up} up, {len(small) - up} down"


def _crashes(said: Said) -> str:
    share = said.interval
    rows = ", ".join(f"{count.crashed} of {count.total}" for count in said.counts)
    low, high = (f"{100 * end:.{said.digits}f}" for end in (share.low, share.high))
    return f"{rows} did; {100 * share.size:.0f} % [{low}, {high}]"


def _printed(part: Part) -> str:
    """Return a printed number; of rows, how many are printed as a crash."""
    said = part.paper
    if said.unit == OF_RUNS:
        total = together(said.counts)
        return f"{_given(part)}{total.crashed} of {total.total} printed as a crash"
    if said.verdict is Verdict.UNDECIDED and said.reason:
        return f"{said.reason} {WITHIN_NOISE}, {number_text(said)}"
    return ", ".join(text for text in (said.reason, number_text(said)) if text)


def _ends(interval: Interval, digits: int, *, sign: str = "+") -> str:
    if interval.low is None or interval.low == interval.high:
        return ""
    return f" [{interval.low:{sign}.{digits}f}, {interval.high:{sign}.{digits}f}]"
