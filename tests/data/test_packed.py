"""A pack stands for its folder: the same images, order, batches, errors and run ids."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from scaledrelu.config.compose import compose
from scaledrelu.config.identity import run_id
from scaledrelu.config.openers import data_parts
from scaledrelu.data.datasets import open_cifar10, scan_folder
from scaledrelu.data.memory import decode_all
from scaledrelu.data.packed import PackedSource
from scaledrelu.data.packing import pack_folder
from scaledrelu.data.pixels import decode_pixels
from scaledrelu.data.sources import content_digest, subset
from scaledrelu.engine.distributed import World
from scaledrelu.errors import DataError
from scaledrelu.inputs import hashes
from scaledrelu.inputs.hashes import digest_files
from scaledrelu.labels.maps import label_path
from scaledrelu.runs.feed import Validation, open_data, train_loader
from tests.helpers.image_folders import open_folder

CPU = World(0, 1, torch.device("cpu"))
BUILD = {"_target_": "scaledrelu.data.datasets.open_image_folder", "train": "train", "val": "val"}


@pytest.fixture
def folder(image_folder) -> Path:
    """A folder of 30 x 3 and 5 x 3 images, some deeper down, some that are no JPEG files."""
    root = image_folder({"train": 30, "val": 5}, pixels=(40, 50))
    (root / "train/dog/more").mkdir()
    (root / "train/dog/3.jpg").rename(root / "train/dog/more/3.jpg")
    Image.open(root / "train/cat/4.jpg").save(root / "train/cat/4.PNG")
    Image.fromarray(np.arange(600, dtype=np.uint16).reshape(20, 30) * 100).save(
        root / "train/cat/16 bits.png"
    )
    Image.open(root / "val/owl/1.jpg").convert("CMYK").save(root / "val/owl/1.jpg")
    return root


@pytest.fixture
def packed(folder: Path, tmp_path: Path) -> Path:
    """The same images in packs alone."""
    for split in ("train", "val"):
        pack_folder(folder / split, tmp_path / "packed")
    return tmp_path / "packed"


def composed(root: Path, *overrides: str):
    return compose(
        ["profile=smoke", f"paths.results={root.parent / 'results'}", "data=imagefolder",
         f"data.root={root}", "augment.crop=random_resized", *overrides]
    )  # fmt: skip


def batches(root: Path, *overrides: str) -> list[torch.Tensor]:
    """Return what a run is trained and judged on in its first epoch."""
    config = composed(root, *overrides)
    splits = open_data(config)
    loader, judged = train_loader(config, splits, [0], CPU), Validation(config, splits.val, CPU)
    found = [raw for step in loader.epoch(0) for raw in step] + list(judged)
    loader.close()
    judged.close()
    return [getattr(raw, name).clone() for raw in found for name in ("images", "targets")]


def test_images_classes_and_order_are_those_of_the_folder(folder: Path, packed: Path) -> None:
    for ours, theirs in zip(
        (open_folder(packed).train, open_folder(packed).val),
        (open_folder(folder).train, open_folder(folder).val),
        strict=True,
    ):
        assert isinstance(ours, PackedSource)
        assert ours.classes == theirs.classes
        assert np.array_equal(ours.targets, theirs.targets)
        for i in range(len(theirs)):
            assert ours.name_of(i) == theirs.name_of(i)
            assert label_path(ours, i) == label_path(theirs, i)
            assert ours.content(i) == Path(theirs.path_of(i)).read_bytes()
            assert ours.load(i).tobytes() == theirs.load(i).tobytes()
            as_tensors = (one.decoded_by(decode_pixels).load(i) for one in (ours, theirs))
            assert torch.equal(*as_tensors)


@pytest.mark.parametrize(
    "overrides",
    [
        ["data.augment=reference"],
        ["data.augment=reference", "launch.workers=2"],
        ["data.augment=device", "data.decoder=tensor", "data.fraction=0.8"],
        ["data.augment=device", "data.decoder=tensor", "launch.workers=2"],
        ["data.augment=device", "augment.crop=none", "data.in_memory=true"],
    ],
    ids=" ".join,
)
def test_batches_are_those_of_the_folder(folder: Path, packed: Path, overrides: list[str]) -> None:
    ours, theirs = batches(packed, *overrides), batches(folder, *overrides)
    assert len(ours) == len(theirs) > 2
    assert all(map(torch.equal, ours, theirs))


def test_a_run_keeps_its_id_without_the_folder(folder: Path, packed: Path) -> None:
    plain = composed(folder)
    shutil.rmtree(folder)
    found = composed(packed)
    assert found.data.digest == plain.data.digest is not None
    assert run_id(found) == run_id(plain)


def test_a_pack_beside_a_plain_folder_keeps_the_id_too(folder: Path, packed: Path) -> None:
    (packed / "val.pack").unlink()
    shutil.copytree(folder / "val", packed / "val")
    assert composed(packed).data.digest == composed(folder).data.digest
    (packed / "val/cat/0.jpg").write_bytes(b"other")
    assert composed(packed).data.digest != composed(folder).data.digest


def test_other_images_in_a_pack_make_another_run(folder: Path, packed: Path) -> None:
    before = composed(packed).data.digest
    (folder / "train/cat/0.jpg").write_bytes((folder / "train/cat/1.jpg").read_bytes())
    (packed / "train.pack").unlink()
    pack_folder(folder / "train", packed)
    assert composed(packed).data.digest not in (before, None)
    assert composed(packed).data.digest == composed(folder).data.digest


def test_the_digest_of_a_folder_is_not_taken_for_that_of_another_pack_beside_it(
    folder: Path, packed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hashes, "RACY_NS", 0)  # what was found is kept although files are new
    (packed / "val.pack").unlink()
    shutil.copytree(folder / "val", packed / "val")
    before = composed(packed).data.digest
    (packed / "train.pack").unlink()
    (folder / "train/cat/0.jpg").write_bytes((folder / "train/cat/1.jpg").read_bytes())
    pack_folder(folder / "train", packed)
    assert composed(packed).data.digest not in (before, None)


def test_parts_of_a_pack_have_the_digest_of_the_same_files(folder: Path, packed: Path) -> None:
    ours, theirs = open_folder(packed).train, open_folder(folder).train
    assert content_digest(ours) == content_digest(theirs)
    ours, theirs = (subset(source, 0.5, seed=3) for source in (ours, theirs))
    assert content_digest(ours) == content_digest(theirs)
    assert ours.load(7).tobytes() == theirs.load(7).tobytes()


def test_no_image_is_read_for_the_digest(packed: Path) -> None:
    path = packed / "train.pack"
    before = digest_files(data_parts(BUILD, packed), store=None)
    content = bytearray(path.read_bytes())
    content[100] ^= 1  # of the first image
    path.write_bytes(content)
    assert digest_files(data_parts(BUILD, packed), store=None) == before


def test_changed_bytes_of_an_image_are_refused_and_never_skipped(packed: Path) -> None:
    path = packed / "train.pack"
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    source = open_folder(packed, on_bad_image="skip").train
    with pytest.raises(DataError) as refused:
        source.load(0)
    assert str(refused.value).startswith(f"{path}/{source.name_of(0)}: damaged: not the bytes that")
    source.load(1)


@pytest.mark.parametrize("cut", ["all", "head", "half", "byte", "index", "no pack"])
def test_a_pack_that_is_not_whole_is_refused_in_one_line(packed: Path, cut: str) -> None:
    path = packed / "train.pack"
    content = bytearray(path.read_bytes())
    if cut == "index":
        content[-100] ^= 1
    changed = {
        "all": b"", "head": content[:30], "half": content[: len(content) // 2],
        "byte": content[:-1], "index": content, "no pack": b"x" * 1000,
    }  # fmt: skip
    path.write_bytes(changed[cut])
    with pytest.raises(DataError, match=r"/train\.pack: (not|incomplete|damaged).*; copy it again"):
        open_folder(packed)
    assert composed(packed).data.digest is None  # the run says why


def test_a_pack_that_is_lost_or_cut_after_it_was_opened_is_refused(packed: Path) -> None:
    path = packed / "train.pack"
    source, content = open_folder(packed).train, path.read_bytes()
    path.write_bytes(content[:100])
    with pytest.raises(DataError, match=r"train\.pack: was cut short since the run began"):
        source.load(0)
    path.unlink()
    with pytest.raises(DataError, match=r"train\.pack: cannot be read \(No such file"):
        source.load(0)


def test_a_bad_image_is_named_and_replaced_as_in_the_folder(folder: Path, tmp_path: Path) -> None:
    bad = folder / "train/dog/5.jpg"
    bad.write_bytes(bad.read_bytes()[:400])
    pack_folder(folder / "train", tmp_path / "packed")
    sources = [scan_folder(root / "train") for root in (tmp_path / "packed", folder)]
    at = next(i for i in range(90) if sources[0].name_of(i) == "dog/5.jpg")
    said = []
    for source in sources:
        with pytest.raises(DataError) as refused:
            source.load(at)
        said.append(str(refused.value))
    theirs = said[1].replace(f"{folder}/train/", f"{tmp_path}/packed/train.pack/")
    assert said[0] == theirs.replace(
        "restore the file", "restore the file and pack the folder again"
    )
    ours, theirs = (
        scan_folder(root / "train", on_bad_image="skip") for root in (tmp_path / "packed", folder)
    )
    assert ours.load(at).tobytes() == theirs.load(at).tobytes()
    assert ours.skipped == theirs.skipped == ["dog/5.jpg"]
    assert ours.position_of(at) == theirs.position_of(at) == at + 1


def test_a_source_is_pickled_without_the_file(packed: Path) -> None:
    source = open_folder(packed).train
    before = source.load(3).tobytes()
    sent = pickle.dumps(source)
    assert len(sent) < (packed / "train.pack").stat().st_size / 2
    assert pickle.loads(sent).load(3).tobytes() == before


def test_any_name_of_a_file_goes_into_a_pack(tmp_path: Path) -> None:
    top = tmp_path / "train/caf\udce9 \u20ac"
    top.mkdir(parents=True)
    for name in ("\udcff.png", "n\nl.PNG", "x y.png"):
        Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
        (tmp_path / "a.png").rename(top / name)
    plain = scan_folder(tmp_path / "train")
    pack_folder(tmp_path / "train", tmp_path / "packed")
    ours = scan_folder(tmp_path / "packed/train")
    assert ours.classes == plain.classes
    assert [ours.name_of(i) for i in range(3)] == [plain.name_of(i) for i in range(3)]
    assert content_digest(ours) == content_digest(plain)


def test_a_folder_is_read_rather_than_a_pack_of_its_name(folder: Path, packed: Path) -> None:
    shutil.copy(packed / "val.pack", folder / "train.pack")
    assert len(open_folder(folder).train) == 92


def test_class_folders_of_cifar_are_read_packed(image_folder, tmp_path: Path) -> None:
    root = image_folder({"train": 4, "test": 2}, pixels=(32, 32))
    for split in ("train", "test"):
        pack_folder(root / split, tmp_path / "packed")
    ours, theirs = (
        open_cifar10(root=str(one), train="train", val="test")
        for one in (tmp_path / "packed", root)
    )
    assert torch.equal(ours.train.images, theirs.train.images)
    build = {"_target_": "scaledrelu.data.datasets.open_cifar10", "train": "train", "val": "test"}
    digests = [
        digest_files(data_parts(build, one), store=None) for one in (tmp_path / "packed", root)
    ]
    assert digests[0] == digests[1]


def test_images_decoded_into_memory_are_cached_by_what_is_in_the_pack(
    folder: Path, packed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = decode_all(open_folder(folder).val, image_size=16)
    ours = decode_all(open_folder(packed).val, image_size=16)
    monkeypatch.setattr(PackedSource, "load", None)  # found again: nothing is decoded
    again = decode_all(open_folder(packed).val, image_size=16)
    assert torch.equal(ours.images, theirs.images)
    assert torch.equal(again.images, ours.images)
