from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from scaledrelu.bench.table import Origin, Row, flat, merge, render_csv, render_markdown

ORIGIN = Origin("2026-01-02", "Some GPU", "2.11", "1.0", "python scripts/bench.py")
STEP = Row(
    kind="step",
    profile="mini",
    stem="conv",
    optimizer="adamw",
    precision="fp32",
    batch=64,
    compiled=False,
    images_per_s=12345.678,
    ratios=[1.2, 0.9, 1.1],
)


def test_a_ratio_is_printed_with_its_range():
    page = render_markdown([flat(STEP, ORIGIN)], "ceiling")
    assert "1.100 [0.900, 1.200]" in page
    assert "12,346" in page
    assert "ceiling" in page


def test_host_waits_are_explained_where_they_are_shown():
    said = "does not see a copy from memory that is not page-locked"
    waiting, silent = (
        " ".join(render_markdown([flat(row, ORIGIN)], "ceiling").split())
        for row in (replace(STEP, host_syncs=0), STEP)
    )
    assert said in waiting
    assert said not in silent


def test_measuring_again_replaces_that_row_alone(tmp_path: Path):
    path = tmp_path / "gpu.csv"
    other = replace(STEP, optimizer="sam")
    path.write_text(render_csv([flat(STEP, ORIGIN), flat(other, ORIGIN)]))
    again = flat(replace(STEP, images_per_s=1.0), ORIGIN)
    rows = merge(path, [again])
    assert [row["images_per_s"] for row in rows] == ["1", "12346"]
    assert [row["optimizer"] for row in rows] == ["adamw", "sam"]


def test_every_setting_of_a_case_keeps_rows_apart(tmp_path: Path):
    variants = [
        replace(STEP, batch=128),
        replace(STEP, compiled=True),
        replace(STEP, fused=True),
        replace(STEP, layout="contiguous"),
        replace(STEP, peer="timm defaults"),
        replace(STEP, precision="bf16"),
        replace(STEP, kind="loop"),
    ]
    path = tmp_path / "gpu.csv"
    path.write_text(render_csv([flat(STEP, ORIGIN)]))
    assert len(merge(path, [flat(row, ORIGIN) for row in variants])) == 1 + len(variants)


def test_reading_and_writing_again_changes_no_byte(tmp_path: Path):
    path = tmp_path / "gpu.csv"
    text = render_csv([flat(STEP, ORIGIN), flat(Row("startup", name="a, b", seconds=0.1), ORIGIN)])
    path.write_text(text)
    assert render_csv(merge(path, [])) == text


def test_the_page_says_how_every_number_was_measured():
    late = replace(ORIGIN, command="python scripts/bench.py --quick", note="cores were shared")
    page = render_markdown([flat(STEP, ORIGIN), flat(replace(STEP, batch=1), late)], "ceiling")
    assert "# Speed on Some GPU" in page
    assert "`python scripts/bench.py --quick`, torch 2.11, timm 1.0; cores were shared" in page
    assert "`python scripts/bench.py`, torch 2.11, timm 1.0\n" in page


def test_a_measurement_that_failed_is_shown_as_such():
    failed = replace(STEP, images_per_s=None, ratios=[], problem="OutOfMemoryError: 80 GiB")
    assert "OutOfMemoryError: 80 GiB" in render_markdown([flat(failed, ORIGIN)], "ceiling")


def test_whose_memory_a_step_is_said_to_take_stands_below_the_table():
    words = "GiB: the most memory of the GPU"
    assert words in render_markdown([flat(replace(STEP, memory_gib=7.0), ORIGIN)], "ceiling")
    planning = flat(Row("planning", name="plan", seconds=1.0, memory_gib=0.1), ORIGIN)
    assert words not in render_markdown([flat(STEP, ORIGIN), planning], "ceiling")
