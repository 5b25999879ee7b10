"""docs/performance.md is what the plan and the published speeds say, number by number."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from scaledrelu.config.places import CONF_DIR
from scaledrelu.cost.records import read_records
from scaledrelu.cost.speed import our_path
from scaledrelu.cost.whole import groups_of
from scaledrelu.errors import DataError
from scaledrelu.reports.performance import page as performance_page
from scaledrelu.reports.performance.page import PAGE, page_text, plan_paper, write_page
from scaledrelu.tables.settings import load_settings

PUBLISHED = CONF_DIR.parent / "docs" / PAGE


@pytest.fixture(scope="module")
def plan(composed_before, tmp_path_factory):
    settings = load_settings([f"results={composed_before}"], script="performance")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("nowhere"))  # no data set lies at a relative root here
        return plan_paper(settings)


@pytest.fixture(scope="module")
def records():
    return read_records()


def text_of(plan, records):
    return page_text(plan, records, groups_of((r.config for r in plan.runs.values()), records))


def test_the_page_is_that_of_the_program_and_the_published_speeds(plan, records):
    assert text_of(plan, records) == PUBLISHED.read_text(), "run make performance"


def test_the_whole_paper_is_its_seven_tables(monkeypatch):
    """A table that it does not print, such as one of a reader's own, is no part of its cost."""
    monkeypatch.setattr(performance_page, "plan_loaded", lambda tables, *_, **__: tables)
    planned = plan_paper(load_settings([], script="performance"))
    assert [table.name for table in planned] == [f"table{number}" for number in range(1, 8)]


def test_a_new_measurement_changes_the_page(plan, records):
    faster = replace(
        records, together={path: 1.01 * rate for path, rate in records.together.items()}
    )
    assert text_of(plan, faster) != PUBLISHED.read_text()


def hours(cell):
    """Return the likely value of a cell, without its range."""
    return float(re.match(r"[\d,.]+", cell)[0].replace(",", ""))


def lines(section):
    text = PUBLISHED.read_text().split(f"## {section}\n")[1].split("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return rows[2:]


def test_methods_add_up_to_the_whole_paper():
    whole = [
        line.split(" | ")
        for line in PUBLISHED.read_text().split("\n## ")[0].splitlines()
        if line.startswith("| ") and "GPU-hours" not in line and "---" not in line
    ]
    methods = lines("By method")
    for number, row in enumerate(whole):
        added = sum(hours(line[3 + number]) for line in methods)
        assert hours(row[1]) == pytest.approx(added, abs=len(methods) / 2)


def test_the_hours_of_a_method_are_images_over_the_lower_rate(plan, records):
    """By a way of its own: from the page's rates, DeiT-S with AdamW, training alone."""
    rows = {(row[0], row[1]): row for row in lines("Speeds") if len(row) == 7}
    loaders = {row[0]: row for row in lines("Speeds") if len(row) == 6}
    chosen = [
        run.config
        for run in plan.runs.values()
        if run.config.method == "deit" and run.config.optimizer.sam is None
    ]
    loader = loaders[our_path(chosen[0], records)]
    column = 4  # a loader process on every core
    total = 0.0
    for config in chosen:
        stem = "conv" if config.stem.strides else "patchify"
        step = 0.95 * hours(rows["DeiT-S, AdamW", stem][4])
        rate = min(step, hours(loader[column]))
        total += 300 * config.data.fraction * 1_281_167 / rate / 3600
    printed = hours(next(row for row in lines("By method") if row[0] == "DeiT-S, AdamW")[5])
    assert total < printed < 1.06 * total  # evaluations are a 26th of the images


@pytest.mark.parametrize("path", ["device, decoder=tensor", "DINO, reference"])
def test_a_loader_that_was_not_measured_is_one_line_and_nothing_is_written(
    path, plan, records, tmp_path
):
    alone = {name: rate for name, rate in records.alone.items() if name != path}
    fewer = replace(records, alone=alone)
    with pytest.raises(DataError, match=rf"bench: no row of one loader process of '{path}'; measu"):
        write_page(plan, fewer, docs=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_page_that_cannot_be_written_leaves_the_old_picture(plan, records, tmp_path, monkeypatch):
    monkeypatch.setattr(performance_page, "example", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_page(plan, records, docs=tmp_path)
    assert list(tmp_path.iterdir()) == []
