"""What the published runs say of the argument: alphas, similarities with and without a ReLU.

Shapes: C channels, L layers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scaledrelu.reports.published_tables import Line, PublishedTable, read_published
from scaledrelu.reports.statistics import Estimate, paired
from scaledrelu.theory.records import Evidence, rank_correlation, read_evidence
from scaledrelu.theory.theorem1 import Array
from scaledrelu.theory.theorem2 import falls_below_drawn

TABLE = "table2"
FULL, BN, RELU, PLAIN = (f"3Conv+{part}1Proj" for part in ("3BN+3ReLU+", "3BN+", "3ReLU+", ""))
TAIL, TAIL_RELU, PATCHIFY = "1Proj+1BN+1ReLU", "1Proj+1ReLU", "1Proj"
WITH_AND_WITHOUT = ((FULL, BN), (RELU, PLAIN), (TAIL_RELU, PATCHIFY), (TAIL, PATCHIFY))
DEIT = "DeiT-Small"
WARMUP = {DEIT: "5", "VOLO-d1-224": "20"}  # the epochs that all of these stems have
STEM, FIRST_BLOCK, LAST_BLOCK = 0, 2, -1  # of a ViT's layers; positions come second
LAYERS = {STEM: "stem", FIRST_BLOCK: "block 1", LAST_BLOCK: "last block"}
FIGURE_1 = ((f"{DEIT}, AdamW, lr 1e-3", FULL), (f"{DEIT}, AdamW, lr 5e-4", PATCHIFY))


@dataclass(frozen=True, slots=True)
class Difference:
    """Two rows of Table 2, and how their similarity differs at a layer over paired seeds.

    Attributes:
        one: components of the stem with the ReLU.
        other: components without.
        setting: model, optimizer and rate that both share.
        layer: which layer.
        size: mean difference, over seeds that held in both; None without such a seed.
        crashed: seeds left out since one of the two crashed.
    """

    one: str
    other: str
    setting: str
    layer: int
    size: Estimate | None
    crashed: int

    @property
    def is_decided(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.size is not None and self.size.leaves_out_zero


@dataclass(frozen=True, slots=True)
class Shifts:
    """The shifts of a family's trained scaled ReLUs, in units of their scales.

    Attributes:
        family: method and place of the scaled ReLU.
        runs: how many runs.
        ratios: alpha / beta of all channels of all runs.
        needed: shift below which independent tokens of as many channels become less alike.
        correlations: per run, rank correlation of ``|(alpha, beta)|`` and the attention's weights
            per channel; empty where channels are not those of the tokens.
    """

    family: str
    runs: int
    ratios: Array
    needed: float
    correlations: tuple[float, ...]

    @property
    def negative(self) -> float:
        """Share of channels with a negative shift."""
        return float((self.ratios < 0).mean())


@dataclass(frozen=True, slots=True)
class Trained:
    """Everything that the section says."""

    evidence: dict[tuple[str, str], list[Evidence]]  # (setting, components) -> runs
    differences: tuple[Difference, ...]
    shifts: tuple[Shifts, ...]


def measure(published: Path) -> Trained:
    """Return the numbers of the section; what is not published is left out.

    Args:
        published: folder with the CSVs of a profile and its ``runs/``.
    """
    if not (published / f"{TABLE}.csv").is_file():
        return Trained({}, (), ())
    lines = rows_of(read_published(published))
    evidence = {key: read_evidence(published / "runs", line) for key, line in lines.items()}
    return Trained(evidence, tuple(_differences(evidence)), tuple(_shifts(evidence)))


def rows_of(tables: Sequence[PublishedTable]) -> dict[tuple[str, str], Line]:
    """Return the rows of Table 2 that the section reads, by setting and components."""
    lines = [line for table in tables if table.name == TABLE for line in table.lines]
    found: dict[tuple[str, str], Line] = {}
    for line in lines:
        labels = line.labels
        warmup = WARMUP.get(labels["model"])
        if warmup is None or labels["wm-epoch"] != warmup:
            continue
        setting = f"{labels['model']}, {labels['optimizer']}, lr {labels['lr']}"
        found.setdefault((setting, labels["components"]), line)
    return found


def difference(
    one: Sequence[Evidence], other: Sequence[Evidence], layer: int
) -> tuple[Estimate | None, int]:
    """Return how the similarity at a layer differs over seeds that held in both, and the crashes.

    Args:
        one: runs.
        other: what they are compared with.
        layer: index of the layer, the stem being 0.
    """
    held = [
        {run.seed: float(run.similarity_L[layer]) for run in runs if not run.is_crash}
        for runs in (one, other)
    ]
    both = {run.seed for run in one} & {run.seed for run in other}
    return paired(*held), len(both) - len(held[0].keys() & held[1].keys())


def _differences(evidence: dict[tuple[str, str], list[Evidence]]) -> Iterator[Difference]:
    """Compare stems with and without a ReLU in every setting, and the two of Figure 1."""
    settings = dict.fromkeys(setting for setting, _ in evidence)
    compared = [
        ((setting, one), (setting, other), other)
        for setting in settings
        for one, other in WITH_AND_WITHOUT
    ]
    compared.append((*FIGURE_1, f"{PATCHIFY} at 5e-4"))
    for one, other, name in compared:
        setting, components = one
        layers = LAYERS if setting.startswith(DEIT) else (STEM,)  # others have other layers
        runs = evidence.get(one), evidence.get(other)
        for layer in layers if all(runs) else ():
            yield Difference(components, name, setting, layer, *difference(*runs, layer))


def _shifts(evidence: dict[tuple[str, str], list[Evidence]]) -> list[Shifts]:
    found, drawn = [], {}
    for (setting, components), runs in evidence.items():
        scaled = [run for run in runs if run.alpha_C is not None and not run.is_crash]
        if scaled:
            ratios = np.concatenate([run.alpha_C / run.beta_C for run in scaled])
            sizes = [(np.hypot(run.alpha_C, run.beta_C), run.attention_C) for run in scaled]
            correlations = tuple(rank_correlation(*both) for both in sizes if components == TAIL)
            width = len(scaled[0].alpha_C)
            if width not in drawn:
                drawn[width] = falls_below_drawn(width)
            family = f"{setting}, {components}"
            found.append(Shifts(family, len(scaled), ratios, drawn[width], correlations))
    return found
