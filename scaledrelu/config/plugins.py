"""Plugins of Hydra for a multirun of ``train.py``: are SLURM and Optuna there, before it starts."""

from __future__ import annotations

import importlib
import importlib.util
import shutil
from collections.abc import Mapping, Sequence

from scaledrelu.config.ranges import COUNT, SHARE
from scaledrelu.errors import ConfigError

SLURM = "submitit_slurm"
SLURM_PLUGIN = "hydra_plugins.hydra_submitit_launcher"
SWEEPER, OPTUNA = "hydra/sweeper", "optuna"
OPTUNA_PLUGIN = "hydra_plugins.hydra_optuna_sweeper"
DIRECTION = "hydra.sweeper.direction"
# What fits our runs better than the plugin's own settings, which no file can change: Hydra 1.3
# refuses an option of the same name in conf/.
OPTUNA_SETTINGS = {
    DIRECTION: "maximize",  # a headline metric is a share in percent
    "hydra.sweeper.n_jobs": "1",  # trials at a time: each learns from all before it
    "hydra.sweeper.max_failure_rate": "1.0",  # a failed run fails its own trial alone
}
OPTUNA_NUMBERS = {
    "hydra.sweeper.n_trials": COUNT,
    "hydra.sweeper.n_jobs": COUNT,
    "hydra.sweeper.max_failure_rate": SHARE,
}
# Where the plugin also takes what is searched; keys with dots end there in a traceback.
SEARCH_SPACES = ("hydra.sweeper.params", "hydra.sweeper.search_space")


def check_launcher(name: str) -> None:
    """Refuse a launcher that could only fail after everything has been composed.

    Args:
        name: the option of ``hydra/launcher``.

    Raises:
        ConfigError: one line with what to install.
    """
    if name != SLURM:
        return
    if not plugin_installed(SLURM_PLUGIN):
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
    """Refuse Optuna where its plugin is not installed or Optuna cannot be imported.

    Args:
        name: the option of ``hydra/sweeper``.

    Raises:
        ConfigError: one line with what to install.
    """
    if name != OPTUNA:
        return
    problem = "Hydra's Optuna plugin is not installed"
    if plugin_installed(OPTUNA_PLUGIN):
        problem = import_problem()
    if problem:
        raise ConfigError(f"hydra/sweeper={name}: {problem}; run: pip install -e '.[optuna]'")


def is_search(overrides: Sequence[str]) -> bool:
    """Say whether a command line asks for a search with Optuna.

    Args:
        overrides: words of a command line.
    """
    return _given(overrides).get(SWEEPER) == OPTUNA


def sweeper_settings(overrides: Sequence[str]) -> list[str]:
    """Return the settings of Optuna that a command line leaves open; none for other sweepers.

    Args:
        overrides: words of a command line.

    Raises:
        ConfigError: it asks for the smallest metric, or for several: a crash would win, and a run
            has one number. Or one of :func:`_check_settings`.
    """
    if not is_search(overrides):
        return []
    given = _given(overrides)
    wanted = OPTUNA_SETTINGS[DIRECTION]
    if (direction := given.get(DIRECTION, wanted)) != wanted:
        raise ConfigError(
            f"{DIRECTION}={direction}: only {wanted} is allowed, since a run returns one number, "
            "its main metric, and a crash counts as 0"
        )
    _check_settings(given)
    return [f"{key}={value}" for key, value in OPTUNA_SETTINGS.items() if key not in given]


def _given(overrides: Sequence[str]) -> dict[str, str]:
    pairs = (text.lstrip("+").partition("=")[::2] for text in overrides)
    return {key: value.strip("'\"") for key, value in pairs}


def _check_settings(given: Mapping[str, str]) -> None:
    """Refuse what the plugin answers with a traceback, or with a search without a trial.

    Raises:
        ConfigError: a number out of range, or a search space that is no override.
    """
    for key, value in given.items():
        if key.startswith(SEARCH_SPACES):
            raise ConfigError(
                f"{key}={value}: not allowed; write lr.base=interval(1e-4,1e-2), say, for a key "
                "that is searched"
            )
        if key in OPTUNA_NUMBERS:
            _check_number(key, value)


def _check_number(key: str, text: str) -> None:
    """Refuse a number out of range; of what is no number Hydra itself says so."""
    try:
        number = float(text)
    except ValueError:
        return
    if not OPTUNA_NUMBERS[key].holds(number):
        raise ConfigError(f"{key}={text}: {OPTUNA_NUMBERS[key]}")


def import_problem() -> str:
    """Import Optuna; return in one line why it cannot be imported, empty if it can."""
    try:
        importlib.import_module(OPTUNA)
    except ImportError as error:
        return f"{OPTUNA} cannot be imported ({' '.join(str(error).split())})"
    return ""


def plugin_installed(module: str) -> bool:
    """Say whether a plugin of Hydra is there, without loading it."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False
