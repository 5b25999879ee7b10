"""What has been measured on a GPU: the published rows of ``make bench``, by what they are about.

Reads ``results/published/bench/*.csv``. What no row says is left to ``speed``.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from scaledrelu.config.places import CONF_DIR

FOLDER = CONF_DIR.parent / "results" / "published" / "bench"
PAPER = "paper"
REFERENCE = "reference"  # the path that every machine has measured
DEIT, DINO, VOLO = "DeiT's script", "DINO's script", "VOLO's script"  # peers of loaders
TIMM_CROPS = "timm's script without RandAugment"  # decode and crop alone
OFFICIAL = ("timm defaults", DINO)  # peers of steps
# Behind what it is about, a name may say which library decodes.
_ALONE = re.compile(r"(.+?), one process(?:, .+)?, \d+ real JPEGs")
_TOGETHER = re.compile(r"(.+?), (\d+) loader processes to the GPU(?:, .+)?, \d+ real JPEGs")


@dataclass(frozen=True, slots=True)
class Step:
    """Training steps of the paper's size, the batch of one GPU of the paper.

    Attributes:
        recipe: deit | volo | dino.
        stem: option of the group ``stem``.
        sam: two gradients a step.
        precision: option of the group ``precision``.
        compiled: whether by ``torch.compile``.
        rate: images a second.
        spread: slowest and fastest block, as shares of ``rate``.
        flops: operations on one image, counted by torch.
    """

    recipe: str
    stem: str
    sam: bool
    precision: str
    compiled: bool
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
        official: steps as the official scripts make them.
        alone: images a second that one loader process makes: path or peer -> machine -> rate;
            the card's machine first.
        together: images a second of several loader processes on the card's machine, by path.
        processes: how many these were, on as many cores.
        peak: operations a second of a large product in 16 bits, the fastest measured.
    """

    card: str
    path: Path
    ours: tuple[Step, ...]
    official: tuple[Step, ...]
    alone: Mapping[str, Mapping[str, float]]
    together: Mapping[str, float]
    processes: int
    peak: float


def read_records(folder: Path | None = None) -> Records | None:
    """Return what is published about the GPU with most rows at the paper's size.

    Args:
        folder: where the CSVs lie; those of this repository by default.

    Returns:
        None if no GPU was measured at that size.
    """
    files = {path: _rows(path) for path in sorted((folder or FOLDER).glob("*.csv"))}
    cards = {path: [row for row in rows if _is_paper_step(row)] for path, rows in files.items()}
    path = max(cards, key=lambda one: len(cards[one]), default=None)
    if path is None or not cards[path]:
        return None
    steps = cards[path]
    official = [row for row in steps if row["peer"] in OFFICIAL]
    order = [path, *(other for other in files if other != path)]
    together = dict(_together(files[path]))
    return Records(
        card=steps[0]["device"],
        path=path,
        ours=tuple(_step(row, "images_per_s") for row in steps if row not in official),
        official=tuple(_step(row, "plain_images_per_s") for row in official),
        alone=_alone({one.stem: files[one] for one in order}),
        together={name: rate for name, (_, rate) in together.items()},
        processes=max((count for count, _ in together.values()), default=0),
        peak=1e12 * max(float(row["peak_tflops"]) for row in steps if row["peak_tflops"]),
    )


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if not row.get("problem")]


def _is_paper_step(row: Mapping[str, str]) -> bool:
    """Say whether a row is about a step as the paper profile makes it by default, or compiled."""
    usual = row["layout"] == "channels_last" and row["fused"] == "true"
    other = row.get("groups") or row.get("sdpa", "") not in ("", "default")
    return row["kind"] == "step" and row["profile"] == PAPER and usual and not other


def _step(row: Mapping[str, str], rate: str) -> Step:
    ratio = float(row["ratio"])
    return Step(
        recipe=row["recipe"],
        stem=row["stem"],
        sam=row["optimizer"] == "sam",
        precision=row["precision"],
        compiled=row["compiled"] == "true",
        rate=float(row[rate]),
        spread=(float(row["ratio_min"]) / ratio, float(row["ratio_max"]) / ratio),
        flops=1e9 * float(row["gflop_per_image"]),
    )


def _alone(files: Mapping[str, Iterable[Mapping[str, str]]]) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for machine, rows in files.items():
        for row in rows:
            if row["kind"] == "loader" and (match := _ALONE.fullmatch(row["name"])):
                ours, peer = row["images_per_s_per_core"], row["plain_images_per_s"]
                found.setdefault(match[1], {}).setdefault(machine, float(ours))
                found.setdefault(row["peer"], {}).setdefault(machine, float(peer))
    compared = found.get(REFERENCE, {}).keys()
    return {name: rates for name, rates in found.items() if rates.keys() & compared}


def _together(rows: Iterable[Mapping[str, str]]) -> Iterable[tuple[str, tuple[int, float]]]:
    for row in rows:
        if row["kind"] == "loader" and (match := _TOGETHER.fullmatch(row["name"])):
            yield match[1], (int(match[2]), float(row["images_per_s"]))
