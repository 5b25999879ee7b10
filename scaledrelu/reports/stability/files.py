"""Writes the stability of a table: page, pictures, and what they show as CSV.

``<results>/<profile>/stability/<table>.{md,csv,png,svg}``, ``<table>_rates.{png,svg}``,
``<table>_edges.csv``, ``<table>_largest.{png,svg}`` and ``<table>_runs.csv``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from scaledrelu.files import write_changed
from scaledrelu.reports.cells import CellValue, SeedValue
from scaledrelu.reports.drawing import LOOKS
from scaledrelu.reports.stability.edge import HALF, NONE, edge_of, sensitivity_of
from scaledrelu.reports.stability.lines import (
    RateLine,
    final_loss,
    read_lines,
    series_names,
    series_of,
)
from scaledrelu.reports.stability.more_seeds import more_seeds
from scaledrelu.reports.stability.overflow import EITHER, KINDS, Watched, watch_runs
from scaledrelu.reports.stability.page import page
from scaledrelu.reports.stability.pictures import draw_largest, draw_rates
from scaledrelu.reports.stability.rate_map import draw_map
from scaledrelu.runs.record import Status
from scaledrelu.tables.grids import FOLDER
from scaledrelu.tables.plan import Cell, Plan
from scaledrelu.tables.planner import Planner
from scaledrelu.tables.table import Table
from scaledrelu.text import csv_of

START = "what other runs start from"


def write_stability(plan: Plan, table: Table, *, planner: Planner | None = None) -> list[Path]:
    """Write everything about the stability of one table; unchanged files are left alone.

    Args:
        plan: the plan that the table belongs to.
        table: a grid, or any other table.
        planner: plans the table with more seeds; None = a new one.
    """
    place = plan.results / plan.profile / FOLDER / table.name
    place.parent.mkdir(parents=True, exist_ok=True)
    lines, watched = read_lines(plan, table), watch_runs(plan, table)
    series = series_names(plan.cells_of(table))
    names = _by_run(plan, table, lambda cell: series[series_of(cell)])
    written = []
    if lines:
        written += draw_map(lines, table.metrics[0], place)
        written += draw_rates(lines, table.metrics[0], _beside(place, "_rates"))
    if watched:
        drawn = names
        if len(set(names.values())) > len(LOOKS):  # coarser names
            drawn = _by_run(plan, table, lambda cell: cell.composed.choices["stem"])
        written += draw_largest(watched, drawn, _beside(place, "_largest"))
    more = more_seeds(plan, table, lines, planner)
    pictures = [path.stem for path in written if path.suffix == ".png"]
    texts = {
        _beside(place, ".md"): page(plan, table, lines, watched, pictures, more),
        _beside(place, ".csv"): _csv(_spots(lines)),
        _beside(place, "_edges.csv"): _csv(_summaries(lines)),
        _beside(place, "_runs.csv"): _csv(_runs(watched, names)),
    }
    for path, text in texts.items():
        write_changed(path, text)
    return [*texts, *written]


def _spots(lines: Sequence[RateLine]) -> Iterator[dict[str, object]]:
    for one in lines:
        for rate, value in one.cells.items():
            everyone = value.all_seeds
            yield {
                "series": one.series,
                "warmup": f"{one.warmup:g}",
                "lr": f"{rate:.12g}",
                "lr_effective": f"{value.cell.composed.config.peak_lr:.12g}",
                "row": value.cell.row.number,
                "metric": value.cell.column.source,
                "status": value.status,
                "n": len(value.finished),
                "n_crash": value.count(Status.CRASH),
                "n_failed": value.num_failed,
                "n_missing": value.count(Status.MISSING),
                "mean_all": _text(everyone and everyone.mean),
                "ci_all": _text(everyone and everyone.half),
                "values": _by_seed(value, lambda seed: seed.value),
                "losses": _by_seed(value, final_loss),
                "run_ids": " ".join(value.cell.run_ids),
            }


def _summaries(lines: Sequence[RateLine]) -> Iterator[dict[str, object]]:
    for one in lines:
        fields: dict[str, object] = {"series": one.series, "warmup": f"{one.warmup:g}"}
        for name, allowed in (("none", NONE), ("half", HALF)):
            edge = edge_of(one, allowed=allowed)
            fields[f"edge_{name}"] = _text(edge and edge.rate)
            fields[f"next_{name}"] = _text(edge and edge.next_rate)
        found = sensitivity_of(one)
        mean = found.estimate if found else None
        yield fields | {
            "smallest": _text(min(one.cells)),
            "largest": _text(max(one.cells)),
            "sensitivity": _text(mean and mean.mean),
            "ci": _text(mean and mean.half),
            "by_seed": _pairs(found.by_seed if found else {}),
            "best_loss": _pairs(found.best if found else {}),
        }


def _runs(watched: Sequence[Watched], names: Mapping[str, str]) -> Iterator[dict[str, object]]:
    for one in watched:
        config = one.run.config
        fields: dict[str, object] = {
            "run_id": one.run.run_id,
            "method": config.method,
            "series": names[one.run.run_id],
            "lr": f"{config.lr.base:.12g}",
            "warmup": f"{config.warmup.length(1.0):g}",
            "seed": one.run.seed,
            "outcome": one.run.status,
            "died_at": "" if one.died_at is None else one.died_at,
            "judged_loss": _text(one.judged),
        }
        for kind in KINDS:
            fields[f"largest_{kind}"] = _text(one.largest[kind].value)
        first, over = one.first_over(EITHER), one.is_over(EITHER)
        fields["overflow"] = one.unknown if over is None else ("yes" if over else "no")
        fields["overflow_seen_at"] = (first or "") if one.has_series else one.unknown
        yield fields


def _by_run(plan: Plan, table: Table, name_of: Callable[[Cell], str]) -> dict[str, str]:
    """Return run id -> name of its cell; runs that others start from have no cell."""
    found = {name: name_of(cell) for cell in plan.cells_of(table) for name in cell.run_ids}
    return {run.run_id: found.get(run.run_id, START) for run in plan.runs_of(table)}


def _csv(rows: Iterable[Mapping[str, object]]) -> str:
    rows = list(rows)
    return csv_of(rows[0], (row.values() for row in rows)) if rows else ""


def _by_seed(value: CellValue, number: Callable[[SeedValue], float | None]) -> str:
    return " ".join(
        f"{seed.run.seed}={'crash:' if seed.status is Status.CRASH else ''}"
        f"{_text(number(seed)) if seed.status.done else seed.status}"
        for seed in value.seeds
    )


def _pairs(numbers: Mapping[int, float]) -> str:
    return " ".join(f"{seed}={_text(number)}" for seed, number in numbers.items())


def _text(number: float | None) -> str:
    if number is None:
        return ""
    return f"{number:.6g}" if math.isfinite(number) else "inf"


def _beside(place: Path, suffix: str) -> Path:
    return place.with_name(place.name + suffix)
