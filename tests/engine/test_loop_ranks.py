"""The loop on two processes: what one of them sees ends both at the same step."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from loop_toys import DIES_EARLY, DIES_LATE, TOTAL, build, flat, go

from scaledrelu.engine.checkpoint import LAST, read_checkpoint
from scaledrelu.engine.distributed import World


def crash_on_rank_1(world: World, folder: Path):
    return go(build(world, bad=((3, 1),)), folder)


def signal_to_rank_1(world: World, folder: Path):
    return go(build(world), folder, stop_after=5 if world.rank == 1 else None)


def to_the_end(world: World, folder: Path):
    return go(build(world), folder)


def dead_until_stopped(world: World, folder: Path):
    return go(build(world, rule=DIES_EARLY, read_every=100), folder)


def dead_at_the_end(world: World, folder: Path):
    """Leaves in the middle of a window and comes back."""
    assert go(build(world, rule=DIES_LATE), folder, stop_after=7).interrupted
    dist.barrier()  # the checkpoint is there
    return go(build(world, rule=DIES_LATE), folder)


CASES = (dead_until_stopped, dead_at_the_end, crash_on_rank_1, signal_to_rank_1, to_the_end)


def work(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2,
        timeout=timedelta(seconds=60),
    )  # fmt: skip
    for case in CASES:
        ending = case(World(rank, 2, torch.device("cpu")), folder / case.__name__)
        found = {
            "step": ending.cursor.step,
            "interrupted": ending.interrupted,
            "verdict": ending.verdict and (ending.verdict.kind.value, ending.verdict.step),
            "mean": ending.cursor.arrays.get("mean"),
            "best": ending.cursor.best,
        }
        torch.save(found, folder / f"{case.__name__}-{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where two processes, started once, have gone through all cases."""
    folder = tmp_path_factory.mktemp("ranks")
    mp.spawn(work, args=(folder,), nprocs=2)
    return folder


def both(folder: Path, case) -> list[dict]:
    return [torch.load(folder / f"{case.__name__}-{rank}.pt") for rank in range(2)]


def test_a_loss_that_is_not_finite_on_one_rank_ends_both_at_the_same_step(folder: Path) -> None:
    for found in both(folder, crash_on_rank_1):
        assert (found["verdict"], found["step"]) == (("non_finite", 3), 4)


def test_dead_windows_in_a_row_stop_both_ranks_at_the_same_step(folder: Path) -> None:
    for found in both(folder, dead_until_stopped):
        assert (found["verdict"], found["step"]) == (("collapsed", 10), 11)


def test_both_ranks_find_a_resumed_run_dead_at_its_end(folder: Path) -> None:
    for found in both(folder, dead_at_the_end):
        assert (found["verdict"], found["step"]) == (("collapsed", TOTAL - 1), TOTAL)


def test_a_signal_to_one_rank_stops_both_at_the_same_step(folder: Path) -> None:
    for found in both(folder, signal_to_rank_1):
        assert (found["interrupted"], found["step"]) == (True, 5)


def test_both_ranks_evaluate_and_save_the_running_statistics_of_group_0(
    folder: Path, tmp_path: Path
) -> None:
    ranks = both(folder, to_the_end)
    go(build(), tmp_path)
    alone, two = (read_checkpoint(f / LAST) for f in (tmp_path, folder / "to_the_end"))
    assert [found["step"] for found in ranks] == [TOTAL, TOTAL]
    assert torch.equal(ranks[0]["mean"], ranks[1]["mean"])
    assert ranks[0]["best"] == ranks[1]["best"]
    assert flat(two).keys() == flat(alone).keys()
    for name, value in alone["task"].items():
        torch.testing.assert_close(two["task"][name], value, rtol=1e-9, atol=1e-11, msg=name)
    assert ranks[0]["mean"].tolist() == pytest.approx(
        alone["cursor"]["arrays"]["mean"].tolist(), rel=1e-9
    )
