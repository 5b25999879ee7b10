"""Images in memory are those of the files as they are now, decoded once."""

import os

import pytest
import torch
from PIL import Image

from scaledrelu.data import memory
from scaledrelu.errors import DataError
from tests.helpers.image_folders import open_folder


def test_images_in_memory_are_the_same_images_fitted_to_their_size(image_folder):
    root = image_folder(pixels=(16, 16))
    files, whole = open_folder(root), open_folder(root, in_memory=True)
    again = open_folder(root, in_memory=True)
    assert whole.train.images.shape == (12, 3, 16, 16)
    for i in (0, 5, 11):
        assert whole.train.load(i).tobytes() == files.train.load(i).tobytes()
        assert whole.train.name_of(i) == files.train.name_of(i)
    assert torch.equal(whole.val.images, again.val.images)
    assert open_folder(root, in_memory=True, image_size=8).val.images.shape == (6, 3, 8, 8)


def test_cached_images_are_decoded_anew_when_a_file_changes(image_folder):
    root = image_folder(pixels=(16, 16))
    for name, grey in (("owl", 200), ("cat", 100)):  # as BMP, files of equal size
        (root / "train" / name / "0.jpg").unlink()
        Image.new("RGB", (16, 16), (grey,) * 3).save(root / "train" / name / "0.bmp")
    before = open_folder(root, in_memory=True).train.images
    source, target = root / "train" / "owl" / "0.bmp", root / "train" / "cat" / "0.bmp"
    target.write_bytes(source.read_bytes())
    after = open_folder(root, in_memory=True).train.images
    assert not torch.equal(before[0], after[0])
    assert torch.equal(after[0], after[8])


def test_cached_images_are_decoded_anew_when_a_file_changes_and_keeps_its_time(image_folder):
    root = image_folder(pixels=(16, 16))
    path = root / "train/cat/0.bmp"
    (root / "train/cat/0.jpg").unlink()
    for grey in (200, 100):
        before = path.stat() if path.exists() else None
        Image.new("RGB", (16, 16), (grey,) * 3).save(path)
        if before:
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert (open_folder(root, in_memory=True).train.images[0] == grey).all()


def test_files_that_change_while_they_are_decoded_are_not_cached(image_folder, monkeypatch):
    root = image_folder(pixels=(16, 16))
    path, decode = root / "train/cat/0.jpg", memory._pixels
    original = path.read_bytes()

    def change(*task):
        path.write_bytes((root / "train/owl/0.jpg").read_bytes())
        pixels = decode(*task)
        path.write_bytes((root / "train/dog/0.jpg").read_bytes())
        return pixels

    with monkeypatch.context() as patch:
        patch.setattr(memory, "_pixels", change)
        open_folder(root, in_memory=True)
    path.write_bytes(original)
    files, whole = open_folder(root).train, open_folder(root, in_memory=True).train
    assert whole.load(0).tobytes() == files.load(0).tobytes()


def test_images_are_in_memory_where_nobody_has_a_home(image_folder, monkeypatch):
    def nobody(uid):
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr("pwd.getpwuid", nobody)
    monkeypatch.delenv("HOME")
    monkeypatch.delenv("SCALEDRELU_CACHE")
    assert len(open_folder(image_folder(), in_memory=True).train.images) == 12


def test_bad_images_are_skipped_and_counted_in_memory_too(image_folder, truncate):
    root = image_folder(pixels=(16, 16))
    truncate(root / "train" / "dog" / "1.jpg")
    for _ in range(2):
        whole = open_folder(root, in_memory=True, on_bad_image="skip").train
        assert whole.skipped == ["dog/1.jpg"]
        assert torch.equal(whole.images[5], whole.images[6])
    with pytest.raises(DataError, match=r"dog/1\.jpg"):
        open_folder(root, in_memory=True)
