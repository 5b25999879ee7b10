"""Plugins of Hydra for a multirun of ``train.py``: are SLURM and Optuna there, before it starts."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Sequence

from scaledrelu.errors import ConfigError

SLURM = "submitit_slurm"
PLUGIN = "hydra_plugins.hydra_submitit_launcher"
SWEEPER, OPTUNA = "hydra/sweeper", "optuna"
OPTUNA_PLUGIN = "hydra_plugins.hydra_optuna_sweeper"
# What fits our runs better than the plugin's own settings, which no file can change: Hydra 1.3
# refuses an option of the same name in conf/.
OPTUNA_SETTINGS = {
    "hydra.sweeper.direction": "maximize",  # a headline metric is a share in percent
    "hydra.sweeper.n_jobs": "1",  # trials at a time: each learns from all before it
    "hydra.sweeper.max_failure_rate": "1.0",  # a failed run fails its own trial alone
}


def check_launcher(name: str) -> None:
    """Refuse a launcher that could only fail after everything has been composed.

    Args:
        name: the option of ``hydra/launcher``.

    Raises:
        ConfigError: one line with what to install.
    """
    if name != SLURM:
        return
    if not plugin_installed(PLUGIN):
        raise ConfigError(
            f"hydra/launcher={name}: Hydra's submitit plugin is not installed; run: pip install "
            "-e '.[slurm]'"
        )
    if shutil.which("sbatch") is None:
        raise ConfigError(
            f"hydra/launcher={name}: no sbatch on this machine; run it on a SLURM login node, or "
            "use hydra/launcher=slots"
        )


def check_sweeper(name: str) -> None:
    """Refuse Optuna where its plugin is not installed.

    Args:
        name: the option of ``hydra/sweeper``.

    Raises:
        ConfigError: one line with what to install.
    """
    if name == OPTUNA and not plugin_installed(OPTUNA_PLUGIN):
        raise ConfigError(
            f"hydra/sweeper={name}: Hydra's Optuna plugin is not installed; run: pip install -e "
            "'.[optuna]'"
        )


def sweeper_settings(overrides: Sequence[str]) -> list[str]:
    """Return the settings of Optuna that a command line leaves open; none for other sweepers.

    Args:
        overrides: words of a command line.
    """
    given = dict(text.lstrip("+").partition("=")[::2] for text in overrides)
    if given.get(SWEEPER) != OPTUNA:
        return []
    return [f"{key}={value}" for key, value in OPTUNA_SETTINGS.items() if key not in given]


def plugin_installed(module: str) -> bool:
    """Say whether a plugin of Hydra is there, without loading it."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False
