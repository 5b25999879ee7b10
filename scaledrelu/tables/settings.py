"""What a sweep or a report is asked to do: ``conf/sweep.yaml`` and ``key=value`` arguments.

Read without Hydra: ``profile`` is a plain value here, not a config group, and starting is instant.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import yaml

from scaledrelu.config.compose import CONF_DIR
from scaledrelu.config.launchers import SLURM, check_launcher, is_launcher_option
from scaledrelu.config.places import expand_home, expand_overrides
from scaledrelu.errors import ConfigError, nearest
from scaledrelu.tables.spec import table_names
from scaledrelu.tables.typed import as_flag, as_list, as_typed, read_value

AUTO = "auto"
LAUNCHERS = ("joblib", "basic", SLURM)
MOST_JOBS = 16
MOST_SEED = 2**32 - 1
OWN_SETTING = {  # overrides of every run that a setting decides -> what to write instead
    "seed": "seeds=0,1,2",
    "profile": "profile=<name>",
    "profile.name": "profile=<name>",
    "paths.results": "results=<folder>",
    "planned_id": "nothing: the plan sets it",
    "experiment": "nothing: the plan sets it",
    "init.run": "upstream: in the table",
}
MOST_SLURM_JOBS = 256  # at a time; SLURM's own limits are lower on many clusters


@dataclass(frozen=True, slots=True)
class Settings:
    """The fields of ``conf/sweep.yaml``, checked.

    What the runs themselves decide (``parallel.choose_launcher``) stays open: a launcher ``auto``
    and, where nobody gave one, the number of jobs.
    """

    tables: tuple[str, ...]
    profile: str
    seeds: tuple[int, ...] | None  # None: each table's own
    launcher: str
    launcher_options: tuple[str, ...]  # hydra.launcher.<option>=<value>
    n_jobs: int | None  # None: as many as fit
    redo: str
    first: tuple[str, ...]  # field=value: runs that have all of these come first
    budget_s: float | None  # seconds of the whole sweep
    dry_run: bool
    results: Path
    overrides: tuple[str, ...]
    publish: bool
    force: bool
    conf_dir: Path


def load_settings(arguments: Sequence[str], *, conf_dir: Path | None = None) -> Settings:
    """Merge ``key=value`` arguments over ``conf/sweep.yaml``.

    Raises:
        ConfigError: one line naming the argument, what was found and what is allowed.
    """
    conf_dir = conf_dir or CONF_DIR
    raw = yaml.safe_load((conf_dir / "sweep.yaml").read_text())
    options = [argument for argument in arguments if is_launcher_option(argument)]
    given: dict[str, str] = {}
    for argument in arguments:
        if argument in options:
            continue
        key, equals, text = argument.partition("=")
        if not equals or key not in raw:
            raise ConfigError(
                f"'{argument}': no such setting{nearest(key, raw)}; write key=value with one of "
                f"{', '.join(raw)}. Hydra overrides of every run go into overrides=[...]"
            )
        if key in given:
            raise ConfigError(
                f"{key} is given twice ({given[key]}, {argument}): give it once; with make write "
                "PROFILE= and SEEDS=, not profile= and seeds= in ARGS"
            )
        if not text:
            raise ConfigError(f"{key}=: is empty; leave it out for its default")
        given[key] = argument
        raw[key] = read_value(argument, text)
        if key == "results" and isinstance(raw[key], int | float | date) and raw[key] is not True:
            raw[key] = text  # a folder called 1.10 or 2026-01-31
    profile = _choice("profile", raw["profile"], _options(conf_dir, "profile"))
    launcher = _choice("launcher", raw["launcher"], (AUTO, *LAUNCHERS))
    dry_run = as_flag("dry_run", raw["dry_run"])
    overrides = expand_overrides(_overrides(raw["overrides"]))
    options = [*map(str, as_list(raw["launcher_options"])), *options]
    options += [item for item in overrides if is_launcher_option(item)]
    check_launcher(launcher, options, submits=not dry_run)
    return Settings(
        tables=_tables(raw["tables"], conf_dir),
        profile=profile,
        seeds=_seeds(raw["seeds"]),
        launcher=launcher,
        launcher_options=tuple(options),
        n_jobs=_n_jobs(raw["n_jobs"], launcher),
        redo=_redo(raw["redo"]),
        first=_conditions(raw["first"]),
        budget_s=_budget(raw["budget_s"], launcher),
        dry_run=dry_run,
        results=_folder("results", raw["results"]),
        overrides=tuple(item for item in overrides if not is_launcher_option(item)),
        publish=as_flag("publish", raw["publish"]),
        force=as_flag("force", raw["force"]),
        conf_dir=conf_dir,
    )


def settings_help(*, conf_dir: Path | None = None) -> str:
    """Return the settings with their defaults and meaning: ``conf/sweep.yaml`` itself."""
    return ((conf_dir or CONF_DIR) / "sweep.yaml").read_text()


def _options(conf_dir: Path, group: str) -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in (conf_dir / group).glob("*.yaml")))


def _choice(key: str, value: Any, allowed: Sequence[str]) -> str:
    if value not in allowed:
        near = nearest(str(value), allowed)
        raise ConfigError(f"{key}={value}: no such {key}{near}; allowed: {', '.join(allowed)}")
    return value


def _tables(value: Any, conf_dir: Path) -> tuple[str, ...]:
    names = table_names(conf_dir)
    asked = [str(name) for name in as_list(value)]
    if not asked:
        raise ConfigError(f"tables=: name some, or all; allowed: all, {', '.join(names)}")
    if asked == ["all"]:
        return tuple(names)
    return tuple(_choice("tables", name, ("all", *names)) for name in dict.fromkeys(asked))


def _seeds(value: Any) -> tuple[int, ...] | None:
    """Return the seeds; None for ``table`` and null: each table's own."""
    if value in (None, "table", ["table"], [None]):  # [..]: make SEEDS=table
        return None
    seeds = [_whole(item) for item in as_list(value)]
    if not seeds or any(seed is None or seed > MOST_SEED for seed in seeds):
        raise ConfigError(
            f"seeds={as_typed(value)}: write whole numbers from 0 on, seeds=0,1,2, or seeds=table "
            "for those that each table names"
        )
    return tuple(dict.fromkeys(seeds))


def _whole(item: Any) -> int | None:
    """Return a whole number from 0 on, None for anything else."""
    if isinstance(item, str) and re.fullmatch(r"0|[1-9][0-9]*", item):
        return int(item)
    is_whole = isinstance(item, int) and not isinstance(item, bool) and item >= 0
    return item if is_whole else None


def _n_jobs(value: Any, launcher: str) -> int | None:
    if value == AUTO:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(f"n_jobs={value}: write a whole number from 1 on, or auto")
    if launcher == "basic" and value > 1:
        raise ConfigError(
            f"n_jobs={value}: launcher=basic trains one run at a time; leave n_jobs out, or set "
            "launcher=joblib"
        )
    return value


def default_jobs(launcher: str) -> int:
    """Return how many runs a launcher has going at a time where nobody says."""
    return {"basic": 1, SLURM: MOST_SLURM_JOBS}.get(launcher) or min(_cores(), MOST_JOBS)


def _budget(value: Any, launcher: str) -> float | None:
    if value is None:
        return None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 < value < math.inf:
        raise ConfigError(f"budget_s={value}: write seconds above 0, or null for no limit")
    if launcher == SLURM:
        raise ConfigError(
            f"budget_s={value}: SLURM decides when its jobs run; set hydra.launcher.timeout_min"
        )
    return float(value)


def _conditions(value: Any) -> tuple[str, ...]:
    conditions = tuple(str(item) for item in as_list(value))
    for item in conditions:
        if not item.partition("=")[2]:
            raise ConfigError(f"first={item}: write field=value, e.g. optimizer.label=AdamW")
    return conditions


def _redo(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ConfigError(f"redo={as_typed(value)}: allowed: none, failed, all, or a run id")
    return value


def _folder(key: str, value: Any) -> Path:
    if not isinstance(value, str) or not value:
        raise ConfigError(f"{key}={as_typed(value)}: name a folder, {key}=results")
    return Path(expand_home(value, key=key))


def _overrides(value: Any) -> list[str]:
    """Return overrides of every run; what a setting decides is refused."""
    found = as_list(value)
    for item in found:
        key = str(item).partition("=")[0].lstrip("+~")
        if key.startswith("hydra") and not is_launcher_option(str(item)):
            raise ConfigError(
                f"overrides=[{item}]: Hydra is no part of a run; its launcher is chosen with "
                "launcher= and hydra.launcher.<option>="
            )
        if key in OWN_SETTING:
            raise ConfigError(f"overrides=[{item}]: is not for every run; write {OWN_SETTING[key]}")
        if not isinstance(item, str) or "=" not in item:
            raise ConfigError(f"overrides=[{as_typed(item)}]: write key=value")
    keys = [item.partition("=")[0] for item in found]
    if twice := [key for key in keys if keys.count(key) > 1]:
        raise ConfigError(f"overrides: {twice[0]} is given twice; give it once")
    return found


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
