"""CIFAR-10 as published and as class folders; other files are never unpickled."""

import fcntl
import hashlib
import logging
import os
import pickle

import numpy as np
import pytest
import torch

from scaledrelu.data import cifar
from scaledrelu.data.datasets import open_cifar10, scan_folder
from scaledrelu.errors import ConfigError, DataError
from tests.helpers.errors import one_line


def test_cifar10_opens_a_class_folder_copy(image_folder):
    root = image_folder({"train": 2, "test": 1}, pixels=(32, 32))
    splits = open_cifar10(root=str(root), train="train", val="test", image_size=32)
    assert splits.train.images.shape == (6, 3, 32, 32)


@pytest.fixture
def batches(tmp_path, monkeypatch):
    """A folder of small batches that count as the published ones, and their pixels."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    rng = np.random.RandomState(0)
    pixels = rng.randint(0, 256, (6, 2, 3072), dtype=np.uint8)
    content = {"batches.meta": {"label_names": ["plane", "car"]}}
    for i, name in enumerate([*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]):
        content[name] = {"data": pixels[i], "labels": [i % 2, 1], "filenames": [f"{i}a", f"{i}b"]}
    for name, batch in content.items():
        (folder / name).write_bytes(pickle.dumps(batch))
        found = hashlib.md5((folder / name).read_bytes()).hexdigest()
        monkeypatch.setitem(cifar.PUBLISHED_MD5, name, found)
    return folder, pixels


def open_batches(folder, **changes):
    return open_cifar10(root=str(folder.parent), train="train", val="test", **changes)


def test_cifar10_opens_python_batches(batches):
    folder, pixels = batches
    splits = open_batches(folder)
    assert splits.train.targets.tolist() == [0, 1, 1, 1, 0, 1, 1, 1, 0, 1]
    assert splits.val.classes == ("plane", "car")
    assert splits.val.name_of(1) == "test/5b"
    assert torch.equal(splits.train.images[2].flatten(), torch.from_numpy(pixels[1, 0]))
    with pytest.raises(ConfigError, match="32 pixels"):
        open_batches(folder, image_size=64)
    (folder / "data_batch_4").unlink()
    with pytest.raises(DataError, match="data_batch_4: missing or unreadable") as error:
        open_batches(folder)
    one_line(error)


class Trap:
    """An object that leaves a file where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("name", ["data_batch_3", "test_batch", "batches.meta"])
def test_cifar10_file_that_is_not_the_published_one_is_not_unpickled(batches, tmp_path, name):
    folder, _ = batches
    (folder / name).write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    with pytest.raises(DataError, match=f"{name}: damaged, or not the published") as error:
        open_batches(folder)
    one_line(error)
    assert not (tmp_path / "sprung").exists()
    pickle.loads((folder / name).read_bytes())
    assert (tmp_path / "sprung").exists(), "the trap works"


def test_published_checksums_of_cifar10_are_torchvisions():
    from torchvision.datasets import CIFAR10

    theirs = dict([*CIFAR10.train_list, *CIFAR10.test_list])
    assert theirs | {CIFAR10.meta["filename"]: CIFAR10.meta["md5"]} == cifar.PUBLISHED_MD5


@pytest.mark.parametrize("place", ["root", "temporary"])
def test_cifar10_is_downloaded_by_one_process_at_a_time(tmp_path, monkeypatch, place):
    root = tmp_path / "cifar10"
    temporary = tmp_path / f"scaledrelu-cifar10-{os.getuid()}.lock"
    lock = root / ".cifar10.lock" if place == "root" else temporary
    monkeypatch.setattr(cifar.tempfile, "gettempdir", lambda: str(tmp_path))
    if place == "temporary":
        (root / ".cifar10.lock").mkdir(parents=True)  # nothing to lock there
    tried = []

    def download(_root):
        with lock.open() as other, pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        tried.append(lock)

    monkeypatch.setattr(cifar, "_download", download)
    cifar.cifar10_batches(root)
    assert tried == [lock]


def test_cifar10_on_disk_is_read_where_no_lock_can_be_taken(batches, tmp_path, monkeypatch):
    monkeypatch.setattr(cifar.tempfile, "gettempdir", lambda: str(tmp_path / "nowhere"))
    (batches[0].parent / ".cifar10.lock").mkdir()
    assert len(open_batches(batches[0]).train) == 10


def test_cifar10_lock_does_not_follow_a_link(batches, tmp_path, monkeypatch):
    monkeypatch.setattr(cifar.tempfile, "gettempdir", lambda: str(tmp_path))
    for name in (f"scaledrelu-cifar10-{os.getuid()}.lock", ".cifar10.lock"):
        (tmp_path / name).symlink_to(tmp_path / "elsewhere")
    assert len(open_batches(batches[0]).train) == 10
    assert not (tmp_path / "elsewhere").exists()


def test_cifar10_that_cannot_be_downloaded_is_one_line(tmp_path, monkeypatch):
    def fail(root):
        raise OSError("no route to host\nsecond line")

    monkeypatch.setattr(cifar, "_download", fail)
    with pytest.raises(DataError, match=r"could not be downloaded \(no route to host\)") as error:
        open_cifar10(root=str(tmp_path / "cifar10"), train="train", val="test")
    one_line(error)


@pytest.mark.real_data
def test_cifar10_folder_has_its_published_counts(real_data, caplog):
    root = real_data / "cifar10"
    with caplog.at_level(logging.WARNING):
        train, val = scan_folder(root / "train"), scan_folder(root / "test")
    assert (len(train), len(val), len(train.classes)) == (50_000, 10_000, 10)
    assert train.load(0).size == (32, 32)
