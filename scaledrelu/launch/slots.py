"""How many runs this machine trains at a time, and which GPUs each of them gets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from scaledrelu.config.launch import visible_cores, visible_gpus
from scaledrelu.config.run import RunConfig

MOST_JOBS = 16  # at a time, where n_jobs is not given
# Activation values of one group between two blocks: 4e5 at mini, 1.5e8 at small.
SMALL = 8e6
DEPTH = 12  # of a model without a depth field
GPUS = "CUDA_VISIBLE_DEVICES"

Slot = Mapping[str, str]  # environment variables of its processes


def slots_of(configs: Sequence[RunConfig], n_jobs: int | None = None) -> list[Slot]:
    """Return the slots of this machine for some runs.

    Small runs share cores and GPUs; any other gets all cores, or ``launch.nproc`` GPUs, for itself.

    Args:
        configs: configurations of the runs to train.
        n_jobs: runs at a time that a person asked for; then more runs than GPUs share these.
    """
    processes = max((config.launch.nproc for config in configs), default=1)
    small = all(map(is_small, configs))
    gpus = visible_gpus() if any(c.launch.takes_gpu for c in configs) else []
    if not gpus:
        return [{}] * (n_jobs or (min(visible_cores(), MOST_JOBS) if small else 1))
    whole = range(0, len(gpus) - processes + 1, processes)
    groups = [gpus[at : at + processes] for at in whole] or [gpus]
    count = n_jobs or (min(visible_cores(), MOST_JOBS) if small else len(groups))
    return [{GPUS: ",".join(groups[i % len(groups)])} for i in range(count)]


def is_small(config: RunConfig) -> bool:
    """Say whether many runs like this one fit a machine at a time: one process, one core, little.

    A run that may take all cores counts as small on a CPU, where a sweep limits it to one; a run
    with a GPU of its own keeps it.
    """
    if config.launch.nproc > 1 or _numbers_between_blocks(config) > SMALL:
        return False
    return config.launch.threads == 1 or not config.launch.takes_gpu


def _numbers_between_blocks(config: RunConfig) -> float:
    model, crops = config.model, config.augment.multi_crop
    tokens = config.data.height * config.data.width / model.patch_size**2
    if crops:
        tokens = 2 * tokens + crops.num_local * (crops.local_size / model.patch_size) ** 2
    blocks = model.depth or sum(model.build.get("layers", [DEPTH]))
    return config.batch.group * tokens * model.width * blocks
