"""Figure 1: how alike tokens are, layer by layer, in the four runs that the paper draws.

Writes ``<results>/<profile>/figure1.{csv,md,png,svg}`` from what the runs left; trains nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from scaledrelu.files import write_changed
from scaledrelu.reports.cells import read_cell
from scaledrelu.reports.drawn import draw_changed
from scaledrelu.reports.figure1.page import page
from scaledrelu.reports.figure1.picture import draw
from scaledrelu.reports.similarity import Metric, Series, layer_names, read_series
from scaledrelu.tables.figures import FIGURE1, Figure, load_figure
from scaledrelu.tables.plan import Plan
from scaledrelu.tables.planner import Planner, plan_tables
from scaledrelu.tables.settings import Settings
from scaledrelu.text import csv_of

COLUMNS = (
    "figure",
    "series",
    "source",
    "metric",
    "layer",
    "name",
    "seed",
    "status",
    "value",
    "run_id",
    "note",
)  # docs/reports.md says what each holds


def write_figure1(plan: Plan) -> list[Path]:
    """Write the figure as CSV, markdown and picture; unchanged files are left alone.

    Args:
        plan: the plan behind the table of the figure.
    """
    table = next(table for table in plan.tables if table.name == FIGURE1)
    figure = replace(load_figure(plan.conf_dir), table=table)
    values = [read_cell(plan, cell) for cell in plan.cells_of(figure.table)]
    series = [read_series(*one, plan.results) for one in zip(figure.labels, values, strict=True)]
    place = plan.results / plan.profile / FIGURE1
    texts = {"csv": csv_text(figure, series), "md": page(plan, figure, values, series)}
    written = [write_changed(place.with_suffix(f".{kind}"), text) for kind, text in texts.items()]
    shown = figure, series
    drawn = draw_changed(place, shown, lambda: draw(*shown, place), results=plan.results)
    return [*written, *drawn]


def write_figure1_of(settings: Settings, *, planner: Planner | None = None) -> list[Path]:
    """Write the figure from what is done; nothing if none of its runs has finished.

    Args:
        settings: profile, seeds, results folder and overrides.
        planner: one of these settings; None = a new one.

    Raises:
        TableError, ConfigError: what ``conf/figure/figure1.yaml`` must not hold.
    """
    plan = plan_tables(replace(settings, tables=(FIGURE1,)), planner=planner)
    if not any(run.status.done for run in plan.runs.values()):
        return []
    return write_figure1(plan)


def csv_text(figure: Figure, series: Sequence[Series]) -> str:
    """Return one line per dot: a series, a metric, a layer and a seed.

    A run without a curve has one line per metric, with the reason and no layer. What somebody read
    off the paper's picture comes last, as its own source.

    Args:
        figure: what the paper prints.
        series: our runs.
    """
    rows = [row for one in series for metric in Metric for row in _ours(one, metric)]
    for label, values in figure.values.items():
        for i, (name, value) in enumerate(zip(layer_names(len(values)), values, strict=True), 1):
            rows.append(["1", label, "paper", "", i, name, "", "", f"{value:g}", "", ""])
    return csv_of(COLUMNS, rows)


def _ours(one: Series, metric: Metric) -> Iterator[list[object]]:
    for curve in one.curves:
        values = curve.values.get(metric, ())
        start = ["1", one.label, "ours", str(metric)]
        for i, (name, value) in enumerate(zip(layer_names(len(values)), values, strict=True), 1):
            number = f"{value:.6f}"
            yield [*start, i, name, curve.seed, str(curve.status), number, curve.run_id, ""]
        if curve.absent:
            end = [curve.seed, str(curve.status), "", curve.run_id, curve.absent]
            yield [*start, "", "", *end]
