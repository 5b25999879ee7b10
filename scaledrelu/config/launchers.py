"""Hydra's own launchers, for a multirun of ``train.py``: is SLURM there, before Hydra starts."""

from __future__ import annotations

import importlib.util
import shutil

from scaledrelu.errors import ConfigError

SLURM = "submitit_slurm"
PLUGIN = "hydra_plugins.hydra_submitit_launcher"


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


def plugin_installed(module: str) -> bool:
    """Say whether a plugin of Hydra is there, without loading it."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False
