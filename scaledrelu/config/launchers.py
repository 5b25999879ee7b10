"""Hydra's launcher for SLURM: is it there, and are its options spelt right, before Hydra starts."""

from __future__ import annotations

import dataclasses
import importlib.util
import shutil
from collections.abc import Sequence

from scaledrelu.errors import ConfigError, nearest

SLURM = "submitit_slurm"
OPTION = "hydra.launcher."
PLUGIN = "hydra_plugins.hydra_submitit_launcher"
OWN = {"name": "the sweep names its jobs, to find them in the queue"}


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
        return
    if not _plugin_installed():
        raise ConfigError(
            f"{name}: Hydra's submitit plugin is not installed; run: pip install -e '.[slurm]'"
        )
    if submits and shutil.which("sbatch") is None:
        raise ConfigError(
            f"{name}: no sbatch on this machine; start it where SLURM accepts jobs, or use "
            "joblib or basic"
        )
    for option in options:
        _check_option(option, _option_names())


def _check_option(option: str, allowed: Sequence[str]) -> None:
    key, equals, _value = option.partition("=")
    name = key.lstrip("+").removeprefix(OPTION).partition(".")[0]
    if not equals or not is_launcher_option(option):
        raise ConfigError(f"'{option}': write {OPTION}<option>=<value>, e.g. {OPTION}partition=gpu")
    if name in OWN:
        raise ConfigError(f"{option}: {OWN[name]}")
    if name not in allowed:
        raise ConfigError(
            f"{option}: {SLURM} has no option '{name}'{nearest(name, allowed)}; "
            f"allowed: {', '.join(allowed)}"
        )


def _plugin_installed() -> bool:
    try:
        return importlib.util.find_spec(PLUGIN) is not None
    except ModuleNotFoundError:
        return False


def _option_names() -> list[str]:
    from hydra_plugins.hydra_submitit_launcher.config import SlurmQueueConf

    names = (field.name for field in dataclasses.fields(SlurmQueueConf))
    return sorted(name for name in names if name not in OWN and name != "_target_")
