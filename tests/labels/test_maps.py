"""Every image gets its own label map, through loaders too; other files are refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from scaledrelu.data.batch import RawBatch
from scaledrelu.data.datasets import open_digits, scan_folder
from scaledrelu.data.loaders import TrainLoader
from scaledrelu.data.memory import decode_all
from scaledrelu.data.sources import MemorySource
from scaledrelu.errors import DataError
from scaledrelu.labels.maps import LabelMaps, label_path
from scaledrelu.labels.transforms import joint_train
from tests.helpers.configs import augment_with
from tests.helpers.errors import one_line
from tests.helpers.label_maps import label_map, write_maps

CPU = torch.device("cpu")


def joint(**changes):
    fields = {
        "image_size": 8,
        "mean": [0.5] * 3,
        "crop": "random_resized",
        "crop_scale": [0.2, 1.0],
        "crop_ratio": [0.75, 4 / 3],
        "interpolation": "random",
        "shift": 0,
        "hflip": 0.5,
        "rand_augment": "rand-m9-mstd0.5-inc1",
        "color_jitter": 0.0,
        "erasing": 0.25,
    }
    fields |= changes
    pixels = {name: fields.pop(name) for name in ("image_size", "mean")}
    return joint_train(augment_with(**fields), **pixels, decoder="pil")


def still():
    """A joint transform that changes nothing but the size."""
    still = {"crop_scale": [1, 1], "crop_ratio": [1, 1], "interpolation": "bilinear"}
    return joint(hflip=0.0, rand_augment=None, erasing=0.0, **still)


def loader(source, labels, transform=None, **changes):
    fields = {"groups": [0, 1], "num_groups": 2, "group_size": 3, "repeats": 1, "seed": 0}
    return TrainLoader(
        source, transform=transform or joint(), labels=labels, **{**fields, **changes}
    )


def flat(steps):
    return [batch for step in steps for batch in step]


@pytest.fixture
def source(image_folder):
    return scan_folder(image_folder() / "train")


@pytest.fixture
def maps(source, tmp_path):
    return LabelMaps(write_maps(tmp_path / "maps", source), source, num_classes=3)


def test_map_lies_under_its_class_and_is_named_up_to_the_first_dot(tmp_path):
    for name in ("train/n01/n01_7.JPEG", "train/n02/deep/a.b.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    source = scan_folder(tmp_path / "train")
    assert [label_path(source, i) for i in (0, 1)] == ["n01/n01_7.pt", "n02/a.pt"]


def test_maps_of_digits_lie_under_their_class():
    digits = open_digits(image_size=8).train
    paths = [label_path(digits, i) for i in range(len(digits))]
    assert len(set(paths)) == len(digits)
    for path, target, index in zip(paths, digits.targets, range(50), strict=False):
        assert path == f"{target}/{Path(digits.name_of(index)).name}.pt"


def test_maps_come_back_as_they_were_written(maps, source):
    assert maps.shape == (2, 5, 4, 4)
    for index in range(len(source)):
        assert torch.equal(maps[index], label_map(index))
        assert maps[index].dtype == torch.float16


def test_maps_as_the_published_code_saves_them_are_read(source, tmp_path):
    root = write_maps(tmp_path / "maps", source)
    spread = torch.zeros(2, 4, 4, 5).half().permute(0, 3, 1, 2)  # a view, not contiguous
    torch.save(spread, root / label_path(source, 1))
    maps = LabelMaps(root, source, num_classes=3)
    assert maps[1].shape == (2, 5, 4, 4)
    assert len(flat(loader(source, maps).epoch(0))) == 4


def test_maps_of_images_in_memory_are_read_once(tmp_path):
    digits = open_digits(image_size=8).train.select(np.arange(20))
    root = write_maps(tmp_path / "maps", digits, classes=10)
    maps = LabelMaps(root, digits, num_classes=10)
    for path in root.rglob("*.pt"):
        path.unlink()
    for index in range(20):
        assert torch.equal(maps[index], label_map(index, classes=10))


def test_missing_folder_says_which_maps_and_what_to_expect_without(source, tmp_path):
    with pytest.raises(DataError) as error:
        LabelMaps(tmp_path / "nowhere", source, num_classes=3)
    text = one_line(error)
    assert text.startswith(f"{tmp_path / 'nowhere'}: no such folder")
    for fact in (
        "NFNet-F6",
        "ImageNet-1k",
        "9 GB",
        "data.token_labels=none",
        "83.8",
        "84.2",
        "81.72",
    ):
        assert fact in text


def test_missing_maps_are_counted_before_training(source, tmp_path):
    root = write_maps(tmp_path / "maps", source)
    (root / "cat/1.pt").unlink()
    for path in (root / "owl").iterdir():
        path.unlink()
    (root / "owl").rmdir()
    with pytest.raises(DataError) as error:
        LabelMaps(root, source, num_classes=3)
    assert "no label maps for 5 of 12 training images (first: cat/1.pt)" in one_line(error)


def test_two_images_with_one_map_are_refused(image_folder, tmp_path):
    root = image_folder()
    Image.new("RGB", (4, 4)).save(root / "train/cat/1.b.png")
    source = scan_folder(root / "train")
    folder = write_maps(tmp_path / "maps", source)
    with pytest.raises(DataError, match=r"two images \(cat/1\.b\.png and cat/1\.jpg\)") as error:
        LabelMaps(folder, source, num_classes=3)
    one_line(error)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (torch.zeros(2, 5, 4, 4), "a float32 tensor of shape 2 x 5 x 4 x 4"),
        (torch.zeros(3, 5, 4, 4).half(), "a float16 tensor of shape 3 x 5 x 4 x 4"),
        (torch.zeros(2, 5, 4).half(), "a float16 tensor of shape 2 x 5 x 4"),
        ({"logits": 1}, "a dict"),
    ],
)
def test_file_that_is_no_map_is_refused(source, tmp_path, content, found):
    root = write_maps(tmp_path / "maps", source)
    torch.save(content, root / label_path(source, 0))
    with pytest.raises(DataError, match=r"cat/0\.pt: holds ") as error:
        LabelMaps(root, source, num_classes=3)
    assert f"holds {found}" in one_line(error)


def test_map_of_another_size_is_refused(source, tmp_path):
    root = write_maps(tmp_path / "maps", source)
    torch.save(label_map(7, side=6), root / label_path(source, 7))
    maps = LabelMaps(root, source, num_classes=3)
    with pytest.raises(
        DataError, match=r"2 x 5 x 6 x 6, but the other label maps .* 2 x 5 x 4 x 4"
    ):
        maps[7]


@pytest.mark.parametrize("number", [3.0, 999.0, -1.0, float("nan")])
def test_maps_of_another_data_set_are_refused(source, tmp_path, number):
    root = write_maps(tmp_path / "maps", source)
    bad = label_map(2)
    bad[1, 4, 2, 2] = number
    torch.save(bad, root / label_path(source, 2))
    maps = LabelMaps(root, source, num_classes=3)
    with pytest.raises(DataError, match=rf"names class {number:g}, .* 3 classes \(0-2\)") as error:
        maps[2]
    assert "maps of another data set" in one_line(error)


def test_logits_that_are_not_finite_are_refused(source, tmp_path):
    root = write_maps(tmp_path / "maps", source)
    bad = label_map(2)
    bad[0, 0, 0, 0] = float("inf")
    torch.save(bad, root / label_path(source, 2))
    with pytest.raises(DataError, match="not finite"):
        LabelMaps(root, source, num_classes=3)[2]


class Evil:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_file_cannot_run_code(source, tmp_path):
    root = write_maps(tmp_path / "maps", source)
    torch.save(Evil(tmp_path / "trace"), root / label_path(source, 0))
    with pytest.raises(DataError, match="not a label map") as error:
        LabelMaps(root, source, num_classes=3)
    one_line(error)
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("workers", [0, 1])
def test_torn_map_reaches_the_user_as_one_line(maps, source, truncate, tmp_path, workers):
    bad = truncate(tmp_path / "maps" / label_path(source, 5))
    feed = loader(source, maps, workers=workers)
    with pytest.raises(DataError) as error:
        list(feed.epoch(0))
    assert one_line(error).startswith(f"{bad}: not a label map")
    feed.close()


def test_every_image_comes_with_its_own_map(maps, source):
    for batch in flat(loader(source, maps, still()).epoch(0)):
        assert batch.maps.shape == (3, 2, 5, 4, 4)
        assert batch.maps.dtype == torch.float16
        assert batch.boxes.shape == (3, 4)
        for index, found in zip(batch.indices.tolist(), batch.maps, strict=True):
            assert torch.equal(found, label_map(index))


def test_loader_processes_change_no_map_and_no_box(maps, source):
    alone, helped = (loader(source, maps, workers=n) for n in (0, 2))
    boxes = []
    for epoch in (0, 1):
        pairs = zip(flat(alone.epoch(epoch)), flat(helped.epoch(epoch)), strict=True)
        for one, other in pairs:
            for name in ("images", "targets", "indices", "views", "maps", "boxes"):
                assert torch.equal(getattr(one, name), getattr(other, name)), name
            boxes.append(one.boxes)
    assert len(torch.unique(torch.cat(boxes), dim=0)) > 15
    helped.close()


@pytest.mark.parametrize("in_memory", [False, True])
def test_replaced_image_brings_its_own_map(image_folder, truncate, tmp_path, in_memory):
    source = scan_folder(image_folder() / "train", on_bad_image="skip")
    names = [source.name_of(i) for i in range(len(source))]
    root = write_maps(tmp_path / "maps", source)
    truncate(Path(source.path_of(5)))
    if in_memory:
        source = decode_all(source, image_size=8)
        assert isinstance(source, MemorySource)
    maps = LabelMaps(root, source, num_classes=3)
    found = {
        int(i): (image, labels)
        for batch in flat(loader(source, maps, still()).epoch(0))
        for i, image, labels in zip(batch.indices, batch.images, batch.maps, strict=True)
    }
    assert names[6].split("/")[0] == names[5].split("/")[0]
    assert torch.equal(found[5][0], found[6][0])
    assert torch.equal(found[5][1], label_map(6))


def test_batches_without_labels_carry_none(source):
    from scaledrelu.data.transforms import crop_train

    augment = augment_with(
        crop="random_resized", crop_scale=[0.5, 1], crop_ratio=[1, 1], interpolation="bilinear"
    )
    crop = crop_train(augment, image_size=8)
    for batch in flat(loader(source, None, crop).epoch(0)):
        assert batch.maps is None
        assert batch.boxes is None
        assert batch.to(CPU).maps is None


def test_maps_and_boxes_move_with_the_images():
    batch = RawBatch(
        torch.zeros(2, 3, 4, 4),
        torch.zeros(2).long(),
        torch.arange(2),
        torch.zeros(2).long(),
        0,
        maps=torch.zeros(2, 2, 5, 4, 4).half(),
        boxes=torch.zeros(2, 4),
        erased=torch.zeros(1, 5).long(),
        noise=torch.zeros(12),
    )
    moved = batch.to(torch.device("meta"))
    for name in ("images", "targets", "maps", "boxes", "erased", "noise"):
        assert getattr(moved, name).device.type == "meta", name
    assert moved.indices.device.type == moved.views.device.type == "cpu"
