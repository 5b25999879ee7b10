from __future__ import annotations

import multiprocessing
from pathlib import Path

import numpy as np
import pytest
import torch

from scaledrelu.bench import data_paths
from scaledrelu.bench import loader as bench
from scaledrelu.bench.pairing import Pairing
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


@pytest.fixture
def source(jpegs: list[Path]) -> FolderSource:
    names, targets = [p.name for p in jpegs], np.zeros(len(jpegs), dtype=np.int64)
    return FolderSource(jpegs[0].parent, names, targets, ("x",))


@pytest.mark.parametrize("path", [*data_paths.PATHS, data_paths.DINO_CROPS])
def test_each_path_gives_the_batches_it_names(source: FolderSource, path: str):
    batch = next(data_paths.our_batches(source, path))[0]
    is_dino = path.startswith("DINO")
    assert batch.images.dtype == (torch.float32 if path == "reference" else torch.uint8)
    assert tuple(batch.images.shape) == ((1 + is_dino) * bench.GROUP, 3, 224, 224)
    if is_dino:
        assert tuple(batch.local.shape) == (8 * bench.GROUP, 3, 96, 96)


def test_peers_give_what_their_scripts_give(jpegs: list[Path]):
    whole = next(data_paths.deit_batches(jpegs))
    assert whole.dtype == torch.float32
    for augments in (False, True):
        pixels = next(data_paths.timm_batches(jpegs, augments=augments))
        assert pixels.dtype == torch.uint8
        assert pixels.shape == whole.shape == (bench.GROUP, 3, 224, 224)
    views = next(data_paths.dino_batches(jpegs))
    assert {view.dtype for view in views} == {torch.float32}
    sizes = [tuple(view.shape) for view in views]
    assert sizes == [(bench.GROUP, 3, 224, 224)] * 2 + [(bench.GROUP, 3, 96, 96)] * 8


def test_rates_are_images_per_second_of_a_processor(
    jpegs: list[Path], monkeypatch: pytest.MonkeyPatch
):
    pairing = Pairing([0.5], [1.0], 1)
    monkeypatch.setattr(bench, "alternate", lambda *_, **__: pairing)
    monkeypatch.setattr(bench, "one_and_several", lambda *_, **__: pairing)
    monkeypatch.setattr(bench, "PAIRS", bench.PAIRS[:2])
    rows = list(bench.measure_loader(jpegs, device=CPU, rounds=1, turn_seconds=0.0))
    assert {(row.images_per_s_per_core, row.plain_images_per_s) for row in rows} == {(32.0, 16.0)}
    assert {tuple(row.ratios) for row in rows} == {(2.0,)}
    names = [row.name for row in rows]
    assert len(set(names)) == len(names) == 2 + len(bench.IN_PROCESSES)


def test_processor_time_of_loader_processes_is_counted(source: FolderSource):
    path = "device, decoder=tensor"
    pairing = bench.one_and_several(source, path, rounds=1, turn_seconds=0.0)
    assert min(pairing.seconds_a + pairing.seconds_b) > 0.01  # 16 images take more to decode


def test_loader_processes_are_ended(source: FolderSource):
    before = set(multiprocessing.active_children())
    for path in ("reference", "device"):
        assert bench.parallel_rate(source, path=path, workers=1, device=CPU) > 0
    assert set(multiprocessing.active_children()) == before
