"""The value of one setting of a sweep: what it may be, and what it means."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scaledrelu.errors import ConfigError, nearest
from scaledrelu.tables.grids import grid_names
from scaledrelu.tables.spec import table_names, tables_of
from scaledrelu.tables.typed import as_list, as_typed, is_whole

AUTO, LOCAL, SLURM = "auto", "local", "slurm"
LAUNCHERS = (AUTO, LOCAL, SLURM)
MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
HYDRAS = {  # launchers of Hydra -> what a sweep has instead
    "basic": "launcher=local n_jobs=1",
    "joblib": "launcher=local",
    "submitit_slurm": "launcher=slurm",
}


def as_choice(key: str, value: Any, allowed: Sequence[str]) -> str:
    """Return one of some words.

    Args:
        key: name of the setting.
        value: what was given for it.
        allowed: the words.

    Raises:
        ConfigError: it is none of them.
    """
    if value not in allowed:
        near = nearest(str(value), allowed)
        what = key.removesuffix("s")
        raise ConfigError(f"{key}={value}: no such {what}{near}; allowed: {', '.join(allowed)}")
    return value


def as_tables(value: Any, profile: str, conf_dir: Path) -> tuple[str, ...]:
    """Return names of tables and grids, each once.

    Args:
        value: their names, or ``all`` for those that a profile trains.
        profile: its name.
        conf_dir: the configuration tree.

    Raises:
        ConfigError: none, or no such table.
    """
    names, grids = table_names(conf_dir), grid_names(conf_dir)
    asked = [str(name) for name in as_list(value)]
    if not asked:
        raise ConfigError(f"tables=: is empty; allowed: all, {', '.join((*names, *grids))}")
    if asked == ["all"]:
        return tuple(tables_of(profile, conf_dir))
    known = ("all", *names, *grids)
    return tuple(as_choice("tables", name, known) for name in dict.fromkeys(asked))


def as_launcher(value: Any, slurm: Mapping[str, Any]) -> str:
    """Return what starts runs: local or slurm.

    Args:
        value: auto is slurm where options of jobs are given, else local.
        slurm: options of jobs.

    Raises:
        ConfigError: no such launcher, or options without effect.
    """
    if isinstance(value, str) and value in HYDRAS:
        raise ConfigError(
            f"launcher={value}: is a launcher of Hydra (train.py -m); write {HYDRAS[value]}"
        )
    chosen = as_choice("launcher", value, LAUNCHERS)
    if chosen == LOCAL and slurm:
        raise ConfigError(
            f"slurm.{next(iter(slurm))}: has no effect with launcher=local; leave it out, or set "
            "launcher=slurm"
        )
    return (SLURM if slurm else LOCAL) if chosen == AUTO else chosen


def as_slurm(value: Any) -> dict[str, Any]:
    """Return the options of jobs; their names are checked where jobs are submitted.

    Raises:
        ConfigError: it is not a group.
    """
    if not isinstance(value, Mapping):
        raise ConfigError(f"slurm={as_typed(value)}: is a group; write slurm.<option>=<value>")
    options: dict[str, Any] = {}
    for key, item in value.items():
        group, dot, name = str(key).partition(".")
        if dot:
            options[group] = {**options.get(group, {}), name: item}
        else:
            options[str(key)] = item
    return options


def as_n_jobs(value: Any) -> int | None:
    """Return how many runs go on at a time; None for as many as fit.

    Raises:
        ConfigError: not a whole number from 1 on, or auto.
    """
    if value == AUTO:
        return None
    if not is_whole(value, 1):
        raise ConfigError(f"n_jobs={value}: must be a whole number from 1 on, or auto")
    return value


def as_budget(value: Any, launcher: str) -> float | None:
    """Return the seconds that a sweep may take; None without a limit.

    Args:
        value: seconds, or None.
        launcher: local or slurm.

    Raises:
        ConfigError: no seconds, or SLURM jobs, which have a limit of their own.
    """
    if value is None:
        return None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 < value < math.inf:
        raise ConfigError(f"budget_s={value}: must be seconds above 0, or null for no limit")
    if launcher == SLURM:
        raise ConfigError(
            f"budget_s={value}: has no effect with launcher=slurm; set slurm.timeout_min instead"
        )
    return float(value)


def as_modules(value: Any) -> tuple[str, ...]:
    """Return the modules whose code runs may name.

    Raises:
        ConfigError: something else stands there.
    """
    modules = tuple(str(item) for item in as_list(value))
    for item in modules:
        if not MODULE.fullmatch(item):
            raise ConfigError(f"trust={item}: must be modules, e.g. trust=[timm.layers]")
    return modules


def as_conditions(value: Any) -> tuple[str, ...]:
    """Return the conditions ``field=value`` of the runs that come first.

    Raises:
        ConfigError: something else stands there.
    """
    conditions = tuple(str(item) for item in as_list(value))
    for item in conditions:
        if not item.partition("=")[2]:
            raise ConfigError(f"first={item}: must be field=value, e.g. optimizer.label=AdamW")
    return conditions
