"""Hydra's launchers: is SLURM's there, and are options spelt right, before Hydra starts."""

from __future__ import annotations

import dataclasses
import importlib.util
import shutil
from collections.abc import Collection, Sequence

from scaledrelu.errors import ConfigError, nearest

SLURM, JOBLIB, BASIC = "submitit_slurm", "joblib", "basic"
OPTION = "hydra.launcher."
PLUGIN = "hydra_plugins.hydra_submitit_launcher"
JOBLIB_PLUGIN = "hydra_plugins.hydra_joblib_launcher"
OWN = {  # launcher -> options that the sweep sets
    SLURM: {"name": "the sweep names its jobs, to find them in the queue"},
    JOBLIB: {"n_jobs": "write n_jobs=<runs at a time>"},
}


def is_launcher_option(argument: str) -> bool:
    """Whether an override sets an option of the launcher, e.g. ``hydra.launcher.partition=gpu``."""
    return argument.lstrip("+").startswith(OPTION)


def check_launcher(name: str, options: Sequence[str] = (), *, submits: bool = True) -> None:
    """Refuse what would fail after planning: no plugin, no SLURM, a misspelt option.

    Args:
        name: of Hydra's group ``hydra/launcher``.
        options: overrides of ``hydra.launcher``.
        submits: whether jobs will be submitted from this machine now.

    Raises:
        ConfigError: one line with what to install or the nearest valid name.
    """
    if name != SLURM:
        for option in options:
            _check_option(option, BASIC if name == BASIC else JOBLIB, _joblib_options())
        return
    if not plugin_installed(PLUGIN):
        raise ConfigError(
            f"{name}: Hydra's submitit plugin is not installed; run: pip install -e '.[slurm]'"
        )
    if submits and shutil.which("sbatch") is None:
        raise ConfigError(
            f"{name}: no sbatch on this machine; start it where SLURM accepts jobs, or use "
            "joblib or basic"
        )
    for option in options:
        _check_option(option, name, _slurm_options())


def _check_option(option: str, launcher: str, allowed: Sequence[str] | None) -> None:
    """Refuse an option that is no assignment, or that the launcher does not have."""
    key, equals, _value = option.partition("=")
    name = key.lstrip("+").removeprefix(OPTION).partition(".")[0]
    if not equals or not is_launcher_option(option):
        raise ConfigError(f"'{option}': write {OPTION}<option>=<value>, e.g. {OPTION}partition=gpu")
    if launcher == BASIC:
        raise ConfigError(f"{option}: launcher=basic trains one by one and has no options")
    if name in OWN[launcher]:
        raise ConfigError(f"{option}: {OWN[launcher][name]}")
    if allowed is not None and name not in allowed:
        raise ConfigError(
            f"{option}: {launcher} has no option '{name}'{nearest(name, allowed)}; "
            f"allowed: {', '.join(allowed)}"
        )


def plugin_installed(module: str) -> bool:
    """Say whether a plugin of Hydra is there, without loading it."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _slurm_options() -> list[str]:
    from hydra_plugins.hydra_submitit_launcher.config import SlurmQueueConf

    return _fields(SlurmQueueConf, OWN[SLURM])


def _joblib_options() -> list[str] | None:
    """Return the names of joblib's options; None without its plugin, which is asked for later."""
    if not plugin_installed(JOBLIB_PLUGIN):
        return None
    from hydra_plugins.hydra_joblib_launcher.config import JobLibLauncherConf

    return _fields(JobLibLauncherConf, OWN[JOBLIB])


def _fields(conf: type, own: Collection[str]) -> list[str]:
    names = (field.name for field in dataclasses.fields(conf))
    return sorted(name for name in names if name not in own and name != "_target_")
