"""One table as a section of the page: ours beside the paper's, every seed a dot with its number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from scaledrelu.reports.cells import CellValue, SeedValue, read_cell
from scaledrelu.reports.grid import (
    MetricColumn,
    grid_columns,
    grid_legend,
    grid_parts,
    grid_title,
    row_number,
    seeds_text,
)
from scaledrelu.reports.markdown import sections
from scaledrelu.reports.page.html import Html, joined, listed, scrolling, tag
from scaledrelu.reports.page.links import Links
from scaledrelu.reports.page.seed_strips import Axis, axis_drawing, axis_for, seed_text, strip
from scaledrelu.reports.page.text import folded, text_block, text_line
from scaledrelu.runs.record import Status
from scaledrelu.tables.captions import title_of
from scaledrelu.tables.plan import Plan, PlannedRun
from scaledrelu.tables.table import CRASH, Column, Table

CROSS = "\u00d7"
LONG = 15  # characters of a label beyond which its column is stacked with others like it
FOLDED = {  # section of a report -> the line that opens it
    "agreement": "Agreement with the paper",
    "notes": "Notes and assumptions",
    "runs": "Runs, by row and seed",
}


@dataclass(frozen=True, slots=True)
class TableReport:
    """What the page says of one table, and where it takes it from.

    Attributes:
        plan: the plan behind it.
        table: the table.
        values: its cells, in printed order.
        texts: the sections of its report, by name.
    """

    plan: Plan
    table: Table
    values: Sequence[CellValue]
    texts: Mapping[str, str]

    @property
    def title(self) -> str:
        """What people call the table."""
        return title_of(self.table.name)

    @property
    def in_short(self) -> str:
        """How far it is."""
        return progress(self.plan, self.plan.runs_of(self.table))

    def section(self, links: Links) -> list[Html | None]:
        """Return its section of the page, without what differs from the paper's recipe."""
        texts, parts = self.texts, list(_head(self.texts["head"], links))
        parts.append(tag("p", f"{len(self.table.rows)} rows; {self.in_short}.", class_="counts"))
        if any(value.finished for value in self.values):
            grids = grid_columns(self.table)
            parts += [_grid(self.table, columns, self.values, links) for columns in grids]
            parts += [text_block(texts["note"], links)] if "note" in texts else []
            parts += [folded(t, texts[name], links) for name, t in FOLDED.items() if name in texts]
        open_ = [text_block(texts[n], links) for n in ("holes", "failures") if n in texts]
        files = links.files(f"{self.table.name}.csv", f"{self.table.name}.md")
        return [*parts, *open_, files]


def table_report(plan: Plan, table: Table) -> TableReport:
    """Read what a table's runs have left.

    Args:
        plan: the plan behind it.
        table: one of its tables.
    """
    values = [read_cell(plan, cell) for cell in plan.cells_of(table)]
    return TableReport(plan, table, values, sections(plan, table, values))


def progress(plan: Plan, runs: Collection[PlannedRun]) -> str:
    """Return how many runs have finished, and what became of the others.

    Args:
        plan: the plan that they are part of.
        runs: some of its runs.
    """
    counts = Counter("blocked" if plan.crashed_upstream(run) else str(run.status) for run in runs)
    done = counts[Status.OK] + counts[Status.CRASH]
    failed, damaged = counts[Status.FAILED], counts[Status.DAMAGED]
    parts = [f"{done} of {len(runs)} runs finished", f"{counts[Status.CRASH]} crashed"]
    parts += [f"{counts['blocked']} cannot start from a crashed run"] * bool(counts["blocked"])
    parts += [f"{failed} failed"] * bool(failed)
    parts += [f"{damaged} damaged"] * bool(damaged)
    missing = len(runs) - done - failed - damaged - counts["blocked"]
    return ", ".join(parts + [f"{missing} missing"] * bool(missing))


def _head(text: str, links: Links) -> Iterable[Html]:
    """Yield what the table is and the warning of its profile; how it was made is folded up."""
    _, about, *others = text.split("\n\n")
    yield tag("p", text_line(about, links), class_="about")
    quotes = [block for block in others if block.startswith(">")]
    yield from (text_block(block, links) for block in quotes)
    made = "\n\n".join(block for block in others if block not in quotes)
    if made:
        yield folded("What counts as a crash, and where the runs were made", made, links)


def _grid(
    table: Table, columns: Sequence[Column], values: Sequence[CellValue], links: Links
) -> Html:
    """Return the numbers of one data set: a table for each metric, then how to read them."""
    own = [value for value in values if value.cell.column in columns]
    several = len(grid_columns(table)) > 1
    return joined(
        [
            tag("h3", grid_title(columns)) if several else None,
            *(_metric(table, column, own, links) for column in columns),
            listed((text_line(note, links) for note in grid_legend(columns, own)), class_="legend"),
        ]
    )


def _metric(table: Table, column: Column, values: Sequence[CellValue], links: Links) -> Html:
    own = [value for value in values if value.cell.column is column]
    axis, parts = axis_for(own), grid_parts(table, column, values)
    name = f"{title_of(table.name)}: {column.header}"
    stacked = [label for label in table.labels if _is_long(label, own)]
    labels = [label.header for label in table.labels if label not in stacked]
    after = [text_line(part.header.removeprefix(f"{column.header}, "), links) for part in parts]
    seeds = tag("th", "each seed", axis_drawing(axis) if axis else None, scope="col", class_="axis")
    stack = tag("th", *(_line(o.header) for o in stacked), scope="col") if stacked else None
    head = tag("tr", _column("row"), stack, *map(_column, (*labels, *after)), seeds)
    bodies = [
        tag("tbody", *(_row(value, stacked, parts, axis, links) for value in block))
        for _, block in groupby(own, key=lambda value: value.cell.row.block)
    ]
    return scrolling(
        tag("table", tag("caption", name), tag("thead", head), *bodies, class_="grid"), label=name
    )


def _column(text: str) -> Html:
    return tag("th", text, scope="col") if text else tag("td")  # one column has no name


def _is_long(label: Column, values: Iterable[CellValue]) -> bool:
    """Say whether a label takes so much room that its column would push the results aside."""
    return any(len(value.cell.labels[label.name]) > LONG for value in values)


def _line(text: str, name: str = "") -> Html:
    """Return one line of a cell; a long one may go on in a new line behind a plus."""
    return tag("div", joined(text.split("+"), joined(["+", tag("wbr")])), data_name=name or None)


def _row(
    value: CellValue,
    stacked: Sequence[Column],
    parts: Sequence[MetricColumn],
    axis: Axis | None,
    links: Links,
) -> Html:
    """Return a row: what it is, our numbers beside the paper's, and the seeds behind them."""
    labels = value.cell.labels
    others = [label for label in value.cell.table.labels if label not in stacked]
    lines = [_line(labels[label.name], label.header) for label in stacked]
    return tag(
        "tr",
        tag("th", row_number(value.cell.row), scope="row"),
        tag("td", *lines, class_="stack") if lines else None,
        *(tag("td", labels[o.name], data_name=o.header or None) for o in others),
        *(_number(part, value, links) for part in parts),
        _seeds(value, axis, links),
        class_="has-crash" if value.count(Status.CRASH) else None,
    )


def _number(part: MetricColumn, value: CellValue, links: Links) -> Html:
    """Return a cell; a crash has a cross in front, whatever its colour."""
    text, name = part.text(value), part.name
    if text == CRASH:
        return tag("td", f"{CROSS} {text}", class_="crash", data_name=name)
    return tag("td", text_line(text, links), class_="number", data_name=name)


def _seeds(value: CellValue, axis: Axis | None, links: Links) -> Html:
    """Return how many crashed, and every seed as a mark and a number that links to its record."""
    told, crashed = seeds_text(value), value.count(Status.CRASH) > 0
    counted = tag("p", f"{CROSS} {told}" if crashed else told, class_="crash" if crashed else None)
    drawn = strip(value, axis, links) if axis and value.finished else None
    items = [tag("li", _seed(seed, value, links)) for seed in value.seeds]
    return tag("td", counted, drawn, tag("ul", *items, class_="numbers"), class_="seeds")


def _seed(seed: SeedValue, value: CellValue, links: Links) -> Html:
    said = seed_text(seed, value.cell.column.digits)
    label = f"seed {seed.run.seed}: {said}"
    if not seed.status.done:
        return tag("span", label)
    shown = tag("span", said.replace(f"{CRASH} ", CROSS).replace(CRASH, CROSS), title=label)
    kind = "crash" if seed.status is Status.CRASH else None
    found = links.record(seed.run.run_id, shown, aria_label=label)
    return tag("span", found, class_=kind)
