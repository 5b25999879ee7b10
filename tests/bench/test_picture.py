"""The picture shows the numbers of the table, and none that is not there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from scaledrelu.bench.picture import Level, Ratio, draw_ratios, ratios
from scaledrelu.bench.scripts import Script
from scaledrelu.bench.table import Origin, Row, flat

ORIGIN = Origin("2026-01-02", "Some GPU", "2.11", "1.0", "python scripts/bench.py")
STEP = Row(
    kind="step",
    profile="paper",
    recipe="deit",
    stem="conv",
    optimizer="adamw",
    precision="fp16_2021",
    batch=128,
    layout="channels_last",
    compiled=False,
    fused=True,
    peer="same switches",
    ratios=[1.2, 0.9, 1.1],
)
END = replace(STEP, kind="end", peer=Script.DEIT, ratios=[2.5, 2.0, 3.0])


def loader(path: str, peer: str, value: float, what: str = "200 real JPEGs") -> Row:
    return Row("loader", name=f"{path}, one process, {what}", peer=peer, ratios=[value])


def shown(*rows: Row) -> dict[tuple[Script, Level], Ratio]:
    found = ratios([flat(row, ORIGIN) for row in rows])
    return {(one.script, one.level): one for one in found}


def test_median_and_range_of_each_level_are_those_of_the_table():
    found = shown(STEP, END, loader("device, decoder=tensor", Script.DEIT, 3.0))
    assert {key: (one.median, one.low, one.high) for key, one in found.items()} == {
        (Script.TIMM, Level.STEP): (1.1, 0.9, 1.2),
        (Script.DEIT, Level.LOADER): (3.0, 3.0, 3.0),
        (Script.DEIT, Level.END): (2.5, 2.0, 3.0),
    }


@pytest.mark.parametrize(
    "other",
    [
        {"fused": False},
        {"layout": "contiguous"},
        {"precision": "bf16"},
        {"optimizer": "sam"},
        {"batch": 256},
        {"groups": "8 at once"},
        {"stem": "conv_bn"},
    ],
)
def test_a_row_that_varies_a_switch_is_not_the_one_shown(other):
    varied = replace(STEP, ratios=[9.0], **other)
    assert shown(varied, STEP)[Script.TIMM, Level.STEP].median == 1.1
    assert shown(varied) == {}


def test_paper_size_the_conv_stem_and_real_files_come_first():
    worse = [
        replace(STEP, stem="patchify", ratios=[9.0]),
        replace(STEP, profile="mini", batch=64, precision="fp32", ratios=[9.0]),
    ]
    found = shown(*worse, STEP)[Script.TIMM, Level.STEP]
    assert (found.median, found.small) == (1.1, False)
    assert shown(worse[1])[Script.TIMM, Level.STEP].small
    files = [
        loader("DINO", Script.DINO, 9.0, "64 generated JPEGs"),
        loader("DINO", Script.DINO, 7.0),
        loader("DINO, reference", Script.DINO, 1.0),
    ]
    assert shown(*files)[Script.DINO, Level.LOADER].median == 7.0
    compiled = replace(STEP, compiled=True, ratios=[1.3])
    assert shown(STEP, compiled)[Script.TIMM, Level.STEP].median == 1.3
    graphs = replace(compiled, compile_mode="reduce-overhead", ratios=[1.2])
    assert shown(STEP, graphs, compiled)[Script.TIMM, Level.STEP].median == 1.2
    ends = [replace(END, precision="bf16", ratios=[9.0]), END]
    assert shown(*ends)[Script.DEIT, Level.END].median == 2.5


def test_tables_from_before_the_last_columns_can_be_drawn():
    old = {k: v for k, v in flat(STEP, ORIGIN).items() if k not in ("groups", "compile_mode")}
    assert [one.median for one in ratios([old])] == [1.1]


def test_what_two_scripts_share_stands_beside_both():
    found = shown(replace(STEP, peer=Script.TIMM_DEFAULTS))
    assert set(found) == {(Script.TIMM_DEFAULTS, Level.STEP), (Script.DEIT, Level.STEP)}
    volo = replace(STEP, recipe="volo", ratios=[0.9])
    both = shown(volo, replace(volo, peer=Script.TIMM_DEFAULTS, ratios=[1.06]))
    assert both[Script.VOLO, Level.STEP].median == 1.06


def test_a_failed_measurement_is_not_drawn(tmp_path: Path):
    failed = flat(replace(STEP, ratios=[], problem="out of memory"), ORIGIN)
    assert draw_ratios([failed], tmp_path / "gpu") == []
    assert list(tmp_path.iterdir()) == []


def test_where_some_steps_are_compiled_the_picture_says_how_each_is(tmp_path: Path):
    graphs = replace(STEP, compiled=True, compile_mode="reduce-overhead")
    defaults = replace(STEP, compiled=True, peer=Script.TIMM_DEFAULTS)
    rows = [graphs, defaults, replace(STEP, recipe="volo"), END]
    draw_ratios([flat(row, ORIGIN) for row in rows], tmp_path / "gpu")
    text = (tmp_path / "gpu.svg").read_text()
    for words in ("1.10, CUDA graphs", "1.10, compiled", "1.10, not compiled"):
        assert words in text
    assert {one.how for one in ratios([flat(STEP, ORIGIN)])} == {""}


def test_the_picture_says_every_number_and_what_is_missing(tmp_path: Path):
    rows = [flat(row, ORIGIN) for row in (STEP, END, replace(END, name="small model"))]
    first = [path.read_bytes() for path in draw_ratios(rows, tmp_path / "gpu")]
    text = (tmp_path / "gpu.svg").read_text()
    for word in ("1.10", "2.50", "timm best flags", "DeiT&apos;s script", "Some GPU",
                 "Update alone", "JPEG file to update", "faster"):  # fmt: skip
        assert word in text or word.replace("&apos;", "'") in text, word
    assert text.count("not measured") == 2  # two scripts at two levels, two numbers
    assert "Loader alone" not in text  # of which nothing is measured
    assert [path.read_bytes() for path in draw_ratios(rows, tmp_path / "gpu")] == first
