"""What finished runs left that the theory speaks about: norms per channel, alphas, similarities.

Reads records only. What a run did not record is said to be missing, never guessed.

Shapes: T evaluations, C channels, L layers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scaledrelu.config.places import METRICS
from scaledrelu.errors import RunError
from scaledrelu.reports.published_tables import Line
from scaledrelu.runs.damage import RecordError
from scaledrelu.runs.evidence import read_arrays, read_metrics
from scaledrelu.runs.record import read_config, read_result
from scaledrelu.runs.result import Outcome
from scaledrelu.theory.theorem1 import Array

ARRAYS = ("similarity.absolute", "stem.alpha", "stem.beta", "qkv_channel_norm")
CHANNEL = re.compile(r"channel/(\w+)_(scale|reader)_(\d+)")


@dataclass(frozen=True, slots=True)
class Norms:
    """Of one pair of a run: ``|(alpha, beta)_c|`` and ``|w_c|`` at every evaluation."""

    scale_TC: Array  # noqa: N815
    reader_TC: Array  # noqa: N815

    @property
    def log_ratio(self) -> Array:
        """``log10 |w_c| / |(alpha, beta)_c|``, (T, C); 0 where both halves are equal."""
        return np.log10(self.reader_TC / self.scale_TC)

    @property
    def first(self) -> float:
        """Mean of the log ratio over channels after the first epoch."""
        return float(self.log_ratio[0].mean())

    @property
    def last(self) -> float:
        """The same at the end."""
        return float(self.log_ratio[-1].mean())

    @property
    def spread(self) -> float:
        """Standard deviation of the log ratio over channels at the end."""
        return float(self.log_ratio[-1].std())

    @property
    def correlation(self) -> float:
        """Rank correlation of ``|(alpha, beta)_c|`` and ``|w_c|`` over channels at the end."""
        return rank_correlation(self.scale_TC[-1], self.reader_TC[-1])


@dataclass(frozen=True, slots=True)
class Evidence:
    """One run's evidence.

    Attributes:
        run_id: the run.
        seed: its seed.
        is_crash: whether it counts as crashed.
        similarity_L: mean absolute cosine of its tokens per layer, from the stem on.
        alpha_C: shifts of the stem's last scaled ReLU; None without one.
        beta_C: scales of the same.
        attention_C: norm of the first attention's weights per channel.
    """

    run_id: str
    seed: int
    is_crash: bool
    similarity_L: Array  # noqa: N815
    alpha_C: Array | None  # noqa: N815
    beta_C: Array | None  # noqa: N815
    attention_C: Array  # noqa: N815


def channel_norms(folder: Path) -> dict[str, Norms]:
    """Return the norms per channel that a run recorded along its training, by pair.

    Args:
        folder: run directory; empty where it was trained without ``evaluation.channels=true``.

    Raises:
        RunError: its metrics cannot be read.
    """
    rows = _metrics(folder)
    found: dict[tuple[str, str], list[list[float]]] = {}
    for row in rows:
        values: dict[tuple[str, str], dict[int, float]] = {}
        for key, value in row.items():
            if match := CHANNEL.fullmatch(key):
                values.setdefault((match[1], match[2]), {})[int(match[3])] = value
        for key, by_channel in values.items():
            found.setdefault(key, []).append([by_channel[c] for c in sorted(by_channel)])
    pairs = dict.fromkeys(name for name, _ in found)
    return {
        name: Norms(np.array(found[name, "scale"]), np.array(found[name, "reader"]))
        for name in pairs
    }


def read_evidence(runs: Path, line: Line) -> list[Evidence]:
    """Return the evidence of a row's runs; a run whose record is not there is left out.

    Args:
        runs: folder of run records.
        line: a row of a published table.

    Raises:
        RunError, RecordError: a record that cannot be read.
    """
    found = []
    for run_id in line.run_ids:
        folder = runs / run_id
        result, config = read_result(folder), read_config(folder)
        if result is None or config is None:
            continue
        arrays = _arrays(folder)
        if "similarity.absolute" in arrays:
            found.append(
                Evidence(
                    run_id=run_id,
                    seed=config["seed"],
                    is_crash=result.outcome is Outcome.CRASH,
                    similarity_L=arrays["similarity.absolute"],
                    alpha_C=arrays.get("stem.alpha"),
                    beta_C=arrays.get("stem.beta"),
                    attention_C=arrays["qkv_channel_norm"],
                )
            )
    return found


def rank_correlation(one: Sequence[float] | Array, other: Sequence[float] | Array) -> float:
    """Return Spearman's rank correlation of two values of each channel.

    Args:
        one: a value of each channel.
        other: another.
    """
    from scipy.stats import spearmanr

    return float(spearmanr(one, other).statistic)


def _metrics(folder: Path) -> list[dict[str, float]]:
    try:
        rows = read_metrics(folder)
        if rows is None:
            raise RecordError(f"no {METRICS}")
        return rows
    except RecordError as error:
        raise RunError(
            f"{folder}: {error}; train the run again: make theory ARGS='redo={folder.name}'"
        ) from error


def _arrays(folder: Path) -> dict[str, Array]:
    try:
        found = read_arrays(folder, ARRAYS) or {}
    except RecordError as error:
        raise RunError(
            f"{folder}: {error}; restore it, or remove the folder to leave the run out"
        ) from error
    return {name: array.astype(float) for name, array in found.items()}
