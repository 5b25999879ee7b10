"""What has been measured on a GPU: the published rows of ``make bench``, by what they are about.

Reads ``results/published/bench/*.csv``. What no row says is left to ``speed``.
"""

from __future__ import annotations

import contextlib
import re
import statistics
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from scaledrelu.config.places import CONF_DIR, ROOT, published_root
from scaledrelu.config.yaml_file import read_yaml
from scaledrelu.errors import ConfigError, DataError
from scaledrelu.text import measured_rows

FOLDER = published_root(ROOT / "results") / "bench"
PAPER = "paper"
REFERENCE = "reference"  # our path with the official transforms
DEIT, DINO, VOLO = "DeiT's script", "DINO's script", "VOLO's script"  # peers of loaders
TIMM_CROPS = "timm's script without RandAugment"  # decode and crop alone
OFFICIAL = ("timm defaults", DINO)  # peers of steps
SIZES = ("width", "depth", "patch_size")  # of a model; its operations tell apart the rest
# Behind what it is about, a name may say which library decodes.
_ALONE = re.compile(r"(.+?), one process(?:, .+)?, \d+ real JPEGs")
_TOGETHER = re.compile(r"(.+?), (\d+) loader processes to the GPU(?:, .+)?, \d+ real JPEGs")


Row = Mapping[str, str]  # of a CSV


@dataclass(frozen=True, slots=True)
class Step:
    """Training steps of the paper's size, the batch of one GPU of the paper.

    Attributes:
        recipe: deit | volo | dino.
        model: its width, depth and patch size, as its file in ``conf/model`` gives them.
        stem: option of the group ``stem``.
        sam: two gradients a step.
        precision: option of the group ``precision``.
        mode: of ``torch.compile``; empty where nothing is compiled.
        rate: images a second.
        spread: slowest and fastest block, as shares of ``rate``.
        flops: operations on one image, counted by torch.
    """

    recipe: str
    model: Mapping[str, Any]
    stem: str
    sam: bool
    precision: str
    mode: str
    rate: float
    spread: tuple[float, float]
    flops: float


@dataclass(frozen=True, slots=True)
class Records:
    """The rows about one GPU, and loader rows of the machines whose rows lack one of it.

    Attributes:
        card: name of the GPU.
        path: file of its rows.
        ours: our steps.
        official: steps as the official scripts make them, of several rows the fastest.
        alone: images a second that one loader process makes on the card's machine, by path or
            peer; what was measured elsewhere only is as much faster than DeiT's script as there.
        together: images a second of several loader processes on the card's machine, by path.
        processes: how many these were, on as many cores.
        peak: operations a second of a large product in 16 bits, the fastest measured.
    """

    card: str
    path: Path
    ours: tuple[Step, ...]
    official: tuple[Step, ...]
    alone: Mapping[str, float]
    together: Mapping[str, float]
    processes: int
    peak: float


def read_records(folder: Path | None = None) -> Records | None:
    """Return what is published about the GPU with most rows at the paper's size.

    Args:
        folder: where the CSVs lie; those of this repository by default.

    Returns:
        None if no GPU was measured at that size.

    Raises:
        DataError: a file is cut off, or lacks what the steps of the card are compared with.
    """
    files = {path: _rows(path) for path in sorted((folder or FOLDER).glob("*.csv"))}
    cards = {path: [row for row in rows if _is_paper_step(row)] for path, rows in files.items()}
    path = max(cards, key=lambda one: len(cards[one]), default=None)
    if path is None or not cards[path]:
        return None
    steps = cards[path]
    official = [row for row in steps if row["peer"] in OFFICIAL]
    together = dict(_together(files[path]))
    alone = _alone(files[path], [rows for other, rows in files.items() if other != path])
    _check_complete(path, official=official, shared=together.keys() & alone.keys())
    return Records(
        card=steps[0]["device"],
        path=path,
        ours=tuple(_step(row, "images_per_s") for row in steps if row not in official),
        official=_fastest(official),
        alone=alone,
        together={name: rate for name, (_, rate) in together.items()},
        processes=max((count for count, _ in together.values()), default=0),
        peak=1e12 * max(float(row["peak_tflops"]) for row in steps if row["peak_tflops"]),
    )


def _rows(path: Path) -> list[dict[str, str]]:
    return [row for row in measured_rows(path) if not row.get("problem")]


def _check_complete(path: Path, *, official: Sequence[Row], shared: Collection[str]) -> None:
    """Refuse the file of a card without official steps, or loaders alone and together."""
    needed = {
        "steps beside timm's defaults (--only step)": official,
        "loader processes, one alone and several together (--only loader --images <JPEGs>)": shared,
    }
    if lacking := [what for what, found in needed.items() if not found]:
        raise DataError(
            f"{path}: no row of {', nor of '.join(lacking)}; measure them with scripts/bench.py, "
            "or restore the file from a copy"
        )


def _is_paper_step(row: Row) -> bool:
    """Say whether a row is about a step of the paper profile, compiled in any mode or not."""
    usual = row["layout"] == "channels_last" and row["fused"] == "true" and not row.get("groups")
    return row["kind"] == "step" and row["profile"] == PAPER and usual


def _fastest(rows: Iterable[Row]) -> tuple[Step, ...]:
    """Return the scripts' steps: of rows about one, the fastest, with the range of all of them.

    Scripts as they come compile nothing, also where they were timed beside ours compiled.
    """
    found: dict[tuple[str, str, str, bool, str], list[Step]] = {}
    for row in rows:
        one = replace(_step(row, "plain_images_per_s"), mode="")
        which = (one.recipe, row["model"], one.stem, one.sam, one.precision)
        found.setdefault(which, []).append(one)
    return tuple(_with_range(steps) for steps in found.values())


def _with_range(steps: Sequence[Step]) -> Step:
    best = max(steps, key=lambda one: one.rate)
    slowest = min(one.spread[0] * one.rate for one in steps)
    return replace(best, spread=(slowest / best.rate, best.spread[1]))


def _step(row: Row, rate: str) -> Step:
    ratio = float(row["ratio"])
    return Step(
        recipe=row["recipe"],
        model=_sizes_of(row["model"]),
        stem=row["stem"],
        sam=row["optimizer"] == "sam",
        precision=row["precision"],
        mode=(row.get("compile_mode") or "default") if row["compiled"] == "true" else "",
        rate=float(row[rate]),
        spread=(float(row["ratio_min"]) / ratio, float(row["ratio_max"]) / ratio),
        flops=1e9 * float(row["gflop_per_image"]),
    )


@cache
def _sizes_of(label: str) -> Mapping[str, Any]:
    """Return the sizes of a model by its label; nothing if no file of ``conf/model`` has it."""
    for path in sorted((CONF_DIR / "model").glob("*.yaml")):
        raw: Any = None
        with contextlib.suppress(ConfigError):  # a draft that nobody has chosen
            raw = read_yaml(path, str(path))
        if isinstance(raw, dict) and raw.get("label") == label:
            return {name: raw[name] for name in SIZES if name in raw}
    return {}


def _alone(home: Sequence[Row], elsewhere: Iterable[Sequence[Row]]) -> dict[str, float]:
    found = _levels(home)
    for match, row in _one_process(home):
        found.setdefault(match, float(row["images_per_s_per_core"]))
    for rows in elsewhere if DEIT in found else ():
        for name, relative in _beside_deit(rows).items():
            found.setdefault(name, found[DEIT] * relative)
    return found


def _levels(rows: Sequence[Row]) -> dict[str, float]:
    """Return the median rate of each peer on one machine."""
    rates: dict[str, list[float]] = {}
    for _, row in _one_process(rows):
        rates.setdefault(row["peer"], []).append(float(row["plain_images_per_s"]))
    return {peer: statistics.median(values) for peer, values in rates.items()}


def _beside_deit(rows: Sequence[Row]) -> dict[str, float]:
    """Return how fast paths and peers are beside DeiT's script on one machine.

    A path was timed in turns with its peer, which changes of the machine's speed leave alone.
    """
    levels = _levels(rows)
    if DEIT not in levels:
        return {}
    found = {peer: rate / levels[DEIT] for peer, rate in levels.items()}
    ratios: dict[str, dict[str, float]] = {}
    for path, row in _one_process(rows):
        ratios.setdefault(path, {}).setdefault(row["peer"], float(row["ratio"]))
    # A script that was itself timed beside DeiT's says how fast those are that were beside it.
    for path in sorted(ratios, key=lambda one: one not in levels):
        peers = ratios[path]
        peer = DEIT if DEIT in peers else next(iter(peers))
        found[path] = peers[peer] * found[peer]
    return found


def _one_process(rows: Iterable[Row]) -> Iterator[tuple[str, Row]]:
    for row in rows:
        if row["kind"] == "loader" and (match := _ALONE.fullmatch(row["name"])):
            yield match[1], row


def _together(rows: Iterable[Row]) -> Iterable[tuple[str, tuple[int, float]]]:
    for row in rows:
        if row["kind"] == "loader" and (match := _TOGETHER.fullmatch(row["name"])):
            yield match[1], (int(match[2]), float(row["images_per_s"]))
