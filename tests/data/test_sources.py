"""Sources replace bad images where asked, choose parts and share copies on a device."""

import pickle
import weakref

import numpy as np
import pytest
import torch

from scaledrelu.data.datasets import open_digits
from scaledrelu.data.loaders import EvalLoader
from scaledrelu.data.sources import subset
from scaledrelu.errors import DataError
from tests.helpers.errors import one_line
from tests.helpers.image_folders import open_folder
from tests.helpers.loaders import train_loader
from tests.helpers.memory import Allocated


def bad_files(folder, truncate):
    """Every kind of bad file, by name."""
    truncate(folder / "0.jpg")
    (folder / "1.jpg").write_bytes(b"")
    (folder / "2.jpg").write_text("<html>404</html>")
    data = (folder / "3.jpg").read_bytes()
    (folder / "3.jpg").write_bytes(data[:-40])
    return ["0.jpg", "1.jpg", "2.jpg", "3.jpg"]


def test_every_kind_of_bad_image_is_one_line_that_names_the_file(image_folder, truncate):
    root = image_folder({"train": 5, "val": 1})
    bad = bad_files(root / "train" / "dog", truncate)
    source = open_folder(root).train
    for i, name in enumerate(bad):
        with pytest.raises(DataError, match=rf"dog/{name}: (damaged or incom|not an im)") as error:
            source.load(5 + i)
        assert "data.on_bad_image=skip" in one_line(error)


def test_truncated_image_is_an_error_even_if_another_library_lets_it_pass(
    image_folder, monkeypatch
):
    from PIL import ImageFile

    root = image_folder()
    path = root / "train" / "cat" / "0.jpg"
    path.write_bytes(path.read_bytes()[:-40])
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(DataError, match="bytes not processed"):
        open_folder(root).train.load(0)


def test_file_that_vanished_is_an_error_even_when_skipping(image_folder):
    root = image_folder()
    source = open_folder(root, on_bad_image="skip").train
    (root / "train" / "cat" / "0.jpg").unlink()
    with pytest.raises(DataError, match=r"0\.jpg: cannot be read") as error:
        source.load(0)
    one_line(error)


def test_skipped_image_is_replaced_by_the_next_good_one_of_its_class_and_counted(
    image_folder, truncate
):
    root = image_folder()
    for i in (2, 3):
        truncate(root / "train" / "cat" / f"{i}.jpg")
    source = open_folder(root, on_bad_image="skip").train
    first = source.load(0).tobytes()
    assert source.load(3).tobytes() == first
    assert source.load(2).tobytes() == first
    assert source.load(2).tobytes() == first
    assert sorted(source.skipped) == ["cat/2.jpg", "cat/3.jpg"]
    assert len(source) == 12


def test_class_without_a_readable_image_is_an_error_even_when_skipping(image_folder, truncate):
    root = image_folder({"train": 2, "val": 1})
    for path in (root / "train" / "owl").iterdir():
        truncate(path)
    source = open_folder(root, on_bad_image="skip").train
    with pytest.raises(DataError, match=r"class 'owl' has no readable image left") as error:
        source.load(4)
    one_line(error)


def test_fractions_are_stratified_and_nested():
    train = open_digits(image_size=8).train
    sizes = np.bincount(train.targets)
    names = [set()]
    for fraction in (0.01, 0.1, 0.2, 0.5, 0.9):
        part = subset(train, fraction, seed=0)
        counts = np.bincount(part.targets)
        assert counts.tolist() == [max(1, round(fraction * n)) for n in sizes]
        names.append({part.name_of(i) for i in range(len(part))})
        assert names[-2] < names[-1]
    assert subset(train, 1.0, seed=0) is train


def test_fraction_keeps_every_class_and_image_together_with_its_label(image_folder):
    whole = open_folder(image_folder({"train": 6, "val": 1})).train
    part = subset(whole, 0.01, seed=1)
    assert part.targets.tolist() == [0, 1, 2]
    for i in range(3):
        assert part.name_of(i).startswith(part.classes[part.targets[i]])


def test_fraction_seed_changes_the_choice():
    train = open_digits(image_size=8).train
    first, second = (subset(train, 0.1, seed=seed) for seed in (0, 1))
    assert [first.name_of(i) for i in range(9)] != [second.name_of(i) for i in range(9)]


def evaluating(source, device):
    return EvalLoader(source, rank=0, world_size=1, batch=100, device=device)


def test_loaders_of_the_same_images_share_one_copy_on_a_device(digits):
    with Allocated() as memory:
        loaders = [train_loader(digits, device="meta"), evaluating(digits, torch.device("meta"))]
        loaders.append(evaluating(digits, "meta"))
    assert memory.sizes.count(digits.images.nbytes) == 1
    again = pickle.loads(pickle.dumps(digits))  # as loader processes may get it
    assert torch.equal(again.images, digits.images)


def test_the_copy_on_a_device_goes_with_the_last_loader_that_needs_it(digits):
    copy = weakref.ref(digits.images_on("meta"))
    assert copy() is None
    loader = evaluating(digits, "meta")
    copy = weakref.ref(digits.images_on("meta"))
    assert copy() is not None
    del loader
    assert copy() is None
    assert digits.images_on("cpu") is digits.images_on(None) is digits.images


def test_selected_images_have_a_copy_of_their_own(digits):
    kept = evaluating(digits, "meta"), train_loader(digits, device="cpu")
    order = np.array([7, 3, 11])
    part = digits.select(order)
    (there,), (here,) = evaluating(part, "meta"), evaluating(part, "cpu")
    assert there.images.device.type == "meta"
    assert there.images.shape == here.images.shape == (3, *digits.images.shape[1:])
    assert torch.equal(here.images, digits.images[order])
    assert len(kept) == 2  # alive until here
