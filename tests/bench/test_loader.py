"""The same images with the same operations on both sides, and rates of a processor."""

from __future__ import annotations

import multiprocessing
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.transforms import functional

from scaledrelu.bench import data_paths, peer_data, peer_transforms
from scaledrelu.bench import loader as bench
from scaledrelu.bench import loader_processes as processes
from scaledrelu.bench.pairing import Pairing
from scaledrelu.bench.scripts import Script
from scaledrelu.config.run import RunConfig
from scaledrelu.data.sources import FolderSource
from scaledrelu.errors import DataError
from scaledrelu.labels.dense_targets import dense_targets

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def jpegs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return data_paths.generate_jpegs(tmp_path_factory.mktemp("jpegs"), images=18)


@pytest.fixture(scope="module")
def source(jpegs: list[Path]) -> FolderSource:
    return data_paths.source_of(jpegs)


@pytest.fixture(scope="module")
def often(jpegs: list[Path]) -> FolderSource:
    return data_paths.source_of(jpegs, images=data_paths.REPEATED_IMAGES)


@pytest.fixture(scope="module")
def maps(source: FolderSource, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return data_paths.make_maps(tmp_path_factory.mktemp("maps"), source)


@pytest.fixture(scope="module")
def configs(maps: Path) -> dict[str, RunConfig]:
    return {path: data_paths.path_config(path, maps=maps) for path in data_paths.PATHS}


def test_generated_images_are_of_imagenets_size(jpegs: list[Path]):
    assert len(jpegs) == 18
    assert 60e3 < np.mean([path.stat().st_size for path in jpegs]) < 160e3


def test_too_few_images_are_one_clear_line(tmp_path: Path):
    with pytest.raises(DataError, match="holds 0 JPEG files"):
        data_paths.find_jpegs(tmp_path)


def test_files_are_used_again_where_an_epoch_needs_more(jpegs: list[Path]):
    source = data_paths.source_of(jpegs, images=40)
    names = [source.name_of(index) for index in range(40)]
    assert names == [jpegs[index % 18].name for index in range(40)]
    assert source.targets.tolist() == [index % 18 for index in range(40)]


@pytest.mark.parametrize("path", data_paths.PATHS)
def test_each_path_gives_the_batches_it_names(source, often, configs, path: str):
    source = often if path == data_paths.REPEATED else source
    (batch,) = next(data_paths.our_batches(source, configs[path]))
    is_dino = path.startswith("DINO")
    assert batch.images.dtype == (torch.float32 if path == "reference" else torch.uint8)
    assert tuple(batch.images.shape) == ((1 + is_dino) * data_paths.GROUP, 3, 224, 224)
    if is_dino:
        assert tuple(batch.local.shape) == (8 * data_paths.GROUP, 3, 96, 96)
    assert (batch.maps is not None) == path.startswith("VOLO")


def host_batch(source: FolderSource, config: RunConfig, script: Script):
    # Drawn anew, one box in some thousands lies where rounding decides how many samples RoI align
    # takes of a cell.
    random.seed(0), np.random.seed(0), torch.manual_seed(0)
    data = peer_data.script_data(source, config, script)
    return next(iter(data.loader(batch=data_paths.GROUP)))


def test_peers_give_what_their_scripts_give(source, configs):
    whole, _ = host_batch(source, configs["device"], Script.DEIT)
    assert whole.dtype == torch.float32
    for script in (Script.TIMM_BARE, Script.TIMM_LOADER):
        pixels, _ = host_batch(source, configs["device"], script)
        assert pixels.dtype == torch.uint8
        assert pixels.shape == whole.shape == (data_paths.GROUP, 3, 224, 224)
    views, _ = host_batch(source, configs["DINO"], Script.DINO)
    assert {view.dtype for view in views} == {torch.float32}
    sizes = [tuple(view.shape) for view in views]
    assert sizes == [(16, 3, 224, 224)] * 2 + [(16, 3, 96, 96)] * 8
    pixels, labels = host_batch(source, configs["VOLO"], Script.VOLO)
    assert pixels.dtype == torch.uint8
    assert (tuple(labels.maps.shape), tuple(labels.boxes.shape)) == ((16, 2, 5, 18, 18), (16, 4))


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> tuple[list[int], list[int]]:
    """The positions of the images that a script, and that ours, has decoded so far."""
    opened, loaded = [], []
    files, real = peer_data.Files.__getitem__, FolderSource.load
    monkeypatch.setattr(
        peer_data.Files, "__getitem__", lambda s, i: opened.append(i) or files(s, i)
    )
    monkeypatch.setattr(FolderSource, "load", lambda s, i: loaded.append(i) or real(s, i))
    return opened, loaded


def test_an_epoch_of_a_script_and_of_ours_see_the_same_images(source, configs, decoded):
    opened, loaded = decoded
    whole = source.select(np.arange(16))
    host_batch(whole, configs["device"], Script.TIMM_BARE)
    next(data_paths.our_batches(whole, configs["device"]))
    assert sorted(opened) == sorted(loaded) == list(range(16))


def test_with_repeated_augmentation_deits_script_decodes_every_copy_and_ours_every_image(
    often, configs, decoded
):
    opened, loaded = decoded
    config = configs[data_paths.REPEATED]
    theirs = iter(peer_data.script_data(often, config, Script.DEIT).loader(batch=data_paths.GROUP))
    ours = data_paths.our_batches(often, config)
    indices = [index for _ in range(3) for (raw,) in [next(ours)] for index in raw.indices.tolist()]
    for _ in range(3):
        next(theirs)
    assert opened == indices == sorted(indices, key=indices.index)
    assert loaded == list(dict.fromkeys(indices))
    assert len(opened) == 3 * len(loaded) == 48


OPERATIONS = {  # of each script, and the numbers of the run that must be in them
    Script.DEIT: ("device", ("RandomResizedCropAndInterpolation(size=(224, 224), scale=(0.08, 1.0)",
                             "interpolation=bicubic", "RandomHorizontalFlip(p=0.5)",
                             "RandAugment(n=2", "m=9", "mstd=0.5", "RandomErasing(p=0.25")),
    Script.TIMM_LOADER: ("device", ("scale=(0.08, 1.0)", "interpolation=bicubic", "p=0.5",
                                    "RandAugment(n=2", "m=9")),
}  # fmt: skip


@pytest.mark.parametrize("script", OPERATIONS)
def test_a_script_augments_with_the_numbers_of_our_run(source, configs, script: Script):
    path, words = OPERATIONS[script]
    found = repr(peer_data.script_data(source, configs[path], script).files.transform)
    assert not [word for word in words if word not in found]


def test_without_randaugment_the_script_only_crops_and_flips(source, configs):
    found = peer_data.script_data(source, configs["device"], Script.TIMM_BARE).files.transform
    crop, flip, _to_bytes = found.transforms
    names = [type(step).__name__ for step in (crop, flip)]
    assert names == ["RandomResizedCropAndInterpolation", "RandomHorizontalFlip"]
    assert found(source.load(0)).dtype == torch.uint8


def test_ours_and_timms_crops_are_of_one_distribution(source, configs):
    config = configs["device, decoder=tensor"]
    ours = next(data_paths.our_batches(source, config))[0].images.float()
    theirs, _ = host_batch(source, config, Script.TIMM_BARE)
    assert float(ours.mean()) == pytest.approx(float(theirs.float().mean()), abs=6.0)
    assert float(ours.std()) == pytest.approx(float(theirs.float().std()), rel=0.15)


def test_volos_targets_are_those_of_ours(source, configs):
    _, labels = host_batch(source, configs["VOLO"], Script.VOLO)
    top, left, bottom, right = labels.boxes.T
    ours = dense_targets(
        labels.maps,
        torch.stack([top, left, bottom - top, right - left], 1),
        num_classes=1000,
        grid=(14, 14),
        smoothing=0.1,
        axes="official",
    )
    theirs = peer_data.roi_targets(labels.maps, labels.boxes, configs["VOLO"], grid=(14, 14))
    for mine, other in zip(ours, theirs, strict=True):
        assert torch.allclose(mine, other, atol=5e-5)  # sums of logits up to 20, in fp32


def test_a_flip_of_volos_moves_image_and_map(source, configs):
    transform = peer_transforms.joint_transform(configs["VOLO"])
    keep = {"draw": list, "cut": transform.keywords["cut"], "bare": np.asarray}
    keep["cut"].scale, keep["cut"].ratio = (1.0, 1.0), (1.0, 1.0)
    image = source.load(0).crop((0, 0, 300, 300))
    labels = torch.rand(2, 5, 18, 18)
    same, flipped = (peer_transforms.with_map(image, labels, hflip=p, **keep) for p in (0.0, 1.0))
    assert torch.equal(flipped[1], functional.hflip(same[1]))
    apart = np.abs(flipped[0].astype(int) - same[0][:, ::-1].astype(int))
    assert apart.mean() < 3.0  # the two filters that are drawn differ by little
    assert flipped[2].tolist() == [0, 0, 1, 1]


def test_rates_are_images_per_second_of_a_processor(
    jpegs: list[Path], monkeypatch: pytest.MonkeyPatch
):
    pairing = Pairing([0.5], [1.0])
    monkeypatch.setattr(bench, "alternate", lambda *_, **__: pairing)
    monkeypatch.setattr(bench, "one_and_several", lambda *_, **__: pairing)
    monkeypatch.setattr(bench.LoaderBench, "_script_batches", lambda *_: iter("ab"))
    monkeypatch.setattr(bench, "PAIRS", bench.PAIRS[:1])
    rows = list(bench.measure_loader(jpegs, device=CPU, rounds=1, turn_seconds=0.0))
    assert {(row.images_per_s_per_core, row.plain_images_per_s) for row in rows} == {(32.0, 16.0)}
    assert {tuple(row.ratios) for row in rows} == {(2.0,)}
    names = [row.name for row in rows]
    assert len(set(names)) == len(names) == 1 + 4 + len(bench.IN_PROCESSES)
    assert {row.peer for row in rows[1:5]} == {Script.DEIT}


def test_processor_time_of_loader_processes_is_counted_and_shared_among_them(source):
    path = "device, decoder=tensor"
    pairing = processes.one_and_several(source, path, rounds=1, turn_seconds=0.0)
    assert min(pairing.seconds_a + pairing.seconds_b) > 0.01  # 16 images take more to decode


def test_what_the_device_does_to_images_is_measured_by_itself(jpegs: list[Path], monkeypatch):
    seen = []
    prepare = processes.Prepare.__call__
    monkeypatch.setattr(
        processes.Prepare, "__call__", lambda *it: seen.append(prepare(*it)[0]) or [seen[-1]]
    )
    path = "device, decoder=tensor"
    assert processes.augmentation_rate(jpegs, path, device=CPU, turn_seconds=0.0) > 0
    first, again = seen
    assert first.images.shape[1:] == (3, 224, 224)
    assert first.images.is_floating_point()
    assert not torch.equal(first.targets, again.targets)  # mixed, each step anew


def test_loader_processes_are_ended(jpegs: list[Path], maps: Path):
    before = set(multiprocessing.active_children())
    for path in ("reference", "device", "VOLO"):
        assert processes.parallel_rate(jpegs, path, workers=1, device=CPU, maps=maps) > 0
    assert set(multiprocessing.active_children()) == before
