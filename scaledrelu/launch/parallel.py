"""How many runs go on at a time where nobody says so: several where all are small, else one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from scaledrelu.config.launchers import JOBLIB_PLUGIN, plugin_installed
from scaledrelu.config.run import RunConfig
from scaledrelu.errors import ConfigError
from scaledrelu.tables.settings import AUTO, Settings, default_jobs

# Numbers that one group of images leaves between the blocks: 4e5 at mini, 1.5e8 at small.
SMALL = 8e6
DEPTH = 12  # of a model that does not say


def choose_launcher(settings: Settings, configs: Iterable[RunConfig]) -> Settings:
    """Return the settings with launcher and number of jobs decided.

    A number of jobs that a person gave is obeyed whatever the runs are like.

    Args:
        settings: as asked for.
        configs: of the runs that are to be trained.

    Raises:
        ConfigError: joblib is asked for and its plugin is not installed.
    """
    launcher, jobs, installed = settings.launcher, settings.n_jobs, _joblib_installed()
    if launcher == AUTO:
        several = jobs > 1 if jobs is not None else installed and all(map(is_small, configs))
        launcher = "joblib" if several else "basic"
    if launcher == "joblib" and not installed:
        raise ConfigError(
            "launcher=joblib: Hydra's joblib plugin is not installed; run: pip install "
            "hydra-joblib-launcher, or set launcher=basic n_jobs=1"
        )
    return replace(settings, launcher=launcher, n_jobs=jobs or default_jobs(launcher))


def is_small(config: RunConfig) -> bool:
    """Say whether many runs like this one fit a machine at a time: one process, one core, little.

    A run that may take all cores counts as small on a processor, where a sweep holds it to one; a
    GPU that it has for itself it keeps.
    """
    launch = config.launch
    if launch.nproc > 1 or _numbers_between_blocks(config) > SMALL:
        return False
    return launch.threads == 1 or not launch.takes_gpu


def _numbers_between_blocks(config: RunConfig) -> float:
    model, data = config.model, config.data
    patches = data.height * data.width
    tokens = patches / model.patch_size**2
    crops = config.augment.multi_crop
    if crops:
        tokens = 2 * tokens + crops.num_local * (crops.local_size / model.patch_size) ** 2
    blocks = model.depth or sum(model.build.get("layers", [DEPTH]))
    return config.batch.group * tokens * model.width * blocks


def _joblib_installed() -> bool:
    return plugin_installed(JOBLIB_PLUGIN)
