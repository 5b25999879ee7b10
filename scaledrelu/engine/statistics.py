"""BatchNorm's running statistics: what may change them, and how ranks come to agree on them.

They follow group 0, as rank 0's do in the official runs (recipes A.3). What a batch is normalised
with in training is not decided here: always its own group's statistics.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class RunningStatistics:
    """The running statistics of all BatchNorm layers of a module.

    Args:
        module: looked through once; layers and buffers must not be exchanged afterwards.

    Attributes:
        buffers: means, variances and counters of all layers.
    """

    def __init__(self, module: nn.Module) -> None:
        self._norms = [
            m for m in module.modules() if isinstance(m, _BatchNorm) and m.track_running_stats
        ]
        self.buffers = [buffer for norm in self._norms for buffer in norm.buffers(recurse=False)]
        # Seen as one row of numbers per type, so that a GPU handles all of them in one kernel.
        kinds = {buffer.dtype: [] for buffer in self.buffers}
        for buffer in self.buffers:
            kinds[buffer.dtype].append(buffer.view(-1))
        self._kinds: list[list[Tensor]] = list(kinds.values())
        self._before: list[Tensor] = []

    @contextmanager
    def frozen(self, is_frozen: bool) -> Iterator[None]:
        """Inside, forward passes in training mode do not change the statistics.

        Args:
            is_frozen: False makes this a block without effect.
        """
        norms = self._norms if is_frozen else []
        for norm in norms:
            norm.track_running_stats = False
        try:
            yield
        finally:
            for norm in norms:
                norm.track_running_stats = True

    def remember(self) -> None:
        """Keep a copy for `restore_where`."""
        self._before = [torch.cat(rows) for rows in self._kinds]

    @torch.no_grad()
    def restore_where(self, flag: Tensor) -> None:
        """Restore the remembered values where the flag is set, without reading it."""
        for rows, before in zip(self._kinds, self._before, strict=True):
            chosen = torch.where(flag, before, torch.cat(rows))
            torch._foreach_copy_(rows, chosen.split([len(row) for row in rows]))


def sync_buffers(module: nn.Module) -> None:
    """Copy rank 0's buffers to all ranks, as before an evaluation or a save.

    Rank 0 must hold group 0. Without a process group: nothing.
    """
    if not dist.is_initialized():
        return
    for buffer in module.buffers():
        dist.broadcast(buffer, src=0)
