"""One picture of a table: how fast ours is beside each script, at three levels; torch-free.

Of the rows of a level that stand beside one script, the picture shows the most telling one: paper
size before smaller ones, the conv stem before patchify, no switch that the table varies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from scaledrelu.bench.cases import BATCH, GRAPHS, METHODS
from scaledrelu.bench.end_cases import SMALL_NAME
from scaledrelu.bench.scripts import OUR_PATH, Script
from scaledrelu.reports.drawing import drawing, look, save_picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Cells = Mapping[str, str]  # a row of the CSV


class Level(StrEnum):
    """What is timed."""

    STEP = "step"
    LOADER = "loader"
    END = "end"


TITLES = {
    Level.STEP: "Update alone",
    Level.LOADER: "Loader alone, per core",
    Level.END: "JPEG file to update",
}
# The same update stands for two scripts: DeiT's loop does what timm's does by default.
STEP_PEERS = {
    Script.TIMM: ("deit", ("same switches",)),
    Script.TIMM_DEFAULTS: ("deit", (Script.TIMM_DEFAULTS,)),
    Script.DEIT: ("deit", (Script.TIMM_DEFAULTS,)),
    Script.DINO: ("dino", (Script.DINO, "same switches")),
    Script.VOLO: ("volo", (Script.TIMM_DEFAULTS, "same switches")),
}
SHOWN = (
    Script.TIMM,
    Script.TIMM_DEFAULTS,
    Script.TIMM_BARE,
    Script.DEIT,
    Script.DINO,
    Script.VOLO,
)
TICKS = (0.5, 1, 2, 4, 8)


@dataclass(frozen=True, slots=True)
class Ratio:
    """Our speed over a script's: the median of the rounds and their range."""

    script: Script
    level: Level
    median: float
    low: float
    high: float
    small: bool  # measured at less than paper size
    how: str = ""  # how our step was compiled, where some were


def draw_ratios(rows: Sequence[Cells], place: Path) -> list[Path]:
    """Write ``<place>.png`` and ``.svg``; nothing where no row stands beside a script.

    Args:
        rows: rows of the CSV, of one device.
        place: path without suffix.
    """
    found = ratios(rows)
    if not found:
        return []
    scripts = [script for script in SHOWN if any(one.script is script for one in found)]
    levels = [level for level in Level if any(one.level is level for one in found)]
    low = min(one.low for one in found)
    high = max(one.high for one in found)
    size = 4.5 + 2.0 * len(levels), 1.8 + 0.45 * len(scripts)
    with drawing(*size, ncols=len(levels), sharey=True, squeeze=False) as (figure, (panels,)):
        for panel, level in zip(panels, levels, strict=True):
            here = {one.script: one for one in found if one.level is level}
            _draw_level(panel, scripts, here, look(list(Level).index(level)).dots)
            for y, script in enumerate(scripts):
                if script not in here:
                    words = _absent(script, level)
                    panel.text(1.04, y, words, va="center", color="#444444", fontsize=8)
            small = any(one.small for one in here.values())
            panel.set_title(TITLES[level] + (", small model" if small else ""))
            panel.set_xlim(0.85 * min(low, TICKS[0] / 0.7), 1.35 * max(high, 2))
        panels[0].set_yticks(range(len(scripts)), scripts)
        panels[0].set_ylim(len(scripts) - 0.4, -0.6)
        figure.suptitle(f"Our speed over that of other scripts, {rows[0]['device']}")
        figure.supxlabel(
            "times as fast as the script (dot: median of the rounds, line: their range);\n"
            "right of 1 ours is faster",
            fontsize=9,
        )
        return save_picture(figure, place)


def _absent(script: Script, level: Level) -> str:
    """Return what stands where a script has no ratio."""
    if (script, level) == (Script.TIMM_DEFAULTS, Level.LOADER):
        return "as above"  # its loader is that of the best flags
    return "" if script is Script.TIMM_BARE and level is not Level.LOADER else "not measured"


def _draw_level(
    panel: Axes, scripts: Sequence[Script], here: Mapping[Script, Ratio], dots: Mapping
) -> None:
    panel.set_xscale("log")
    panel.axvline(1, color="#444444", linewidth=1)
    for y, script in enumerate(scripts):
        if script not in here:
            continue
        one = here[script]
        panel.plot([one.low, one.high], [y, y], color=dots["color"], linewidth=1.6, marker="|")
        panel.plot([one.median], [y], **dots, markersize=6)
        panel.annotate(
            f"{one.median:.2f}{one.how and f', {one.how}'}",
            (one.median, y),
            textcoords="offset points",
            xytext=(0, 7),
            ha="center",
            fontsize=8,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5},
        )
    panel.set_xticks(TICKS, [f"{tick:g}" for tick in TICKS])
    panel.minorticks_off()


def ratios(rows: Sequence[Cells]) -> list[Ratio]:
    """Return what the picture shows of a table, level by level.

    Args:
        rows: rows of the CSV, of one device.
    """
    found, compiles = [], any(row.get("compiled") == "true" for row in rows)
    for level in Level:
        of_level = [row for row in rows if row["kind"] == level and row.get("ratio")]
        for script in SHOWN:
            row = _CHOICES[level](of_level, script)
            if row is not None:
                numbers = (float(row[name]) for name in ("ratio", "ratio_min", "ratio_max"))
                small = SMALL_NAME in row["name"] or row["profile"] not in ("", "paper")
                how = _compiled(row) if compiles and level is not Level.LOADER else ""
                found.append(Ratio(script, level, *numbers, small, how))
    return found


def _compiled(row: Cells) -> str:
    """Return in words how our side of a row was compiled."""
    if row["compiled"] != "true":
        return "not compiled"
    return "CUDA graphs" if row.get("compile_mode") == GRAPHS else "compiled"


def _step(rows: Sequence[Cells], script: Script) -> Cells | None:
    recipe, peers = STEP_PEERS.get(script, ("", ()))
    plain = [
        row
        for row in rows
        if row["recipe"] == recipe
        and row["optimizer"] == "adamw"
        and row["precision"] in ("fp16_2021", "fp32")
        and row["layout"] == "channels_last"
        and row["fused"] == "true"
        and not row.get("groups")  # which older tables do not have
        and row["batch"] == str(METHODS.get(recipe, BATCH)[row["profile"]])
    ]
    order = [*BATCH][::-1], ("conv", "patchify")

    def rank(row: Cells) -> tuple[int, ...]:
        # The paper profile compiles, for CUDA graphs.
        return (order[0].index(row["profile"]), peers.index(row["peer"]),
                row["compiled"] != "true", row.get("compile_mode") != GRAPHS,
                order[1].index(row["stem"]))  # fmt: skip

    fitting = [row for row in plain if row["peer"] in peers and row["stem"] in order[1]]
    return min(fitting, key=rank, default=None)


def _loader(rows: Sequence[Cells], script: Script) -> Cells | None:
    peer = Script.TIMM_LOADER if script is Script.TIMM else script  # the same, whatever the flags
    start = f"{OUR_PATH[peer]}, one process"
    fitting = [row for row in rows if row["peer"] == peer and row["name"].startswith(start)]
    # What is installed decodes with nvImageCodec, else with simplejpeg.
    doubts = ("generated", "Pillow", "simplejpeg")
    return min(fitting, key=lambda row: [word in row["name"] for word in doubts], default=None)


def _end(rows: Sequence[Cells], script: Script) -> Cells | None:
    fitting = [row for row in rows if row["peer"] == script]

    def rank(row: Cells) -> tuple[bool, ...]:
        return "generated" in row["name"], row["precision"] == "bf16", row["stem"] != "conv"

    return min(fitting, key=rank, default=None)


_CHOICES = {Level.STEP: _step, Level.LOADER: _loader, Level.END: _end}
