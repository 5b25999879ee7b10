"""From overrides to one validated, resolved, plain configuration of a run."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import sys
from collections.abc import Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import (
    ConfigKeyError,
    InterpolationResolutionError,
    OmegaConfBaseException,
    ValidationError,
)

from scaledrelu.config.artifacts import ComposeFunction, pin_label_digest, pin_made_data
from scaledrelu.config.check import check_values
from scaledrelu.config.digest import Known, pin_data_digest, pin_init_digest
from scaledrelu.config.overrides import check_overrides
from scaledrelu.config.places import expand_overrides, expand_places
from scaledrelu.config.ranges import RANGES, leaves, out_of_range, typed
from scaledrelu.config.schema import RunConfig
from scaledrelu.config.trust import check_targets
from scaledrelu.errors import ConfigError, ScaledReluError, nearest

CONF_DIR = Path(__file__).resolve().parents[2] / "conf"
FULL_SIZE = "paper"  # the profile that changes nothing
SPECIALISED = ("recipe", "model", "data")  # groups whose options every other profile has a file for


def compose(overrides: Sequence[str], *, conf_dir: Path | None = None) -> dict[str, Any]:
    """Compose ``train.yaml`` with overrides, exactly as the shell would.

    Args:
        overrides: Hydra overrides, e.g. ``["stem=conv", "lr.base=1e-3"]``.
        conf_dir: the configuration tree; the repository's by default.

    Raises:
        ConfigError: one line naming the key, the value and what is allowed.
    """
    conf_dir = conf_dir or CONF_DIR
    return finalize(_from_tree(overrides, conf_dir), conf_dir=conf_dir)


def compose_unpinned(overrides: Sequence[str], *, conf_dir: Path | None = None) -> dict[str, Any]:
    """Compose like :func:`compose`, but look at no files: digests of data stay empty.

    Raises:
        ConfigError: as :func:`compose`.
    """
    conf_dir = conf_dir or CONF_DIR
    return validate(_from_tree(overrides, conf_dir), conf_dir=conf_dir)


def _from_tree(overrides: Sequence[str], conf_dir: Path) -> DictConfig:
    from hydra import compose as hydra_compose
    from hydra.errors import HydraException

    overrides = expand_overrides(overrides)
    check_overrides(overrides, conf_dir)
    try:
        with _own_hydra(conf_dir):
            composed = hydra_compose("train", overrides=overrides, return_hydra_config=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(one_line(error)) from error
    check_specialisations(composed.hydra.runtime)
    with open_dict(composed):
        del composed["hydra"]
    return composed


def check_specialisations(runtime: DictConfig) -> None:
    """Refuse a profile that says nothing about the chosen recipe, model or data set.

    Without its file the option would silently compose at the size of the paper.

    Args:
        runtime: ``hydra.runtime`` of a composed configuration: its choices and search path.

    Raises:
        ConfigError: one line that names the files to add.
    """
    choices = runtime.choices
    if choices.get("profile") in (None, FULL_SIZE):
        return
    folders = [Path(source.path) for source in runtime.config_sources if source.schema == "file"]
    needed = {
        f"profile_{group}/{choices.profile}_{choices[group]}.yaml": f"{group}={choices[group]}"
        for group in SPECIALISED
        if choices.get(group)
    }
    lacking = [file for file in needed if not any((path / file).is_file() for path in folders)]
    if lacking:
        raise ConfigError(
            f"profile={choices.profile} says nothing about "
            f"{', '.join(needed[file] for file in lacking)}: add "
            f"{', '.join(f'conf/{file}' for file in lacking)} with what it changes there (those "
            f"beside it show how), or choose profile={FULL_SIZE}"
        )


@contextlib.contextmanager
def _own_hydra(conf_dir: Path) -> Iterator[None]:
    """Let Hydra compose from a folder, also inside a job that Hydra itself started."""
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    outer = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(conf_dir), version_base="1.3"):
            yield
    finally:
        GlobalHydra.instance().hydra = outer


def finalize(composed: DictConfig, *, conf_dir: Path | None = None) -> dict[str, Any]:
    """Check a composed configuration against the schema, resolve it and pin the data digests.

    Raises:
        ConfigError: see :func:`validate`.
    """
    conf_dir = conf_dir or CONF_DIR
    config = validate(composed, conf_dir=conf_dir)
    pin_files(config, conf_dir, partial(compose, conf_dir=conf_dir))
    return config


def pin_files(
    config: dict[str, Any],
    conf_dir: Path,
    compose_teacher: ComposeFunction,
    *,
    known: Known | None = None,
) -> None:
    """Fill in every digest of files that a run depends on; what is not there yet stays null.

    Args:
        config: resolved and checked; changed in place.
        conf_dir: the configuration tree.
        compose_teacher: overrides -> resolved config, for the teacher of label maps.
        known: see ``digest.pin_data_digest``.
    """
    pin_made_data(config, conf_dir)
    pin_data_digest(config, known=known)
    pin_init_digest(config)
    pin_label_digest(config, conf_dir, compose_teacher, known=known)


def validate(composed: DictConfig, *, conf_dir: Path | None = None) -> dict[str, Any]:
    """Check a composed configuration against the schema and resolve it; look at no data.

    Raises:
        ConfigError: unknown key (with the file that holds it), wrong type, values that clash, or a
            ``_target_`` that nobody trusts.
    """
    try:
        typed = OmegaConf.merge(_schema(), composed)
        config = OmegaConf.to_container(typed, resolve=True, throw_on_missing=True)
    except ConfigKeyError as error:
        raise ConfigError(_unknown_key(error)) from error
    except OmegaConfBaseException as error:
        raise ConfigError(_wrong_type(error, composed) or one_line(error)) from error
    expand_places(config)
    _check_flags(composed, config)
    check_targets(config, trust=config["trust"])
    check_values(config, conf_dir or CONF_DIR)
    return config


@cache
def _schema() -> DictConfig:
    """Return the typed tree that configurations are merged into a copy of."""
    return OmegaConf.structured(RunConfig)


def _check_flags(composed: DictConfig, config: dict[str, Any]) -> None:
    """Refuse 7 where true or false belongs; the schema takes it for true."""
    for key, value in leaves(config):
        if isinstance(value, bool) and ".build." not in key:
            found = OmegaConf.select(composed, key)
            if not isinstance(found, bool):
                raise ConfigError(f"{key}={found}: allowed: true, false")


def _unknown_key(error: ConfigKeyError) -> str:
    """Say which key a YAML file should not have, and in which file it stands."""
    full_key = str(error.full_key or error.key)
    leaf = full_key.rsplit(".", 1)[-1]
    files = [
        str(path.relative_to(CONF_DIR.parent))
        for path in sorted(CONF_DIR.rglob("*.yaml"))
        if f"{leaf}:" in path.read_text()
    ]
    known = [f.name for f in dataclasses.fields(error.object_type or RunConfig)]
    where = f" in {', '.join(files[:3])}" if files else ""
    return (
        f"unknown key '{full_key}'{where}{nearest(leaf, known)}; "
        f"allowed here: {', '.join(known)}. Types stand in scaledrelu/config/schema.py."
    )


def _wrong_type(error: OmegaConfBaseException, composed: DictConfig) -> str | None:
    """Return the line about a value whose type the schema refuses; None for other errors."""
    if not isinstance(error, ValidationError) or isinstance(error, InterpolationResolutionError):
        return None
    key = re.sub(r"\[\d+\]$", "", str(error.full_key))
    found = OmegaConf.select(composed, key)
    if OmegaConf.is_list(found):
        found = OmegaConf.to_container(found)
    elif "not a ListConfig" in str(error):
        which = f"; {RANGES[key]}" if key in RANGES else ""
        return f"{key}={typed(found)}: must be a list: {key}=[{typed(found)}]{which}"
    return out_of_range(key, found) if key in RANGES else None


def one_line(error: Exception) -> str:
    """Return a library's error message as one line without its type table."""
    texts = [str(error)]
    if isinstance(error.__cause__, OmegaConfBaseException) and str(error.__cause__) not in texts[0]:
        texts.append(str(error.__cause__))  # Hydra names the override, OmegaConf the reason
    lines = [line.strip() for text in texts for line in text.splitlines() if line.strip()]
    keep = [line for line in lines if not line.startswith(("reference_type", "object_type"))]
    return "; ".join(keep).rstrip(".") + ". See conf/ for what is allowed, or run with --cfg job."


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
