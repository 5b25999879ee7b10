"""Kept batches are those of the loader, and memory is counted as the system tells it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from scaledrelu.data import kept
from scaledrelu.data.datasets import scan_folder
from scaledrelu.data.kept import KeptBatches, free_memory
from scaledrelu.data.loaders import EvalLoader
from scaledrelu.data.sources import FolderSource
from scaledrelu.data.transforms import eval_crop


@pytest.fixture
def source(image_folder) -> FolderSource:
    return scan_folder(image_folder({"val": 7}, pixels=(40, 50)) / "val")


def loader_of(source: FolderSource, *, workers: int = 0) -> EvalLoader:
    cut = eval_crop(image_size=32, crop=0.875)
    return EvalLoader(source, rank=1, world_size=2, batch=3, transform=cut, workers=workers)


def values(batches) -> list[tuple[list, list, list]]:
    return [(b.images.tolist(), b.targets.tolist(), b.indices.tolist()) for b in batches]


@pytest.mark.parametrize("workers", [0, 1])
def test_later_passes_repeat_the_first_without_the_files(
    source: FolderSource, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = values(loader_of(source))
    batches = KeptBatches(loader_of(source, workers=workers), pin=False)
    assert values(batches) == before
    monkeypatch.setattr(source, "load", None)
    assert values(batches) == values(batches) == before
    batches.close()


def test_loader_processes_end_with_the_first_pass(source: FolderSource) -> None:
    batches = KeptBatches(loader_of(source, workers=1), pin=False)
    first = iter(batches)
    next(first)
    (process,) = batches._loader._fetch._loader._iterator._workers
    list(first)
    assert not process.is_alive()


def test_a_pass_that_was_left_early_keeps_nothing(source: FolderSource) -> None:
    batches = KeptBatches(loader_of(source), pin=False)
    next(iter(batches))
    assert len(list(batches)) == 4
    assert len(list(batches)) == 4


def test_kept_batches_lie_in_memory_of_their_own(source: FolderSource) -> None:
    batches = KeptBatches(loader_of(source, workers=1), pin=False)
    first = list(batches)
    for read, raw in zip(first, batches, strict=True):
        assert raw.targets.data_ptr() != read.targets.data_ptr()  # which may be page-locked
        assert raw.images.is_contiguous()
        assert raw.images.dtype == torch.uint8
        assert raw.images.untyped_storage().nbytes() == raw.images.nbytes


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 2000 * 1024),
        ({"proc/self/cgroup": "0::/\n", "cgroup/memory.max": "5000\n"}, 5000),
        ({"proc/self/cgroup": "0::/a/b\n", "cgroup/a/memory.max": "7000\n"}, 7000),
        ({"proc/self/cgroup": "0::/a\n", "cgroup/a/memory.max": "max\n"}, 2000 * 1024),
        (
            {
                "proc/self/cgroup": "4:memory:/job\n3:cpu,cpuacct:/job\n",
                "cgroup/memory/job/memory.limit_in_bytes": "9000\n",
                "cgroup/job/memory.max": "1\n",
            },
            9000,
        ),
    ],
    ids=["no limit", "container", "SLURM job", "no limit set", "first version"],
)
def test_free_memory_is_what_the_machine_and_the_limits_leave(
    files: dict[str, str], expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, {"proc/meminfo": "MemTotal: 9 kB\nMemAvailable:    2000 kB\n", **files})
    monkeypatch.setattr(kept, "_PROC", tmp_path / "proc")
    monkeypatch.setattr(kept, "_CGROUPS", tmp_path / "cgroup")
    assert free_memory() == expected


def test_all_memory_counts_as_free_where_the_system_does_not_tell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "_PROC", tmp_path)
    assert free_memory() > 2**28
