"""The loop on two processes: what one of them sees ends both at the same step."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from scaledrelu.engine import checkpoint
from scaledrelu.engine.checkpoint import LAST, read_checkpoint
from scaledrelu.engine.distributed import World
from scaledrelu.engine.logbook import Logbook
from scaledrelu.engine.loop import Ending, restore
from scaledrelu.errors import CheckpointError
from tests.helpers.loop_toys import DIES_EARLY, DIES_LATE, TOTAL, build, flat, go
from tests.helpers.two_ranks import on_two_ranks


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


def unlike_checkpoints(world: World, folder: Path) -> dict[str, Any]:
    """Rank 1 cannot read the newest checkpoint for a moment, and then both can."""
    assert go(build(world), folder, stop_after=5).interrupted
    dist.barrier()  # the checkpoint is there
    read, said = checkpoint.read_checkpoint, ""
    if world.rank == 1:
        checkpoint.read_checkpoint = partial(cannot_read, LAST, read)
    try:
        restore(build(world), folder, Logbook(None, name="toy", images_per_step=12))
    except CheckpointError as error:
        said = str(error)
    checkpoint.read_checkpoint = read
    dist.barrier()
    return {"said": said, "ending": told(go(build(world), folder))}


def cannot_read(name: str, read: Callable[..., Any], path: Path, **fields: Any) -> Any:
    if name in ("", path.name):
        raise CheckpointError(f"{path}: cannot be read (Stale file handle).")
    return read(path, **fields)


def read_by_one_rank(world: World, folder: Path) -> str:
    """Return what each rank says where one cannot read any checkpoint."""
    go(build(world), folder, stop_after=5)
    dist.barrier()
    read = checkpoint.read_checkpoint
    if world.rank == 1:
        checkpoint.read_checkpoint = partial(cannot_read, "", read)
    try:
        restore(build(world), folder, Logbook(None, name="toy", images_per_step=12))
    except CheckpointError as error:
        return str(error)
    finally:
        checkpoint.read_checkpoint = read
    return ""


CASES = (dead_until_stopped, dead_at_the_end, crash_on_rank_1, signal_to_rank_1, to_the_end)


def work(rank: int, *, folder: Path) -> dict[str, Any]:
    world = World(rank, 2, torch.device("cpu"))
    endings = {case.__name__: told(case(world, folder / case.__name__)) for case in CASES}
    return endings | {
        "unlike": unlike_checkpoints(world, folder / "unlike"),
        "unread": read_by_one_rank(world, folder / "unread"),
    }


def told(ending: Ending) -> dict[str, Any]:
    return {
        "step": ending.cursor.step,
        "interrupted": ending.interrupted,
        "verdict": ending.verdict and (ending.verdict.kind.value, ending.verdict.step),
        "mean": ending.cursor.arrays.get("mean"),
        "best": ending.cursor.best,
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ranks")


@pytest.fixture(scope="module")
def ranks(folder: Path) -> list[dict[str, Any]]:
    """What each of two processes, started once, found in all cases."""
    return on_two_ranks(partial(work, folder=folder), folder)


def both(ranks: list[dict[str, Any]], case: Callable[..., Ending]) -> list[dict[str, Any]]:
    return [found[case.__name__] for found in ranks]


def test_a_loss_that_is_not_finite_on_one_rank_ends_both_at_the_same_step(ranks) -> None:
    for found in both(ranks, crash_on_rank_1):
        assert (found["verdict"], found["step"]) == (("non_finite", 3), 4)


def test_dead_windows_in_a_row_stop_both_ranks_at_the_same_step(ranks) -> None:
    for found in both(ranks, dead_until_stopped):
        assert (found["verdict"], found["step"]) == (("collapsed", 10), 11)


def test_both_ranks_find_a_resumed_run_dead_at_its_end(ranks) -> None:
    for found in both(ranks, dead_at_the_end):
        assert (found["verdict"], found["step"]) == (("collapsed", TOTAL - 1), TOTAL)


def test_a_signal_to_one_rank_stops_both_at_the_same_step(ranks) -> None:
    for found in both(ranks, signal_to_rank_1):
        assert (found["interrupted"], found["step"]) == (True, 5)


def test_ranks_that_read_unlike_checkpoints_refuse_to_go_on_and_spoil_nothing(
    ranks, folder: Path
) -> None:
    for found in (rank["unlike"] for rank in ranks):
        assert found["said"].startswith(f"{folder / 'unlike'}: ")
        assert "step 5 on rank 0, step 4 on rank 1" in found["said"]
        assert found["ending"]["step"] == TOTAL
    assert not (folder / "unlike" / checkpoint.DAMAGED).exists()


def test_a_checkpoint_that_one_rank_cannot_read_ends_both_with_its_words(ranks) -> None:
    said = {rank["unread"] for rank in ranks}
    assert len(said) == 1
    assert "cannot be read (Stale file handle)." in said.pop()


def test_both_ranks_evaluate_and_save_the_running_statistics_of_group_0(
    ranks, folder: Path, tmp_path: Path
) -> None:
    ranks = both(ranks, to_the_end)
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
