"""Two gloo processes for tests: what one of them returns comes back, rank by rank.

They are forked, so that neither has to load torch again; where there is a GPU they are spawned,
because torch forbids forks after it.
"""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp


def on_two_ranks(work: Callable[[int], Any], folder: Path) -> list[Any]:
    """Return what ``work(rank)``, a function of a module, gives in each of two processes."""
    start_method = "spawn" if torch.cuda.is_available() else "fork"
    mp.start_processes(_one, args=(work, folder), nprocs=2, start_method=start_method)
    return [torch.load(folder / f"rank{rank}.pt") for rank in range(2)]


def _one(rank: int, work: Callable[[int], Any], folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/meet",
        rank=rank,
        world_size=2,
        timeout=timedelta(seconds=300),
    )
    torch.save(work(rank), folder / f"rank{rank}.pt")
    dist.destroy_process_group()
