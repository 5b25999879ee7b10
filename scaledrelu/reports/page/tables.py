"""One table as a section of the page: ours beside the paper's, every seed a dot with its number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from scaledrelu.reports.cells import CellValue, SeedValue
from scaledrelu.reports.grid import (
    MetricColumn,
    grid_columns,
    grid_legend,
    grid_parts,
    grid_title,
    row_number,
    seeds_text,
)
from scaledrelu.reports.page.html import Html, joined, listed, scrolling, section, tag
from scaledrelu.reports.page.links import Links
from scaledrelu.reports.page.seed_strips import Axis, axis_drawing, axis_for, seed_text, strip
from scaledrelu.reports.page.text import folded, text_block, text_line
from scaledrelu.reports.table_texts import TableTexts
from scaledrelu.runs.record import Status
from scaledrelu.tables.captions import title_of
from scaledrelu.tables.plan import Plan, PlannedRun
from scaledrelu.tables.table import CRASH, Column, Table

CROSS = "\u00d7"
LONG = 15  # characters of a label from which it may take several lines
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

    def section(self, links: Links) -> Html:
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
        return section(self.table.name, self.title, *parts, *open_, files)


def table_report(plan: Plan, table: Table, texts: TableTexts) -> TableReport:
    """Read what a table's runs have left.

    Args:
        plan: the plan behind it.
        table: one of its tables.
        texts: reads tables, and remembers what it has read.
    """
    said = texts(plan, table)
    return TableReport(plan, table, said.values, said.texts)


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
    before = ["row", *(label.header for label in table.labels), "seeds"]
    seeds = tag("th", "each seed", axis_drawing(axis) if axis else None, scope="col")
    after = [text_line(part.header.removeprefix(f"{column.header}, "), links) for part in parts]
    head = tag("tr", *map(_column, before), seeds, *map(_column, after))
    bodies = [
        tag("tbody", *(_row(value, parts, axis, links) for value in block))
        for _, block in groupby(own, key=lambda value: value.cell.row.block)
    ]
    return scrolling(
        tag("table", tag("caption", name), tag("thead", head), *bodies, class_="grid"), label=name
    )


def _column(text: str) -> Html:
    return tag("th", text, scope="col") if text else tag("td")  # one column has no name


def _row(value: CellValue, parts: Sequence[MetricColumn], axis: Axis | None, links: Links) -> Html:
    labels = [
        tag("td", text, class_="long" if len(text) > LONG else None)
        for text in value.cell.labels.values()
    ]
    crashed = value.count(Status.CRASH) > 0
    drawn = strip(value, axis, links) if axis and value.finished else None
    seeds = tag("td", drawn, _seeds(value, links), class_="seeds")
    numbers = [_marked(part.text(value), links) for part in parts]
    return tag(
        "tr",
        tag("th", row_number(value.cell.row), scope="row"),
        *labels,
        _marked(seeds_text(value), links, is_crash=crashed),
        seeds,
        *numbers,
        class_="has-crash" if crashed else None,
    )


def _marked(text: str, links: Links, *, is_crash: bool | None = None) -> Html:
    """Return a cell; one about a crash has a cross in front, whatever its colour.

    Without a word about it, the cell is about a crash if it says nothing else.
    """
    if text == CRASH if is_crash is None else is_crash:
        return tag("td", f"{CROSS} {text}", class_="crash")
    return tag("td", text_line(text, links))


def _seeds(value: CellValue, links: Links) -> Html:
    """Return the numbers of the seeds, each a link to its record."""
    items = [tag("li", _seed(seed, value, links)) for seed in value.seeds]
    return tag("ul", *items, class_="numbers")


def _seed(seed: SeedValue, value: CellValue, links: Links) -> Html:
    said = seed_text(seed, value.cell.column.digits)
    label = f"seed {seed.run.seed}: {said}"
    if not seed.status.done:
        return tag("span", label)
    shown = tag("span", said.replace(f"{CRASH} ", CROSS).replace(CRASH, CROSS), title=label)
    kind = "crash" if seed.status is Status.CRASH else None
    found = links.record(seed.run.run_id, shown, aria_label=label)
    return tag("span", found, class_=kind)
