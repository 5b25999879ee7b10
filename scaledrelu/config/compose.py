"""From overrides to one checked, resolved configuration of a run."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from scaledrelu.config.artifacts import ComposeFunction, pin_label_digest, pin_made_data
from scaledrelu.config.construct import UnknownKeyError, construct
from scaledrelu.config.digest import Known, pin_data_digest, pin_init_digest
from scaledrelu.config.group import TARGET, require
from scaledrelu.config.hydra_tree import Tree, compose_tree, one_line
from scaledrelu.config.overrides import check_overrides
from scaledrelu.config.places import CONF_DIR as CONF_DIR
from scaledrelu.config.places import expand_overrides, expand_places
from scaledrelu.config.run import RunConfig
from scaledrelu.config.trust import check_targets
from scaledrelu.errors import ConfigError, ScaledReluError, nearest


def compose(overrides: Sequence[str], *, conf_dir: Path | None = None) -> RunConfig:
    """Compose ``train.yaml`` with overrides, exactly as the shell would.

    Args:
        overrides: Hydra overrides, e.g. ``["stem=conv", "lr.base=1e-3"]``.
        conf_dir: the configuration tree; the repository's by default.

    Raises:
        ConfigError: one line naming the key, the value and what is allowed.
    """
    conf_dir = conf_dir or CONF_DIR
    config = from_values(_tree(overrides, conf_dir).resolved(), conf_dir=conf_dir)
    return pin_files(config, conf_dir, partial(compose, conf_dir=conf_dir))


def compose_unpinned(overrides: Sequence[str], *, conf_dir: Path | None = None) -> RunConfig:
    """Compose like :func:`compose`, but look at no files: digests of data stay empty.

    Args:
        overrides: as :func:`compose`.
        conf_dir: as :func:`compose`.

    Raises:
        ConfigError: as :func:`compose`.
    """
    conf_dir = conf_dir or CONF_DIR
    return from_values(_tree(overrides, conf_dir).resolved(), conf_dir=conf_dir)


def _tree(overrides: Sequence[str], conf_dir: Path) -> Tree:
    overrides = expand_overrides(overrides)
    check_overrides(overrides, conf_dir)
    return compose_tree(overrides, conf_dir)


def finalize(composed: DictConfig, *, conf_dir: Path | None = None) -> RunConfig:
    """Turn what Hydra composed for a job into a checked configuration with the data digests.

    Args:
        composed: the tree, without Hydra's own part.
        conf_dir: the configuration tree; the repository's by default.

    Raises:
        ConfigError: see :func:`from_values`.
    """
    conf_dir = conf_dir or CONF_DIR
    try:
        values = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise ConfigError(one_line(error)) from error
    config = from_values(values, conf_dir=conf_dir)
    return pin_files(config, conf_dir, partial(compose, conf_dir=conf_dir))


def pin_files(
    config: RunConfig,
    conf_dir: Path,
    compose_teacher: ComposeFunction,
    *,
    known: Known | None = None,
) -> RunConfig:
    """Fill in every digest of files that a run depends on; what is not there yet stays null.

    Args:
        config: without digests.
        conf_dir: the configuration tree.
        compose_teacher: overrides -> configuration, for the teacher of label maps.
        known: see ``digest.pin_data_digest``.
    """
    config = pin_made_data(config, conf_dir)
    config = pin_data_digest(config, known=known)
    config = pin_init_digest(config)
    return pin_label_digest(config, conf_dir, compose_teacher, known=known)


def from_values(values: dict[str, Any], *, conf_dir: Path | None = None) -> RunConfig:
    """Return the configuration that resolved values make; look at no data.

    Args:
        values: plain dictionaries and lists.
        conf_dir: the configuration tree, whose recipes are the methods.

    Raises:
        ConfigError: unknown key (with the file that holds it), wrong type, values that clash, or a
            ``_target_`` that nobody trusts.
    """
    conf_dir = conf_dir or CONF_DIR
    values = expand_places(values)
    try:
        config = construct(RunConfig, values)
    except UnknownKeyError as error:
        raise ConfigError(_unknown_key(error, conf_dir)) from error
    check_targets(values, trust=config.trust)
    check_method(config, conf_dir)
    return config


def check_method(config: RunConfig, conf_dir: Path) -> None:
    """Refuse a method that is not the recipe's: runs are named by it.

    Args:
        config: of the run.
        conf_dir: the configuration tree, whose recipes are the methods.

    Raises:
        ConfigError: an unknown method, or one with the task of another.
    """
    method, task = config.method, config.task.get(TARGET)
    known = sorted(path.stem for path in (conf_dir / "recipe").glob("[!_]*.yaml"))
    require(
        method in known,
        f"method={method}{nearest(method, known)}; allowed: {', '.join(known)}. "
        "It comes with its recipe: write recipe=<method>",
    )
    recipe = conf_dir / "recipe" / f"{method}.yaml"
    wanted = _task_of(recipe, recipe.stat().st_mtime_ns) or task
    require(
        task == wanted,
        f"method={method} is trained by {wanted}, found task={task}: write recipe={method}",
    )


@cache
def _task_of(recipe: Path, mtime_ns: int) -> str | None:
    """Return the task that a recipe names; read once per version of the file."""
    return (yaml.safe_load(recipe.read_text()).get("task") or {}).get(TARGET)


def _unknown_key(error: UnknownKeyError, conf_dir: Path) -> str:
    """Say which key a YAML file should not have, and in which file it stands."""
    leaf = error.key.rsplit(".", 1)[-1]
    files = [
        str(path.relative_to(conf_dir.parent))
        for path in sorted(conf_dir.rglob("*.yaml"))
        if f"{leaf}:" in path.read_text()
    ]
    where = f" in {', '.join(files[:3])}" if files else ""
    return (
        f"unknown key '{error.key}'{where}{nearest(leaf, error.known)}; "
        f"allowed here: {', '.join(error.known)}. Fields stand in scaledrelu/config/."
    )


@contextlib.contextmanager
def readable_errors() -> Iterator[None]:
    """Print what a user can fix as one line and exit 2; let bugs keep their traceback."""
    from hydra.errors import HydraException

    try:
        yield
    except ScaledReluError as error:
        message = str(error)
    except (HydraException, OmegaConfBaseException) as error:
        message = one_line(error)
    else:
        return
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)
