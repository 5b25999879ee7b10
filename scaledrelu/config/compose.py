"""From overrides to one checked, resolved configuration of a run."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from scaledrelu.config.artifacts import ComposeFunction, pin_label_digest, pin_made_data
from scaledrelu.config.combinations import check_combination
from scaledrelu.config.construct import NoValueError, UnknownKeyError, construct
from scaledrelu.config.digest import Known, pin_data_digest, pin_init_digest
from scaledrelu.config.group import TARGET, parent_of, require
from scaledrelu.config.hydra_tree import (
    Trees,
    compose_tree,
    is_order_free,
    one_line,
    split_overrides,
    tree_digest,
)
from scaledrelu.config.overrides import check_overrides, expand_overrides
from scaledrelu.config.places import CONF_DIR, expand_places
from scaledrelu.config.recorded import pin_recorded_files, pin_recorded_labels
from scaledrelu.config.run import RunConfig
from scaledrelu.config.trust import check_targets
from scaledrelu.config.yaml_file import read_yaml
from scaledrelu.errors import ConfigError, nearest


def compose(overrides: Sequence[str], *, conf_dir: Path | None = None) -> RunConfig:
    """Compose ``train.yaml`` with overrides, exactly as the shell would.

    Args:
        overrides: Hydra overrides, e.g. ``["stem=conv", "lr.base=1e-3"]``.
        conf_dir: the configuration tree; the repository's by default.

    Raises:
        ConfigError: one line naming the key, the value and what is allowed.
    """
    conf_dir = conf_dir or CONF_DIR
    config = compose_unpinned(overrides, conf_dir=conf_dir)
    return pin_files(config, conf_dir, partial(compose, conf_dir=conf_dir), known={})


def compose_unpinned(
    overrides: Sequence[str], *, conf_dir: Path | None = None, will_run: bool = True
) -> RunConfig:
    """Compose like :func:`compose`, but look at no files: digests of data stay empty.

    Args:
        overrides: Hydra overrides, e.g. ``["stem=conv", "lr.base=1e-3"]``.
        conf_dir: the configuration tree; the repository's by default.
        will_run: whether the run will be trained, so that its code has to be trusted, and its
            method, model and data have to go together.

    Raises:
        ConfigError: one line naming the key, the value and what is allowed.
    """
    conf_dir = conf_dir or CONF_DIR
    return from_values(_values(overrides, conf_dir), conf_dir=conf_dir, will_run=will_run)


def _values(overrides: Sequence[str], conf_dir: Path) -> dict[str, Any]:
    """Return what overrides make, resolved; Hydra is asked once for the same choice of options."""
    overrides = expand_overrides(overrides)
    check_overrides(overrides, conf_dir)
    choosing, values = split_overrides(overrides)
    if is_order_free(choosing, values):
        with contextlib.suppress(ConfigError):  # Hydra says it in the words of the shell
            return _trees(conf_dir, tree_digest(conf_dir))(choosing).resolved(values)
    return compose_tree(overrides, conf_dir).resolved()


@lru_cache(maxsize=4)
def _trees(conf_dir: Path, digest: str) -> Trees:
    """Return the trees of a configuration folder as long as none of its files changes."""
    return Trees(conf_dir)


def finalize(composed: DictConfig) -> RunConfig:
    """Turn what Hydra composed for a job into a checked configuration with the data digests.

    Args:
        composed: the composed tree without the ``hydra`` node.

    Raises:
        ConfigError: an unknown key, a wrong type, values that clash or an untrusted ``_target_``.
    """
    try:
        values = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise ConfigError(one_line(error)) from error
    return pin_files(from_values(values, conf_dir=CONF_DIR), CONF_DIR, compose, known={})


def pin_files(
    config: RunConfig,
    conf_dir: Path,
    compose_teacher: ComposeFunction,
    *,
    known: Known,
    recorded: bool = False,
) -> RunConfig:
    """Fill in every digest of files that a run depends on; null where they are missing.

    Args:
        config: a run's configuration without digests.
        conf_dir: the configuration tree.
        compose_teacher: overrides -> configuration, for the teacher of label maps.
        known: digests found so far, by what they are of; filled in, so that a plan of many runs
            reads every file once.
        recorded: where files are missing, take the digest from runs on disk that were trained on
            such files. For those who read results; what is trained needs the files themselves.
    """
    config = pin_made_data(config, conf_dir)
    config = pin_init_digest(pin_data_digest(config, known=known))
    if recorded:
        config = pin_recorded_files(config, known=known)
    config = pin_label_digest(config, conf_dir, compose_teacher, known=known)
    return pin_recorded_labels(config, known=known) if recorded else config


def from_values(values: dict[str, Any], *, conf_dir: Path, will_run: bool = True) -> RunConfig:
    """Return the configuration that resolved values make; read no data.

    Args:
        values: plain dictionaries and lists.
        conf_dir: the configuration tree, whose recipes are the methods.
        will_run: look at whose code it names, since plans and reports call none of it, and at
            whether method, model and data go together.

    Raises:
        ConfigError: unknown key (with the file that holds it), a field without a value (with the
            base that has it), wrong type, values that clash, a ``_target_`` outside the trusted
            modules, or a value without effect.
    """
    values = expand_places(values)
    try:
        config = construct(RunConfig, values)
    except UnknownKeyError as error:
        raise ConfigError(_unknown_key(error, conf_dir)) from error
    except NoValueError as error:
        raise ConfigError(f"{error}{_or_base(error.keys, conf_dir)}") from error
    if will_run:
        check_targets(values, trust=config.trust)
    check_method(config, conf_dir)
    config.data.refuse_root_without_effect()
    config.data.refuse_build_without_effect()
    config.stem.refuse_layers_without_effect()
    if will_run:
        check_combination(config)
    return config


def check_method(config: RunConfig, conf_dir: Path) -> None:
    """Refuse a method other than the recipe's: the names of runs begin with it.

    Args:
        config: a run's configuration.
        conf_dir: the configuration tree, whose recipes are the methods.

    Raises:
        ConfigError: an unknown method, or one whose recipe has another task.
    """
    method, task = config.method, config.task.get(TARGET)
    known = sorted(path.stem for path in (conf_dir / "recipe").glob("[!_]*.yaml"))
    require(
        method in known,
        f"method={method}: no such method{nearest(method, known)}; allowed: {', '.join(known)}; "
        "do not set it, choose its recipe: recipe=<method>",
    )
    recipe = conf_dir / "recipe" / f"{method}.yaml"
    wanted = (read_yaml(recipe, str(recipe)).get("task") or {}).get(TARGET, task)
    require(
        task == wanted,
        f"method={method}: its recipe trains {wanted}, but task.{TARGET}={task}; write "
        f"recipe={method}",
    )


def _unknown_key(error: UnknownKeyError, conf_dir: Path) -> str:
    """Return the error of a key that is not a field, with the YAML files that set it."""
    leaf = error.key.rsplit(".", 1)[-1]
    files = [
        str(path.relative_to(conf_dir.parent))
        for path in sorted(conf_dir.rglob("*.yaml"))
        if _sets(path, error.key)
    ]
    where = f" in {', '.join(files[:3])}" if files else ""
    return (
        f"unknown key '{error.key}'{where}{nearest(leaf, error.known)}; "
        f"allowed here: {', '.join(error.known)} (fields are defined in scaledrelu/config/)"
    )


def _or_base(keys: Sequence[str], conf_dir: Path) -> str:
    """Return how an option gets values that the other options of its group share."""
    for path in sorted(conf_dir.glob("*/_*.yaml")):
        if any(_sets(path, key) for key in keys):
            folder = path.parent.relative_to(conf_dir.parent)
            return f"; an option in {folder}/ begins with defaults: [{path.stem}, _self_]"
    return ""


def _sets(path: Path, key: str) -> bool:
    """Say whether a file of ``conf/`` sets a dotted key: in its group, or from the top."""
    group, _, below = key.partition(".")
    try:
        raw = read_yaml(path, str(path))
        is_global = "@package _global_" in path.read_text()
    except (ConfigError, ValueError, OSError):  # what Hydra did not read either
        return False
    if not is_global and path.parent.name == group:
        key = below
    elif not is_global and path.name != "train.yaml":
        return False
    return key.rpartition(".")[2] in (parent_of(raw, key) or {})
