"""The GPU-hours of all runs behind some tables, by who trains them and with which settings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from scaledrelu.config.run import RunConfig
from scaledrelu.cost.hours import (
    Cost,
    Hours,
    Side,
    cost_of,
    least,
    loader_paths,
    official,
    ours,
    total,
    tuned,
)
from scaledrelu.cost.records import Records
from scaledrelu.cost.work import parts_of
from scaledrelu.errors import ConfigError, DataError

OFFICIAL, TUNED, OURS = "official", "tuned", "ours"
Switch = Callable[[RunConfig], RunConfig]


@dataclass(frozen=True, slots=True)
class Group:
    """Runs that are trained alike: one method, one optimizer.

    Attributes:
        method: as the recipe says.
        sam: whether with two gradients a step.
        configs: the runs.
        costs: side -> what each run takes, in the order of the runs.
        floor: GPU-hours of all of them that nothing can go below.
    """

    method: str
    sam: bool
    configs: tuple[RunConfig, ...]
    costs: Mapping[str, tuple[Cost, ...]]
    floor: float

    def hours(self, side: str) -> Hours:
        """Return what all of them take on one side."""
        return total(cost.hours for cost in self.costs[side])


def groups_of(configs: Iterable[RunConfig], records: Records) -> list[Group]:
    """Return runs by method and optimizer, each with its costs; most GPU-hours of ours first.

    Args:
        configs: runs whose images have been counted.
        records: what was measured.
    """
    sides = {OFFICIAL: official(records), TUNED: tuned(records), OURS: ours(records)}
    alike: dict[tuple[str, bool], list[RunConfig]] = {}
    for config in configs:
        alike.setdefault((config.method, config.optimizer.sam is not None), []).append(config)
    groups = [
        Group(
            method,
            sam,
            tuple(runs),
            {name: costs_of(runs, side, records) for name, side in sides.items()},
            sum(least(config, records) for config in runs),
        )
        for (method, sam), runs in alike.items()
    ]
    return sorted(groups, key=lambda one: -one.hours(OURS).likely)


def costs_of(configs: Iterable[RunConfig], side: Side, records: Records) -> tuple[Cost, ...]:
    """Return what each run takes; those whose images nobody has counted are left out.

    Args:
        configs: the runs.
        side: who trains.
        records: what was measured.

    Raises:
        DataError: nobody has measured the loader of one that is not left out.
    """
    configs = [config for config in configs if parts_of(config)]
    paths = {path for config in configs for path in loader_paths(config, side, records)}
    if lacking := sorted(paths - records.alone.keys()):
        raise DataError(
            f"{records.path.parent}: no row of one loader process of "
            f"{', '.join(map(repr, lacking))}; measure it with scripts/bench.py --only loader "
            "--images <JPEGs>, or restore the files from a copy"
        )
    found = (cost_of(config, side, records) for config in configs)
    return tuple(cost for cost in found if cost is not None)


def switched(configs: Iterable[RunConfig], switch: Switch) -> list[RunConfig]:
    """Return runs with a setting changed; a run that refuses it is left as it is.

    Args:
        configs: the runs.
        switch: changes the setting of one.
    """
    return [_accepted(switch, config) for config in configs]


def workers(number: int) -> Switch:
    """Return the switch to so many loader processes per GPU."""
    return lambda config: replace(config, launch=replace(config.launch, workers=number))


def uncompiled(config: RunConfig) -> RunConfig:
    """Return a run whose networks are not compiled."""
    return replace(config, launch=replace(config.launch, compile=False))


def official_data(config: RunConfig) -> RunConfig:
    """Return a run whose images take the official path: timm, torchvision and Pillow."""
    data, augment = replace(config.data, augment="reference", decoder="pil"), config.augment
    if augment.multi_crop:
        crops = replace(augment.multi_crop, pipeline="reference")
        augment = replace(augment, multi_crop=crops)
    return replace(config, data=data, augment=augment)


def _accepted(switch: Switch, config: RunConfig) -> RunConfig:
    try:
        return switch(config)
    except ConfigError:
        return config
