"""The run that another one starts from, as its files tell it: finished, and of the same network.

Nothing of the weights is read, so that it is known before torch is imported whether a run has a
start.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from scaledrelu.config.group import typed
from scaledrelu.config.identity import SCIENCE_VERSION, canonical
from scaledrelu.config.run import RunConfig, plain, value_of
from scaledrelu.config.stem_options import SET_BY_PROFILES, fitting_option
from scaledrelu.config.stored import CONFIG_YAML, from_stored, from_yaml
from scaledrelu.config.trust import check_targets
from scaledrelu.engine.saved import LAST
from scaledrelu.errors import CheckpointError, ConfigError, nearest
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

# What weights alone do not show: heads, activations, strides. Drop path and images may differ.
SAME_NETWORK = (
    *(f"model.{name}" for name in ("build", "width", "depth", "heads", "mlp_ratio", "patch_size")),
    "model.norm_eps",
    *(f"stem.{name}" for name in ("strides", "kernels", "hidden", "norm", "act", "tail")),
    *("stem.proj_kernel", "stem.shrink", "ffn.build", "ffn.act", "ffn.norm"),
)
ALIKE = 0.8  # of the letters of two ids: of 12 random digits about a third agree


def check_upstream(config: RunConfig) -> None:
    """Refuse a run of which the files show that another one cannot start from it.

    Args:
        config: the configuration of the other one, with ``init.kind=run``.

    Raises:
        ConfigError: if the run is missing, unfinished or crashed, has another network, or its
            configuration names code that is not trusted.
        CheckpointError: if it has no weights.
        RecordError: if its record is damaged.
    """
    folder = run_directory(config.paths.results, config.init.run)
    usable_result(folder)
    check_network(stored_config(folder, trust=config.trust), config)


def usable_result(folder: Path) -> Result:
    """Return the result of a run that ended well, and whose configuration and weights are there.

    Args:
        folder: run directory.

    Raises:
        ConfigError: if the run is missing, unfinished or crashed.
        CheckpointError: if it has no weights.
        RecordError: if its result is damaged.
    """
    status = read_status(folder)
    if status != Status.OK:
        raise ConfigError(_no_start(folder, status))
    result = read_result(folder)
    for path in (folder / CONFIG_YAML, folder / LAST):
        if not path.exists():
            raise CheckpointError(
                f"{path}: missing, although the run is finished (published records come without "
                f"weights); {train_again(result.run_id)}"
            )
    return result


def train_again(run_id: str) -> str:
    """Return the advice about a finished run without usable weights."""
    return f"train it again with redo={run_id}"


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


def check_network(upstream: RunConfig, own: RunConfig) -> None:
    """Refuse to start from a run with another network, with all fields that differ in one line.

    Args:
        upstream: the configuration of the run that is started from.
        own: the configuration of the run that starts.

    Raises:
        ConfigError: naming the fields, and what to set.
    """
    differing = [key for key in SAME_NETWORK if value_of(own, key) != value_of(upstream, key)]
    if differing:
        raise ConfigError(
            f"{_settings(own, differing)}: the checkpoint of init.run={own.init.run} was trained "
            f"with {_settings(upstream, differing)}; set {_advice(upstream, own, differing)}"
        )


def _settings(config: RunConfig, keys: Sequence[str]) -> str:
    return " ".join(f"{key}={typed(value_of(config, key))}" for key in keys)


def _advice(upstream: RunConfig, own: RunConfig, differing: Sequence[str]) -> str:
    """Return what to set: another option of the stem, where each of the two is an option."""
    there, here = (fitting_option(plain(config.stem)) for config in (upstream, own))
    if there is None or here is None or there == here:
        return _settings(upstream, differing)
    by_profile = [f"stem.{name}" for name in SET_BY_PROFILES]
    others = [key for key in differing if not key.startswith("stem.") or key in by_profile]
    return " ".join(filter(None, [f"stem={there}", _settings(upstream, others)]))


def _no_start(folder: Path, status: Status) -> str:
    """Return why there is nothing to start from in a folder, in one line."""
    if status == Status.CRASH:
        return (
            f"{folder.name}: upstream crashed, so its weights are not used (see {folder}); choose "
            "another init.run"
        )
    if not folder.is_dir():
        return (
            f"{folder}: no such run{_nearest_run(folder)} (published records have no weights); "
            "train it first, for example with the table that needs it, or set paths.results"
        )
    reason = read_error(folder)
    return (
        f"{folder}: this run is not finished ({status.value if reason is None else reason}); run "
        "the command that trains it again to finish it"
    )


def _nearest_run(folder: Path) -> str:
    try:
        known = [entry.name for entry in folder.parent.iterdir() if entry.name[0] != "."]
    except OSError:
        return ""
    return nearest(folder.name, sorted(known), likeness=ALIKE)
