"""The group ``batch``: how many images make an update, and who holds them; never rescaled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from scaledrelu.config.fields import number
from scaledrelu.config.group import Group, require
from scaledrelu.config.ranges import COUNT


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
            f"for an update; set batch.total={round(self.group / batch_scale)} or a multiple of it",
        )
        require(
            trained % self.group == 0,
            f"batch.group={self.group}: does not divide the {trained} images of one update "
            f"(batch.total={self.total} x profile.batch_scale={batch_scale:g}); choose a divisor "
            f"of {trained}",
        )
        return trained // self.group

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
