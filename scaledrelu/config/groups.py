"""How many groups of images one update holds, and each process of it; nothing is ever rescaled."""

from __future__ import annotations

from scaledrelu.errors import ConfigError


def trained_groups(*, total: int, group: int, batch_scale: float) -> int:
    """Return how many groups one update holds: the nominal batch, scaled, over the group size.

    Raises:
        ConfigError: if the trained batch is not a whole number of groups.
    """
    trained = round(total * batch_scale)
    if trained < 1 or trained % group:
        raise ConfigError(
            f"batch.total={total} x profile.batch_scale={batch_scale:g} = {trained} images per "
            f"update is not a whole number of groups of batch.group={group}; choose "
            f"batch.group as a divisor of {trained}"
        )
    return trained // group


def groups_per_process(count: int, *, processes: int, group: int) -> int:
    """Return how many of an update's groups one process holds.

    Raises:
        ConfigError: if the groups do not divide over the processes; nothing is rescaled.
    """
    if count % processes:
        raise ConfigError(
            f"one update is {count} group(s) of batch.group={group} images, which {processes} "
            f"processes cannot share; use a divisor of {count} processes, or another batch.group "
            "(another experiment)"
        )
    return count // processes
