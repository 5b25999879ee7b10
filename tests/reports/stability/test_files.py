"""The files about stability: made of results alone, a hole where one is missing."""

from __future__ import annotations

import csv
import io
import re
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from scaledrelu.reports.report import write_reports
from scaledrelu.reports.stability.files import write_stability
from scaledrelu.reports.stability.lines import read_lines
from tests.helpers.table_fakes import finish, plan_of, write_grid, write_table

SEEDS = (0, 1, 2)
FILES = {
    "rates.md", "rates.csv", "rates_edges.csv", "rates_runs.csv", "rates.png", "rates.svg",
    "rates_rates.png", "rates_rates.svg", "rates_largest.png", "rates_largest.svg",
}  # fmt: skip


@dataclass(frozen=True)
class Written:
    """What was written of a finished grid: at first, again, and after one result was deleted."""

    place: Path
    first: dict[str, bytes]
    again: dict[str, bytes]
    gone: str
    after: dict[str, bytes]


def write_all(place):
    """Write everything; return name -> bytes."""
    plan = plan_of(place, "rates", seeds=SEEDS)
    files = write_reports(plan)
    assert {path.parent for path in files} == {plan.results / "mini" / "stability"}
    return {path.name: path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A grid in which patchify crashes at the larger rates, one seed earlier; conv never does."""
    place = tmp_path_factory.mktemp("grid")
    write_grid(place / "conf")
    plan = plan_of(place, "rates", seeds=SEEDS)
    crashes = {("patchify", 1e-3): 1, ("patchify", 2e-3): 3}
    for cell in plan.cells:
        stem, rate = cell.composed.choices["stem"], cell.composed.config.lr.base
        for seed, name in enumerate(cell.run_ids):
            crash = "collapsed" if seed < crashes.get((stem, rate), 0) else None
            more = {"val/loss": 2.3 if crash else 0.5}
            finish(plan, name, 10.0 if crash else 90.0 + seed, crash=crash, more=more)
    first, again, gone = write_all(place), write_all(place), plan.cells[1].run_ids[2]
    shutil.rmtree(plan.results / "runs" / gone)  # patchify at 1e-3, seed 2
    return Written(place, first, again, gone, write_all(place))


def rows(content):
    return list(csv.DictReader(io.StringIO(content.decode())))


def texts(picture):
    return Counter(text.strip() for text in re.findall(r">([^<>]+)</text>", picture.decode()))


def test_a_second_writing_changes_no_byte_and_nothing_is_of_this_machine(written) -> None:
    assert set(written.first) == FILES
    assert written.again == written.first
    for name, content in written.first.items():
        assert name.endswith(".png") or bytes(written.place) not in content


def test_the_map_prints_numbers_and_how_many_crashed_and_hatches_the_crash_region(written) -> None:
    picture = written.first["rates.svg"]
    assert {"91.0", "64.3", "x 1/3", "10.0", "x 3/3"} <= texts(picture).keys()
    assert picture.count(b"fill: url(#") == 1  # patchify at 2e-3 alone
    cells = {(r["series"], r["lr"]): r for r in rows(written.first["rates.csv"])}
    assert len(cells) == 6
    crashed = cells["patchify, adamw", "0.001"]
    assert (crashed["n"], crashed["n_crash"], crashed["status"]) == ("3", "1", "ok")
    assert crashed["values"] == "0=crash:10 1=91 2=92"
    assert crashed["losses"] == "0=crash:2.3 1=0.5 2=0.5"
    assert "| patchify, adamw, warm-up 5 | 91.0 (0 of 3 crashed) | 64.3 (1 of 3 crashed) |" in (
        written.first["rates.md"].decode()
    )


def test_deleting_one_result_makes_exactly_its_cell_missing(written) -> None:
    before, after = written.first, written.after
    old, new = rows(before["rates.csv"]), rows(after["rates.csv"])
    changed = [(a, b) for a, b in zip(old, new, strict=True) if a != b]
    assert [b["lr"] for _, b in changed] == ["0.001"]
    was, now = changed[0]
    assert {key for key in was if was[key] != now[key]} == {
        "n", "n_missing", "mean_all", "ci_all", "values", "losses",
    }  # fmt: skip
    assert now["values"] == "0=crash:10 1=91 2=missing"
    runs = {row["run_id"] for row in rows(before["rates_runs.csv"])}
    assert runs - {row["run_id"] for row in rows(after["rates_runs.csv"])} == {written.gone}
    new_texts = texts(after["rates.svg"]) - texts(before["rates.svg"])
    assert new_texts == Counter(["50.5", "x 1/2", "1 missing"])
    dots = [files["rates_rates.svg"].count(b"<use ") for files in (before, after)]
    assert dots[0] - dots[1] == 1


def test_a_missing_result_leaves_its_seed_out_of_the_summaries_of_its_line_alone(written) -> None:
    before, after = (rows(f["rates_edges.csv"]) for f in (written.first, written.after))
    different = [(a, b) for a, b in zip(before, after, strict=True) if a != b]
    assert [b["series"] for _, b in different] == ["patchify, adamw"]
    assert different[0][1]["by_seed"] == different[0][0]["by_seed"].rpartition(" ")[0]
    page = written.after["rates.md"].decode()
    assert "unfinished: 1e-3" in page
    assert "seed 2: not at every rate" in page
    assert "1 run; to train what is missing: `python scripts/sweep.py tables=[rates]" in page


@pytest.mark.usefixtures("no_pictures")
def test_an_empty_grid_is_a_page_with_holes_and_the_command_that_fills_them(tmp_path) -> None:
    write_grid(tmp_path / "conf")
    files = write_all(tmp_path)
    page = files["rates.md"].decode()
    assert "18 runs; to train what is missing" in page
    assert "## Stability edge" not in page
    assert "## Sensitivity" not in page
    assert {row["status"] for row in rows(files["rates.csv"])} == {"missing"}


@pytest.mark.usefixtures("no_pictures")
def test_any_table_can_be_asked_and_rows_that_start_elsewhere_are_no_rates(tmp_path) -> None:
    block = {
        "label": "block",
        "rows": [
            {"run": ["stem=conv", "lr.base=1e-3"], "paper": {"top1": 1.0}},
            {"run": ["stem=conv", "lr.base=1e-4"], "paper": {"top1": 1.0}},
            {"run": ["stem=conv"], "upstream": ["recipe=dino"], "paper": {"top1": 1.0}},
        ],
    }
    write_table(tmp_path / "conf", blocks=[block])
    plan = plan_of(tmp_path, "table8")
    assert [tuple(line.cells) for line in read_lines(plan, plan.tables[0])] == [(1e-4, 1e-3)]
    assert write_stability(plan, plan.tables[0])


def test_rates_of_a_line_may_have_different_numbers_of_seeds(tmp_path) -> None:
    """A rate counts over its own seeds; the sensitivity is over those that have every rate."""
    lines = [{"run": [f"lr.base={rate}"], "paper": {"top1": 1.0}} for rate in (1e-3, 2e-3)]
    lines[1]["seeds"] = [0, 1, 2, 3, 4]
    write_table(tmp_path / "conf", seeds=list(SEEDS), blocks=[{"label": "block", "rows": lines}])
    plan = plan_of(tmp_path, seeds=None)
    for cell, crashes in zip(plan.cells, (0, 3), strict=True):
        for seed, name in enumerate(cell.run_ids):
            crash = "collapsed" if seed < crashes else None
            finish(plan, name, 90.0, crash=crash, more={"val/loss": 0.5 + seed / 10})
    plan = plan_of(tmp_path, seeds=None)
    written = write_stability(plan, plan.tables[0])
    files = {path.name: path.read_bytes() for path in written}
    assert [(r["n"], r["n_crash"], r["n_missing"]) for r in rows(files["table8.csv"])] == [
        ("3", "0", "0"),
        ("5", "3", "0"),
    ]
    (edge,) = rows(files["table8_edges.csv"])
    assert (edge["edge_half"], edge["next_half"]) == ("0.001", "0.002")
    assert [pair[:2] for pair in edge["by_seed"].split()] == ["0=", "1=", "2="]
    page = files["table8.md"].decode()
    assert "seed 3: not at every rate; seed 4: not at every rate" in page
    assert "unfinished" not in page
    assert "Not here yet" not in page
    assert "x 3/5" in texts(files["table8.svg"])


def test_series_that_options_do_not_tell_apart_are_told_apart_by_their_rows(tmp_path) -> None:
    block = {
        "label": "block",
        "rows": [
            {"run": ["stem=conv"], "paper": {"top1": 1.0}},
            {"run": ["stem=conv", "model.width=16"], "paper": {"top1": 1.0}},
        ],
    }
    write_table(tmp_path / "conf", blocks=[block])
    plan = plan_of(tmp_path, "table8")
    names = [line.series for line in read_lines(plan, plan.tables[0])]
    assert names == ["conv, adamw (row 1)", "conv, adamw (row 2)"]
