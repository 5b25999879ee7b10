"""What a sweep or a report is asked to do: ``conf/sweep.yaml`` and ``key=value`` arguments.

Read without Hydra: ``profile`` is a plain value here, not a config group, and starting is instant.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from scaledrelu.config.compose import CONF_DIR
from scaledrelu.config.launchers import SLURM, check_launcher, is_launcher_option
from scaledrelu.errors import ConfigError, nearest
from scaledrelu.tables.spec import table_names

LAUNCHERS = ("joblib", "basic", SLURM)
MOST_JOBS = 16
MOST_SLURM_JOBS = 256  # at a time; SLURM's own limits are lower on many clusters


@dataclass(frozen=True, slots=True)
class Settings:
    """The fields of ``conf/sweep.yaml``, checked and with every ``auto`` decided."""

    tables: tuple[str, ...]
    profile: str
    seeds: tuple[int, ...] | None  # None: each table's own
    launcher: str
    launcher_options: tuple[str, ...]  # hydra.launcher.<option>=<value>
    n_jobs: int
    redo: str
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
    for argument in arguments:
        if argument in options:
            continue
        key, equals, text = argument.partition("=")
        if not equals or key not in raw:
            raise ConfigError(
                f"'{argument}': no such setting{nearest(key, raw)}; write key=value with one of "
                f"{', '.join(raw)}. Hydra overrides of every run go into overrides=[...]"
            )
        raw[key] = _value(argument, text)
    profile = _choice("profile", raw["profile"], _options(conf_dir, "profile"))
    launcher = _choice("launcher", raw["launcher"], ("auto", *LAUNCHERS))
    if launcher == "auto":
        launcher = "joblib" if profile in ("mini", "smoke") else "basic"
    dry_run = _flag("dry_run", raw["dry_run"])
    overrides = [str(item) for item in _list(raw["overrides"])]
    options = [*map(str, _list(raw["launcher_options"])), *options]
    options += [item for item in overrides if is_launcher_option(item)]
    check_launcher(launcher, options, submits=not dry_run)
    return Settings(
        tables=_tables(raw["tables"], conf_dir),
        profile=profile,
        seeds=_seeds(raw["seeds"]),
        launcher=launcher,
        launcher_options=tuple(options),
        n_jobs=_n_jobs(raw["n_jobs"], launcher),
        redo=str(raw["redo"]),
        dry_run=dry_run,
        results=Path(str(raw["results"])),
        overrides=tuple(item for item in overrides if not is_launcher_option(item)),
        publish=_flag("publish", raw["publish"]),
        force=_flag("force", raw["force"]),
        conf_dir=conf_dir,
    )


def settings_help(*, conf_dir: Path | None = None) -> str:
    """Return the settings with their defaults and meaning: ``conf/sweep.yaml`` itself."""
    return ((conf_dir or CONF_DIR) / "sweep.yaml").read_text()


def _value(argument: str, text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"cannot read '{argument}': close brackets and quotes") from error


def _options(conf_dir: Path, group: str) -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in (conf_dir / group).glob("*.yaml")))


def _choice(key: str, value: Any, allowed: Sequence[str]) -> str:
    if value not in allowed:
        near = nearest(str(value), allowed)
        raise ConfigError(f"{key}={value}: no such {key}{near}; allowed: {', '.join(allowed)}")
    return value


def _tables(value: Any, conf_dir: Path) -> tuple[str, ...]:
    names = table_names(conf_dir)
    asked = [str(name) for name in _list(value)]
    if asked in (["all"], []):
        return tuple(names)
    return tuple(_choice("tables", name, ("all", *names)) for name in dict.fromkeys(asked))


def _seeds(value: Any) -> tuple[int, ...] | None:
    if value in (None, "table", ["table"]):
        return None
    try:
        seeds = tuple(dict.fromkeys(int(seed) for seed in _list(value)))
    except (TypeError, ValueError) as error:
        raise ConfigError(f"seeds={value}: write whole numbers, seeds=0,1,2") from error
    if not seeds or min(seeds) < 0:
        raise ConfigError(f"seeds={value}: write whole numbers from 0 on, seeds=0,1,2")
    return seeds


def _n_jobs(value: Any, launcher: str) -> int:
    if launcher == "basic":
        return 1
    if value == "auto":
        return MOST_SLURM_JOBS if launcher == SLURM else min(_cores(), MOST_JOBS)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(f"n_jobs={value}: write a whole number from 1 on, or auto")
    return value


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _flag(key: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ConfigError(f"{key}={value}: allowed: true, false")
    return value


def _list(value: Any) -> list[Any]:
    if isinstance(value, list):
        return value
    if isinstance(value, str):
        return [item.strip() for item in value.split(",") if item.strip()]
    return [] if value is None else [value]
