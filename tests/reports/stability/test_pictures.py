"""The pictures of stability use their space, and say what cannot be seen in them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from matplotlib.colors import to_hex, to_rgb
from matplotlib.patches import Rectangle

from scaledrelu.reports.drawing import NO_VALUE
from scaledrelu.reports.stability import pictures, rate_map
from scaledrelu.reports.stability.lines import read_lines
from scaledrelu.reports.stability.overflow import LIMIT, watch_runs
from tests.helpers.colours import contrast
from tests.helpers.table_fakes import finish, plan_of, write_grid

VALUES = {("patchify", 5e-4): 30.0, ("patchify", 1e-3): 40.0, ("patchify", 2e-3): 50.0}


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is drawn; no file is written."""
    found: list[Any] = []
    for module in (pictures, rate_map):
        monkeypatch.setattr(module, "save_picture", lambda figure, _: found.append(figure) or [])
    return found


@pytest.fixture
def grid(tmp_path: Path) -> Callable[..., Any]:
    """A function that plans a grid whose runs end at given values."""

    def make(*stems: str, values: dict[tuple[str, float], float], seeds: int = 1) -> Any:
        write_grid(tmp_path / "conf", stems=list(stems))
        plan = plan_of(tmp_path, "rates", seeds=range(seeds))
        for cell in plan.cells:
            where = cell.composed.choices["stem"], cell.composed.config.lr.base
            for name in cell.run_ids if where in values else ():
                folder = finish(plan, name, values[where], steps=20)
                rows = [
                    {
                        "epoch": 0,
                        "step": step,
                        "largest/activation": 10.0 * step,
                        "largest/score": 1.0,
                    }
                    for step in (10, 20)
                ]
                (folder / "metrics.jsonl").write_text("".join(map(to_line, rows)))
        return plan_of(tmp_path, "rates", seeds=range(seeds))

    return make


def to_line(row: dict[str, float]) -> str:
    return json.dumps(row) + "\n"


def draw_map(plan: Any, figures: list[Any]) -> tuple[list[str], list[str]]:
    """Return the colours of the map's cells, and what its colour bar prints."""
    table = plan.tables[0]
    rate_map.draw_map(read_lines(plan, table), table.metrics[0], Path("unused"))
    axes, *bars = figures[-1].axes
    cells = [patch for patch in axes.patches if isinstance(patch, Rectangle) and patch.get_fill()]
    printed = [text.get_text() for bar in bars for text in bar.get_yticklabels()]
    return [to_hex(cell.get_facecolor()) for cell in cells], printed


def test_the_colours_of_the_map_span_its_own_values_and_the_bar_prints_the_ends(
    grid, figures
) -> None:
    colours, printed = draw_map(grid("patchify", values=VALUES), figures)
    ends = [to_hex(rate_map._colours()(share)) for share in (0.0, 0.5, 1.0)]
    assert colours == ends
    assert len(set(ends)) == 3
    assert min(to_rgb(ends[0])) < 0.92, "the smallest value is no empty cell"
    assert printed == ["30.0", "40.0", "50.0"]


def test_the_text_of_a_cell_stands_out_from_its_colour(grid, figures) -> None:
    rates = (5e-4, 1e-3, 2e-3)
    for low in range(20, 60, 4):  # the middle one takes every shade
        ends = zip(rates, (20.0, float(low), 60.0), strict=True)
        values = {("patchify", rate): value for rate, value in ends}
        colours, _ = draw_map(grid("patchify", values=values), figures)
        texts = [text.get_color() for text in figures[-1].axes[0].texts]
        for colour, text in zip(colours, texts, strict=True):
            assert contrast(to_rgb(colour), to_rgb(text)) >= 4.5


def test_the_ends_of_runs_stand_side_by_side_by_series(grid, figures) -> None:
    values = {(stem, rate): 50.0 for stem in ("patchify", "conv") for rate in (5e-4, 1e-3, 2e-3)}
    plan = grid("patchify", "conv", values=values)
    watched = watch_runs(plan, plan.tables[0])
    names = {run: c.composed.choices["stem"] for c in plan.cells for run in c.run_ids}
    pictures.draw_largest(watched, names, Path("unused"))
    for axes in figures[0].axes:
        marks = [line for line in axes.get_lines() if line.get_marker() in ("o", "s")]
        places = sorted((x, line.get_marker()) for line in marks for x in line.get_xdata())
        assert len({x for x, _ in places}) == 6, "none covers another"
        assert [marker for _, marker in places] in (list("ooosss"), list("sssooo"))
        assert all(1 < x < axes.get_xlim()[1] for x, _ in places)
        assert "at the\nend" in [text.get_text() for text in axes.get_xticklabels()]


def test_a_run_that_crashed_without_a_value_is_seen_over_its_rate(grid, figures) -> None:
    plan = grid("patchify", values=VALUES)
    finish(plan, plan.cells[1].run_ids[0], None, crash="non_finite")
    plan = plan_of(plan.results.parent, "rates")
    pictures.draw_rates(read_lines(plan, plan.tables[0]), plan.tables[0].metrics[0], Path("unused"))
    lines = figures[0].axes[0].get_lines()
    assert [list(x.get_xdata()) for x in lines if not x.get_clip_on()] == [[1e-3]]
    assert NO_VALUE in [text.get_text() for text in figures[0].legends[0].get_texts()]


def test_noise_does_not_fill_the_scale(grid, figures) -> None:
    alike = {where: 80.0 + n for n, where in enumerate(VALUES)}
    colours, printed = draw_map(grid("patchify", values=alike), figures)
    assert printed == ["76.0", "81.0", "86.0"]
    assert colours == [to_hex(rate_map._colours()(share)) for share in (0.4, 0.5, 0.6)]


def test_a_map_without_a_value_has_no_bar(grid, figures) -> None:
    colours, printed = draw_map(grid("patchify", values={}), figures)
    assert (set(colours), printed) == ({"#ffffff"}, [])


@pytest.mark.parametrize("stems", [("patchify",), ("patchify", "conv")])
def test_dots_that_stand_beside_their_rate_are_said_to(grid, figures, stems) -> None:
    plan = grid(*stems, values=VALUES)
    pictures.draw_rates(read_lines(plan, plan.tables[0]), plan.tables[0].metrics[0], Path("unused"))
    axes = figures[0].axes[0]
    drawn = {x for line in axes.get_lines() for x in line.get_xdata()}
    says = "dots of a rate stand side by side" in axes.get_xlabel()
    assert says == bool(drawn - {rate for _, rate in VALUES})


@pytest.mark.parametrize(("seeds", "width"), [(1, 0.9), (2, 0.6)])
def test_the_limit_of_fp16_is_a_dashed_line_over_the_runs_which_are_thin_if_many(
    grid, figures, seeds: int, width: float
) -> None:
    plan = grid("patchify", values=VALUES, seeds=seeds)
    watched = watch_runs(plan, plan.tables[0])
    names = {one.run.run_id: "patchify" for one in watched}
    pictures.draw_largest(watched, names, Path("unused"))
    for axes in figures[0].axes:
        (limit,) = [line for line in axes.get_lines() if set(line.get_ydata()) == {LIMIT}]
        runs = [x for x in axes.get_lines() if x is not limit and len(x.get_xdata()) > 1]
        assert len(runs) == len(watched) == 3 * seeds
        assert {line.get_linewidth() for line in runs} == {width}
        assert limit.get_linestyle() == "--"
        assert limit.get_color() == "black"
        assert limit.get_zorder() > max(line.get_zorder() for line in runs)
        assert "fp16 ends: 65,504" in [text.get_text() for text in axes.texts]
