"""What a script is asked to do with tables: ``conf/sweep.yaml`` and ``key=value`` arguments.

Read without Hydra: ``profile`` is a plain value here, not a config group, and start-up is instant.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from scaledrelu.config.options import options_of
from scaledrelu.config.overrides import NOT_OF_A_ROW, check_listed, expand_overrides
from scaledrelu.config.places import CONF_DIR, runs_root
from scaledrelu.errors import ConfigError, TableError, nearest
from scaledrelu.runs.damage import check_runs
from scaledrelu.tables.command import Commands
from scaledrelu.tables.reading import check_keys, read_yaml
from scaledrelu.tables.setting_values import (
    as_budget,
    as_choice,
    as_conditions,
    as_launcher,
    as_modules,
    as_n_jobs,
    as_slurm,
    as_tables,
)
from scaledrelu.tables.typed import (
    as_flag,
    as_folder,
    as_list,
    as_seeds,
    as_typed,
    read_value,
)

DEFAULTS_FILE = "sweep.yaml"
NO_FOLDER = ("null", "true", "false")  # words of YAML that nobody means as a name
SLURM_OPTION, OF_HYDRA = "slurm.", "hydra.launcher."
PLAN = ("tables", "profile", "seeds", "results", "trust", "overrides")  # what a plan depends on
LAUNCH = ("launcher", "n_jobs", "slurm", "wait", "redo", "first", "budget_s", "dry_run")
USED = {  # script -> settings that do something there
    "sweep": (*PLAN, *LAUNCH),
    "figure1": (*PLAN[1:], *LAUNCH),
    "curves": PLAN,
    "report": (*PLAN, "publish", "force"),
    "claims": PLAN[1:],  # the claims name their tables
    "status": PLAN,
    "stability": PLAN,
    "mirror": PLAN,
    "dashboard": PLAN,
    "dry": ("tables", "profile", "results", "trust", "overrides"),
    "performance": ("results", "overrides"),
    "theory": ("results", "n_jobs", "redo", "budget_s", "dry_run"),
}
DEFAULTS = {  # where a script has others
    "claims": {"seeds": "table"},  # one seed decides no claim
    "dry": {"profile": "paper"},
    "mirror": {"seeds": "table"},  # every seed that has a result
    "performance": {"profile": "paper"},
}
OWN_SETTING = {  # overrides of every run that a setting decides -> how to set it instead
    **NOT_OF_A_ROW,
    "trust": "write trust=[<module>] beside overrides=",
    "seed": "write seeds=0,1,2",
    "init.run": "write upstream: in the table",
    "hydra": f"{NOT_OF_A_ROW['hydra']}; choose how runs are started with launcher= and "
    "slurm.<option>=",
}


@dataclass(frozen=True, slots=True)
class Settings:
    """The fields of ``conf/sweep.yaml``, checked.

    What the runs themselves decide is left open: the number of jobs, if none was given.
    """

    tables: tuple[str, ...]
    profile: str
    seeds: tuple[int, ...] | None  # None: each table's own
    launcher: str  # local | slurm
    n_jobs: int | None  # None: as many as fit
    slurm: Mapping[str, Any]  # options of jobs
    wait: bool
    redo: str
    first: tuple[str, ...]  # field=value: runs that have all of these come first
    budget_s: float | None  # seconds of the whole sweep
    dry_run: bool
    results: Path
    trust: tuple[str, ...]  # further modules whose code runs may name
    overrides: tuple[str, ...]
    publish: bool
    force: bool
    conf_dir: Path
    given: frozenset[str] = frozenset()  # the settings that were typed


def load_settings(
    arguments: Sequence[str], *, conf_dir: Path | None = None, script: str = "sweep"
) -> Settings:
    """Merge ``key=value`` arguments over ``conf/sweep.yaml``.

    Args:
        arguments: the command line as typed.
        conf_dir: the configuration tree.
        script: the script that reads them, see :data:`USED`; settings without effect there are
            refused.

    Raises:
        ConfigError: one line naming the argument, what was found and what is allowed.
        TableError: the file is damaged.
    """
    conf_dir = conf_dir or CONF_DIR
    raw = _defaults(conf_dir / DEFAULTS_FILE)
    given = _given(arguments, raw, USED[script], script)
    raw |= DEFAULTS.get(script, {}) | given
    overrides = expand_overrides(_overrides(raw["overrides"]))
    profile = as_choice("profile", raw["profile"], options_of(conf_dir, "profile"))
    slurm = as_slurm(raw["slurm"])
    launcher = as_launcher(raw["launcher"], slurm)
    return Settings(
        tables=as_tables(raw["tables"], profile, conf_dir),
        profile=profile,
        seeds=as_seeds(raw["seeds"]),
        launcher=launcher,
        n_jobs=as_n_jobs(raw["n_jobs"]),
        slurm=slurm,
        wait=as_flag("wait", raw["wait"]),
        redo=_redo(raw["redo"]),
        first=as_conditions(raw["first"]),
        budget_s=as_budget(raw["budget_s"], launcher),
        dry_run=as_flag("dry_run", raw["dry_run"]),
        results=as_folder("results", raw["results"]),
        trust=as_modules(raw["trust"]),
        overrides=tuple(overrides),
        publish=as_flag("publish", raw["publish"]),
        force=as_flag("force", raw["force"]),
        conf_dir=conf_dir,
        given=frozenset(given),
    )


def _defaults(path: Path) -> dict[str, Any]:
    """Return what the file of settings holds: every setting once, and nothing else."""
    raw = read_yaml(path, str(path))
    known = tuple(dict.fromkeys(key for keys in USED.values() for key in keys))
    check_keys(raw, known, str(path))
    if missing := [key for key in known if key not in raw]:
        raise TableError(f"{path}: {missing[0]} is missing; add '{missing[0]}: <value>'")
    return raw


def check_typed_results(settings: Settings) -> None:
    """Refuse a results folder that was typed and holds no runs: its name may be a slip.

    Args:
        settings: those of a script that trains nothing.

    Raises:
        ConfigError: there is no folder of runs.
        RecordError: it may not be read.
    """
    root = runs_root(settings.results)
    check_runs(settings.results)
    if "results" not in settings.given or root.is_dir():
        return
    commands = Commands(settings.profile, settings.seeds, settings.overrides, settings.results)
    raise ConfigError(
        f"results={settings.results}: holds no runs (there is no folder {root}); check the name, "
        f"or train there first, e.g. {commands.train(settings.tables[0])}"
    )


def _given(
    arguments: Sequence[str], known: Mapping[str, Any], used: Collection[str], script: str
) -> dict[str, Any]:
    """Return the values that were typed; those of ``slurm.<option>=`` together as ``slurm``."""
    found: dict[str, Any] = {}
    typed: dict[str, str] = {}
    for argument in arguments:
        key, equals, text = argument.partition("=")
        if key.startswith(OF_HYDRA):
            raise ConfigError(
                f"{argument}: is an option of Hydra's launchers (train.py -m); write "
                f"{key.replace(OF_HYDRA, SLURM_OPTION)}=... for SLURM jobs, n_jobs=<number> for "
                "runs at a time"
            )
        if not equals or key.partition(".")[0] not in used or ("." in key and key[:6] != "slurm."):
            other = f"; it has no effect in {script}.py" if equals and key in known else ""
            near = nearest(key, used) if not other else ""
            raise ConfigError(
                f"'{argument}': no such setting{near}{other}; write key=value, allowed: "
                f"{', '.join(used)}. Hydra overrides for every run go into overrides=[...]"
            )
        if key in typed:
            raise ConfigError(
                f"{key} is given twice ({typed[key]}, {argument}); give it once (with make write "
                "PROFILE= and SEEDS=, not profile= and seeds= in ARGS)"
            )
        if not text:
            raise ConfigError(f"{key}=: is empty; give a value, or leave it out for the default")
        typed[key] = argument
        is_path = key == "results" and text[0] not in "'\"" and text.lower() not in NO_FOLDER
        value = text if is_path else read_value(argument, text)  # 1.10 may be a folder
        if key.startswith(SLURM_OPTION):
            found["slurm"] = {**found.get("slurm", {}), key.removeprefix(SLURM_OPTION): value}
        else:
            found[key] = value
    return found


def settings_help(script: str, *, conf_dir: Path | None = None) -> str:
    """Return the settings of a script with their defaults and meaning, from ``conf/sweep.yaml``.

    Args:
        script: name of the script.
        conf_dir: the configuration tree.

    Raises:
        TableError: the file is damaged.
    """
    path = (conf_dir or CONF_DIR) / DEFAULTS_FILE
    _defaults(path)
    text = path.read_text(encoding="utf-8")
    lines, found = text.splitlines(), {}
    for key, _ in yaml.compose(text, Loader=yaml.SafeLoader).value:  # it may stand in quotes
        end = key.end_mark
        found[key.value] = f"{key.value}{lines[end.line][end.column :].lstrip()}"
    for key, value in DEFAULTS.get(script, {}).items():
        found[key] = f"{key}: {value}  #{found[key].partition('#')[2]}"
    return "\n".join(line for key, line in found.items() if key in USED[script])


def _redo(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ConfigError(f"redo={as_typed(value)}: allowed: none, failed, all, or a run id")
    return value


def _overrides(value: Any) -> tuple[str, ...]:
    """Return the overrides of every run; those that a setting decides are refused."""
    try:
        return check_listed(as_list(value), OWN_SETTING)
    except ConfigError as error:
        raise ConfigError(f"overrides: {error}") from error
