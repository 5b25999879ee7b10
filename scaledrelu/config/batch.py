"""The group ``batch``: how many images make an update, and who holds them; never rescaled."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from scaledrelu.config.fields import number
from scaledrelu.config.group import Group, require
from scaledrelu.config.ranges import COUNT
from scaledrelu.errors import ConfigError
from scaledrelu.text import plural

SELECTED = 256  # RASampler selects a multiple of this many images per epoch


class TooFewImagesError(ConfigError):
    """Fewer training images than one update needs.

    Attributes:
        found: both numbers, without advice.
        usable: images that an update can be taken from.
    """

    def __init__(self, found: str, usable: int, advice: str) -> None:
        super().__init__(found, usable, advice)  # all three, so that it can be pickled
        self.found, self.usable, self._advice = found, usable, advice

    def __str__(self) -> str:
        return f"{self.found}; {self._advice}"


@dataclass(frozen=True, slots=True)
class BatchConfig(Group):
    """``total`` images per update, in groups of ``group`` (what one GPU of the paper held)."""

    KEY: ClassVar[str] = "batch"

    total: int = number(COUNT)
    group: int = number(COUNT)
    instances: int | None = number(COUNT)  # images of an identity per update; null: any images
    sync_bn: bool  # BatchNorm statistics over the whole update, not over groups (DINO)

    def check(self) -> None:
        """Refuse groups that split the images of an identity."""
        require(
            self.instances is None or self.group % self.instances == 0,
            f"batch.group={self.group}: must be a multiple of batch.instances={self.instances}, "
            "the images per identity; change one of the two",
        )

    def groups(self, batch_scale: float) -> int:
        """Return how many groups one update holds: the nominal batch, scaled, over the group size.

        Args:
            batch_scale: the profile's factor.

        Raises:
            ConfigError: if the trained batch is not a whole number of groups, or is empty.
        """
        trained = round(self.total * batch_scale)
        require(
            trained >= 1,
            f"batch.total={self.total}: times profile.batch_scale={batch_scale:g} leaves no image "
            f"for an update; {self._least_total(batch_scale)}",
        )
        require(
            trained % self.group == 0,
            f"batch.group={self.group}: does not divide the {trained} images of one update "
            f"(batch.total={self.total} x profile.batch_scale={batch_scale:g}); "
            f"{f'choose a divisor of {trained}, or ' if trained > 1 else ''}"
            f"{self._least_total(batch_scale)}",
        )
        return trained // self.group

    def _least_total(self, batch_scale: float) -> str:
        """Return what to set so that an update holds a group; for fewer images, both are lower."""
        return (
            f"set batch.total={round(self.group / batch_scale)} or a multiple of it (batch.group / "
            "profile.batch_scale); for fewer images lower batch.group, too"
        )

    def groups_per_process(self, batch_scale: float, *, processes: int) -> int:
        """Return how many of an update's groups one process holds.

        Args:
            batch_scale: the profile's factor.
            processes: number of processes that share an update.

        Raises:
            ConfigError: if the groups do not divide over the processes.
        """
        count = self.groups(batch_scale)
        require(
            count % processes == 0,
            f"batch.group={self.group}: one update has {count} group(s) of {self.group} images, "
            f"which cannot be divided among {processes} processes; use a divisor of {count} as "
            "the number of processes, or another batch.group (a different run)",
        )
        return count // processes


def steps_per_epoch(num_images: int, *, num_groups: int, group_size: int, repeats: int) -> int:
    """Return the number of updates in one epoch; the last, incomplete one is dropped.

    With repeated augmentation the epoch keeps its usual length and sees about one image in
    ``repeats``, ``repeats`` times each.

    Args:
        num_images: size of the training set.
        num_groups: groups per update over all processes.
        group_size: images of one group per update.
        repeats: repeated augmentation; 1 = off.

    Raises:
        TooFewImagesError: if there are fewer images than one update needs.
    Source: recipes A.6.
    """
    selected = num_images // SELECTED * SELECTED if repeats > 1 else num_images
    steps = math.floor(selected / num_groups) // group_size
    if steps == 0:
        usable = f" ({selected} of them used by repeated augmentation)" if repeats > 1 else ""
        fewer = ", or set augment.repeats=1" if repeats > 1 else ""
        raise TooFewImagesError(
            f"{num_images} training images{usable}: one update needs {plural(num_groups, 'group')} "
            f"x {group_size} = {num_groups * group_size}",
            selected,
            f"use more images (data.fraction), lower batch.total and batch.group{fewer}",
        )
    return steps
