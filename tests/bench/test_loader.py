from __future__ import annotations

import multiprocessing
from pathlib import Path

import numpy as np
import pytest
import torch

from scaledrelu.bench import loader as bench
from scaledrelu.data.sources import FolderSource
from scaledrelu.errors import DataError

CPU = torch.device("cpu")


@pytest.fixture
def jpegs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    monkeypatch.setattr(bench, "GENERATED", 18)
    return bench.generate_jpegs(tmp_path)


def test_generated_images_are_of_imagenets_size(jpegs: list[Path]):
    assert len(jpegs) == 18
    assert 60e3 < np.mean([path.stat().st_size for path in jpegs]) < 160e3


def test_too_few_images_are_one_clear_line(tmp_path: Path):
    with pytest.raises(DataError, match="holds 0 JPEG files"):
        bench.find_jpegs(tmp_path)


def test_each_path_gives_the_batches_it_names(jpegs: list[Path]):
    source = FolderSource(
        jpegs[0].parent, [p.name for p in jpegs], np.zeros(len(jpegs), dtype=np.int64), ("x",)
    )
    shapes = {}
    for augment, dtype in (("reference", torch.float32), ("device", torch.uint8)):
        (batch,) = next(bench.our_loader(source, augment=augment, workers=0).epoch(0))
        assert batch.images.dtype == dtype
        shapes[augment] = tuple(batch.images.shape)
    plain = next(bench.timm_batches(jpegs))
    assert plain.dtype == torch.float32
    assert set(shapes.values()) == {tuple(plain.shape)} == {(bench.GROUP, 3, 224, 224)}


def test_rates_of_one_process_are_rates_per_core(
    jpegs: list[Path], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(bench, "parallel_rate", lambda source, workers, **_: 30.0 * workers)
    rows = list(bench.measure_loader(jpegs, device=CPU, rounds=1, turn_seconds=0.0))
    assert [row.images_per_s_per_core == row.images_per_s for row in rows[:2]] == [True, True]
    assert [row.images_per_s_per_core for row in rows[2:]] == [30.0, 30.0]
    assert {row.name.partition(" ")[0] for row in rows[2:]} == {"reference", "device"}


def test_loader_processes_are_ended(jpegs: list[Path]):
    source = FolderSource(
        jpegs[0].parent, [p.name for p in jpegs], np.zeros(len(jpegs), dtype=np.int64), ("x",)
    )
    before = set(multiprocessing.active_children())
    for augment in ("reference", "device"):
        assert bench.parallel_rate(source, augment=augment, workers=1, device=CPU) > 0
    assert set(multiprocessing.active_children()) == before
