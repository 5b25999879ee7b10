"""What README.md and docs/cifar.md say of edges and crashes is what the published records say."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from scaledrelu.reports.claims.per_image import mcnemar
from scaledrelu.reports.published_tables import Line, read_published
from scaledrelu.reports.statistics import Estimate, is_decided, paired
from tests.helpers.documents import README, ROOT

PUBLISHED = ROOT / "results" / "published"
CIFAR = ROOT / "docs" / "cifar.md"
OURS = "3Conv+3BN+3ReLU+1Proj"
SMOOTHING, CLASSES = 0.1, 10
FIRST = 0.9 * math.log(CLASSES)


def words(page: Path) -> str:
    """Return a page with every stretch of white space as one space."""
    return " ".join(page.read_text().split())


def smoothed_limit() -> float:
    """Return nine tenths of the way from a perfect network's loss to a uniform guess's."""
    rest = SMOOTHING / CLASSES
    right = 1 - SMOOTHING + rest
    floor = -right * math.log(right) - (CLASSES - 1) * rest * math.log(rest)
    return floor + 0.9 * (math.log(CLASSES) - floor)


@dataclass(frozen=True)
class Stem:
    """The five runs of a stem at 4e-3."""

    line: Line
    losses: tuple[float, ...]

    def above(self, limit: float) -> int:
        return sum(loss > limit for loss in self.losses)


def table_lines(profile: str, name: str) -> list[Line]:
    (table,) = [t for t in read_published(PUBLISHED / profile) if t.name == name]
    return list(table.lines)


@cache
def stems() -> dict[str, Stem]:
    """The stems at 8 times the rate, the highest accuracy first."""
    with (PUBLISHED / "cifar" / "edge.csv").open() as file:
        judged = {int(row["row"]): row["judged_losses"].split() for row in csv.DictReader(file)}
    found = [
        Stem(line, tuple(float(item.split("=")[1].split(":")[-1]) for item in judged[line.row]))
        for line in table_lines("cifar", "edge")
        if line.labels["lr"] == "4e-3"
    ]
    found.sort(key=lambda stem: -stem.line.mean)
    return {stem.line.labels["components"]: stem for stem in found}


def others() -> dict[str, Stem]:
    return {name: stem for name, stem in stems().items() if name != OURS}


def less(stem: Stem) -> Estimate:
    """Return the accuracy of the paper's stem less that of another, over paired seeds."""
    return paired(stems()[OURS].line.values, stem.line.values)


def is_below(stem: Stem) -> bool:
    return is_decided(less(stem), stems()[OURS].line.mean, stem.line.mean, stem.line.n_images)


def test_the_table_of_the_edge_is_that_of_the_records() -> None:
    shown = [line for line in CIFAR.read_text().splitlines() if line.endswith("|")]
    for name, stem in stems().items():
        size = less(stem)
        remark = "" if is_below(stem) else " (undecided)"
        difference = "" if name == OURS else f"{size.mean:+.1f} +/- {size.half:.1f}{remark}"
        cells = [f"{stem.line.mean:.1f}", difference]
        cells += [f"{stem.above(limit)} of 5" for limit in (FIRST, smoothed_limit())]
        cells.append(f"{min(stem.losses):.3f} to {max(stem.losses):.3f}")
        named = {OURS: f"{OURS}, the paper's stem", "1Proj": "1Proj (patchify)"}.get(name, name)
        expected = f"| {named} | {' | '.join(cells)} |"
        assert expected.replace("|  |", "| - |") in shown


@pytest.mark.parametrize("page", [README, CIFAR], ids=lambda path: path.name)
def test_accuracy_at_the_edge_is_told_with_the_crashes_by_both_limits(page: Path) -> None:
    text = words(page)
    below = [less(stem).mean for stem in others().values() if is_below(stem)]
    assert (len(below), len(others())) == (6, 8)
    assert f"{min(below):.1f} to {max(below):.1f} points" in text
    assert "six of the eight other stems" in text
    assert stems()[OURS].above(FIRST) == 0
    assert min(stem.above(FIRST) for stem in others().values()) == 1
    assert sum(stem.above(smoothed_limit()) == 0 for stem in others().values()) == 3
    counts = [sum(s.above(limit) for s in others().values()) for limit in (FIRST, smoothed_limit())]
    first = f"none of the paper's stem and {counts[0]} of the 40 other runs count as crashed"
    assert first in text.lower()
    smoothed = f"allows for label smoothing, {counts[1]} of the 40 do"
    assert f"{smoothed}, and three other stems have none" in text
    assert "no other stem does" not in text


def test_the_page_says_how_many_runs_lie_above_a_still_higher_limit() -> None:
    limit = 0.95 * math.log(CLASSES)
    above = sum(stem.above(limit) for stem in stems().values())
    assert f"With 0.95 of a uniform guess ({limit:.3f}), {above} do." in words(CIFAR)


@pytest.mark.parametrize("page", [README, CIFAR], ids=lambda path: path.name)
def test_no_rate_is_called_the_best_of_patchify(page: Path) -> None:
    assert "best rate" not in words(page)
    assert "best of patchify" not in words(page)


def test_the_choice_of_the_rate_is_told_with_its_test() -> None:
    chosen, next_ = (
        next(line for line in table_lines("cifar", "edge_choice") if line.labels["lr"] == rate)
        for rate in ("5e-4", "1e-3")
    )
    right = [
        np.load(PUBLISHED / "cifar" / "runs" / line.run_ids[0] / "evidence.npz")["val.correct"]
        for line in (chosen, next_)
    ]
    p = mcnemar(10, *right).p
    lines = {line.labels["lr"]: line.mean for line in table_lines("cifar", "edge")[:2]}
    assert (
        f"{chosen.mean:.1f} against {next_.mean:.1f} at 1e-3 (McNemar p = {p:.2f}); on the test "
        f"images, with three seeds, 1e-3 is no worse ({lines['1e-3']:.1f} against "
        f"{lines['5e-4']:.1f})"
    ) in words(CIFAR)


def test_the_caption_of_the_map_counts_both_stems_with_three_seeds_and_with_sixteen() -> None:
    text, found = words(README), {line.row: line for line in table_lines("mini", "table1")}
    assert {found[row].n for row in (2, 3, 8, 9)} == {16}
    assert [found[row].labels["wm-epoch"] for row in (2, 3, 8, 9)] == ["5", "20", "5", "20"]
    patchify, patchify_long, conv, conv_long = (found[row].n_crash for row in (2, 3, 8, 9))
    assert (
        f"In Table 1, with 16 seeds at 1e-3, {patchify} of patchify and {conv} of the conv-stem "
        f"crash after warm-up 5, and {patchify_long} and {conv_long} after warm-up 20"
    ) in text
    with (PUBLISHED / "mini" / "stability" / "stems.csv").open() as file:
        spots = {
            (row["series"].split(",")[0], row["warmup"], row["lr"]): int(row["n_crash"])
            for row in csv.DictReader(file)
        }
    assert [spots["patchify", "5", "0.001"], spots["patchify", "20", "0.002"]] == [2, 3]
    assert [spots["conv", "5", rate] for rate in ("0.001", "0.002", "0.004")] == [0, 1, 1]
    assert spots["conv", "20", "0.004"] == 0
    assert "2 of 3 at 1e-3; the conv-stem 1 of 3 at 2e-3 and at 4e-3" in text
