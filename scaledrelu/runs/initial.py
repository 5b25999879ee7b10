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
from omegaconf.errors import OmegaConfBaseException
from torch import nn
from yaml import YAMLError

from scaledrelu.config.data import DataConfig
from scaledrelu.config.group import typed
from scaledrelu.config.identity import SCIENCE_VERSION, canonical
from scaledrelu.config.run import RunConfig, value_of
from scaledrelu.config.stored import CONFIG_YAML, from_stored, from_yaml
from scaledrelu.config.trust import check_targets
from scaledrelu.engine.checkpoint import LAST, read_checkpoint
from scaledrelu.errors import CheckpointError, ConfigError
from scaledrelu.models.weight_files import open_weights, sha256_or_error
from scaledrelu.models.weights import Grid, LoadReport, read_backbone
from scaledrelu.runs.damage import UNREADABLE, RecordError, in_short, keep, read_text
from scaledrelu.runs.record import (
    Status,
    read_config,
    read_error,
    read_result,
    read_status,
    run_directory,
)
from scaledrelu.runs.result import Result
from scaledrelu.tasks.base import Task

log = logging.getLogger(__name__)

SCRATCH, RUN = "scratch", "run"
HEAD_STD = 0.02  # standard deviation of a new classifier, before init.head_scale (recipes F)
# What weights alone do not show: heads, activations, strides. Drop path and images may differ.
SAME_NETWORK = (
    *(f"model.{name}" for name in ("build", "width", "depth", "heads", "mlp_ratio", "patch_size")),
    "model.norm_eps",
    *(f"stem.{name}" for name in ("strides", "kernels", "hidden", "norm", "act", "tail")),
    *("stem.proj_kernel", "stem.shrink", "ffn.build", "ffn.act", "ffn.norm"),
)


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
    result = _result_of(folder, run_id)
    state = _last_state(folder, result)
    return FinishedRun(stored_config(folder, trust=trust), state)


def stored_config(folder: Path, *, trust: Sequence[str] = ()) -> RunConfig:
    """Return the configuration that a run was trained with.

    Args:
        folder: run directory.
        trust: further modules whose code the configuration may name.

    Raises:
        RecordError: if ``config.yaml`` is missing, damaged, or another run's.
        ConfigError: if it names code that is not trusted.
    """
    path = folder / CONFIG_YAML
    text = read_text(path, advice=keep(folder))
    try:
        values = from_yaml(text or "")
        config = from_stored(values)
        science = read_config(folder) or {}
        same = science.get("science_version") != SCIENCE_VERSION or canonical(config) == science
    except (ConfigError, OmegaConfBaseException, YAMLError, *UNREADABLE) as error:
        raise RecordError(
            f"{path}: missing or damaged ({in_short(error)}); {keep(folder)}"
        ) from error
    if not same:
        raise RecordError(f"{path}: does not match config.json beside it; {keep(folder)}")
    check_targets(values, trust=trust, where=str(path))
    return config


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
        _check_network(upstream.config, config)
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


def _check_network(upstream: RunConfig, own: RunConfig) -> None:
    for key in SAME_NETWORK:
        here, there = value_of(own, key), value_of(upstream, key)
        if there != here:
            raise ConfigError(
                f"{key}={typed(here)}: the checkpoint of init.run={own.init.run} was trained with "
                f"{key}={typed(there)}; set {key}={typed(there)}"
            )


def _check_sha256(path: str, expected: str) -> None:
    found = sha256_or_error(path)
    if found != expected.lower():
        raise CheckpointError(
            f"{path}: its sha256 is {found}, but init.sha256={expected}; fetch the file again, or "
            "correct init.sha256"
        )


def _result_of(folder: Path, run_id: str) -> Result:
    status = read_status(folder)
    if status == Status.CRASH:
        raise ConfigError(
            f"{run_id}: upstream crashed, so its weights are not used (see {folder}); choose "
            "another init.run"
        )
    if status == Status.OK:
        return read_result(folder)
    if not folder.is_dir():
        raise ConfigError(
            f"{folder}: no such run (published records have no weights); train it first, for "
            "example with the table that needs it, or set paths.results"
        )
    reason = read_error(folder)
    raise ConfigError(
        f"{folder}: this run is not finished ({status.value if reason is None else reason}); run "
        "the command that trains it again to finish it"
    )


def _last_state(folder: Path, result: Result) -> dict[str, Any]:
    again = f"train it again with redo={result.run_id}"
    for path in (folder / CONFIG_YAML, folder / LAST):
        if not path.exists():
            raise CheckpointError(
                f"{path}: missing, although the run is finished (published records come without "
                f"weights); {again}"
            )
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
