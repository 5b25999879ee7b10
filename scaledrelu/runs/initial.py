"""Where the first weights come from: another run of ours, or a file from elsewhere.

A missing, unfinished or crashed run, and weights that are missing or of another step, are refused
with one line.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from scaledrelu.config.data import DataConfig
from scaledrelu.config.run import RunConfig
from scaledrelu.engine.checkpoint import read_checkpoint
from scaledrelu.engine.saved import LAST
from scaledrelu.errors import CheckpointError
from scaledrelu.models.weight_files import open_weights, sha256_or_error
from scaledrelu.models.weights import Grid, LoadReport, read_backbone
from scaledrelu.runs.record import run_directory
from scaledrelu.runs.result import Result
from scaledrelu.runs.upstream import check_network, stored_config, train_again, usable_result
from scaledrelu.tasks.base import Task

log = logging.getLogger(__name__)

SCRATCH, RUN = "scratch", "run"
HEAD_STD = 0.02  # standard deviation of a new classifier, before init.head_scale (recipes F)


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """One of our own runs that ended well: its configuration and its last checkpoint."""

    config: RunConfig
    state: dict[str, Any]


def load_initial(config: RunConfig, task: Task) -> LoadReport | None:
    """Load the weights that a new task's configuration names; classifiers are not loaded.

    Args:
        config: the run's configuration.
        task: just built, with its random initialisation.

    Returns:
        What was loaded; None for ``init.kind=scratch``.

    Raises:
        ConfigError: if ``init`` is incomplete, or the upstream run is missing, unfinished or
            crashed, or has another network.
        CheckpointError: if weights are missing, damaged, or of another file or network.
    """
    init = config.init
    if init.kind == SCRATCH:
        return None
    networks = task.networks()
    reports = [_load(config, network) for network in networks]
    for network in networks:
        _reset_head(network, scale=init.head_scale)
    for line in reports[0].lines():
        log.info(line)
    return reports[0]


def finished_run(results: str | Path, run_id: str, *, trust: Sequence[str] = ()) -> FinishedRun:
    """Return a finished run with its last weights.

    Args:
        results: folder that holds ``runs/<run_id>``.
        run_id: the run's id.
        trust: further modules that its configuration may name, as in ``config.trust``; the modules
            that the stored configuration itself trusts are ignored.

    Raises:
        ConfigError: if the run is missing, unfinished or crashed, or its configuration names code
            that is not trusted.
        CheckpointError: if its weights are missing or not the last ones.
    """
    folder = run_directory(results, run_id)
    state = _last_state(folder, usable_result(folder))
    return FinishedRun(stored_config(folder, trust=trust), state)


@torch.no_grad()
def _reset_head(network: nn.Module, *, scale: float) -> None:
    """Start a classifier anew: truncated normal 0.02, times ``scale``; bias 0.

    Source: recipes F (DINO issue #31 for the scale; its value is an assumption).
    """
    head = network.get_classifier()
    if isinstance(head, nn.Linear):
        nn.init.trunc_normal_(head.weight, std=HEAD_STD)
        head.weight.mul_(scale)
        nn.init.zeros_(head.bias)


def _load(config: RunConfig, network: nn.Module) -> LoadReport:
    init = config.init
    if init.kind == RUN:
        upstream = finished_run(config.paths.results, init.run, trust=config.trust)
        check_network(upstream.config, config)
        grid = _grid(upstream.config.data, upstream.config.model.patch_size)
        return read_backbone(
            upstream.state, network, source=init.run, grid=grid, resize=init.positions
        )
    if init.sha256:
        _check_sha256(init.path, init.sha256)
    weights = open_weights(init.path)
    return read_backbone(weights, network, source=init.path, resize=init.positions)


def _grid(data: DataConfig, patch: int) -> Grid:
    """Return the patch grid of one of our runs' positions."""
    return data.height // patch, data.width // patch


def _check_sha256(path: str, expected: str) -> None:
    found = sha256_or_error(path)
    if found != expected.lower():
        raise CheckpointError(
            f"{path}: its sha256 is {found}, but init.sha256={expected}; fetch the file again, or "
            "correct init.sha256"
        )


def _last_state(folder: Path, result: Result) -> dict[str, Any]:
    path, again = folder / LAST, train_again(result.run_id)
    try:
        state = read_checkpoint(path, entries=("task", "cursor"), run_id=result.run_id)
    except CheckpointError as error:
        raise CheckpointError(f"{error} The run itself is finished; {again}") from error
    step, steps = state["cursor"]["step"], result.provenance.get("steps")
    if step != steps:
        raise CheckpointError(
            f"{path}: holds the weights of step {step}, but the run ended at step {steps}; {again}"
        )
    return state
