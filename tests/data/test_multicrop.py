import random

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from scaledrelu.data.datasets import open_digits
from scaledrelu.data.loaders import TrainLoader
from scaledrelu.data.multicrop import RandomBlur, multi_crop
from scaledrelu.data.sources import MemorySource
from scaledrelu.errors import ConfigError
from tests.helpers.configs import augment_with
from tests.helpers.loaders import same
from tests.helpers.seeds import seed

OFF = {
    "hflip": 0.0,
    "jitter_prob": 0.0,
    "grey_prob": 0.0,
    "blur_prob": [0.0, 0.0, 0.0],
    "solarize_prob": 0.0,
}
OFFICIAL = {
    "hflip": 0.5,
    "jitter_prob": 0.8,
    "grey_prob": 0.2,
    "blur_prob": [1.0, 0.1, 0.5],
    "solarize_prob": 0.2,
}


def crops(**changes):
    fields = {
        "image_size": 16,
        "num_local": 3,
        "local_size": 8,
        "global_scale": [0.4, 1.0],
        "local_scale": [0.05, 0.4],
        "crop_ratio": [3 / 4, 4 / 3],
        "interpolation": "bicubic",
        "jitter": [0.4, 0.4, 0.2, 0.1],
        "pipeline": "reference",
        **OFFICIAL,
        **changes,
    }
    shared = {name: fields.pop(name) for name in ("crop_ratio", "interpolation", "hflip")}
    size = fields.pop("image_size")
    return multi_crop(augment_with(**shared, multi_crop=fields), image_size=size)


def noise(side=32):
    pixels = np.random.RandomState(0).randint(0, 256, (side, side, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def flat_images(*levels):
    """A source whose images have one grey level each."""
    images = torch.tensor(levels, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 16, 16)
    names = [str(level) for level in levels]
    targets = np.arange(len(levels))
    return MemorySource(images.contiguous(), targets, tuple(names), names=names)


def loader(source, transform, **changes):
    fields = {"groups": [0], "num_groups": 1, "group_size": 2, "repeats": 1, "seed": 0, **changes}
    return TrainLoader(source, transform=transform, **fields)


def steps(*args, epoch=0, start_step=0, **changes):
    made = loader(*args, **changes)
    found = [batch for step in made.epoch(epoch, start_step=start_step) for batch in step]
    made.close()
    return found


def test_an_image_gives_two_large_crops_and_the_small_ones_as_bytes():
    found = crops()(noise())
    assert [view.shape for view in found.images] == [(3, 16, 16)] * 2
    assert [view.shape for view in found.local] == [(3, 8, 8)] * 3
    assert {view.dtype for view in (*found.images, *found.local)} == {torch.uint8}


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        (0, ["RandomBlur"]),
        (1, ["RandomBlur", "RandomSolarize"]),
        (2, ["RandomBlur"]),
    ],
)
def test_the_operations_come_in_the_official_order(view, expected):
    made = crops()
    transform = [*made._global, made._local][view]
    names = [type(op).__name__ for op in transform.transforms]
    colour = ["RandomHorizontalFlip", "RandomApply", "RandomGrayscale"]
    assert names == ["RandomResizedCrop", *colour, *expected, "PILToTensor"]


def test_what_has_probability_zero_is_not_even_drawn():
    made = crops(**OFF)
    for transform in (*made._global, made._local):
        names = [type(op).__name__ for op in transform.transforms]
        assert names == ["RandomResizedCrop", "PILToTensor"]
    seed()
    before = random.getstate()
    made(noise())
    assert random.getstate() == before


def test_the_host_only_crops_where_the_device_does_the_rest():
    made = crops(pipeline="device")
    for transform in (*made._global, made._local):
        names = [type(op).__name__ for op in transform.transforms]
        assert names == ["RandomResizedCrop", "PILToTensor"]


def test_crops_cover_the_area_that_they_should():
    """Red counts columns and green rows, so the spans of a crop tell its area."""
    side = 256
    rows, columns = np.mgrid[:side, :side].astype(np.uint8)
    ramp = Image.fromarray(np.stack([columns, rows, rows], axis=2))
    made = crops(**OFF, interpolation="bilinear", image_size=64, local_size=32)
    seed()
    areas = {"images": [], "local": []}
    for _ in range(40):
        found = made(ramp)
        for name, seen in areas.items():
            for view in getattr(found, name):
                low, high = view.flatten(1).min(1).values.int(), view.flatten(1).max(1).values.int()
                seen.append(float(((high - low + 2) / side)[:2].prod()))
    assert 0.36 < min(areas["images"]) < 0.5
    assert 0.85 < max(areas["images"]) <= 1.03
    assert 0.04 < min(areas["local"]) < 0.1
    assert 0.3 < max(areas["local"]) < 0.42


def test_blur_is_pillows_with_a_radius_from_a_tenth_to_two_pixels():
    image, radii = noise(), []
    for value in range(50):
        seed(value)
        found = RandomBlur(1.0)(image)
        seed(value)
        random.random()
        radii.append(random.uniform(0.1, 2.0))
        expected = image.filter(ImageFilter.GaussianBlur(radii[-1]))
        assert np.array_equal(np.asarray(found), np.asarray(expected))
    assert min(radii) < 0.3
    assert max(radii) > 1.8


@pytest.mark.parametrize("probability", [0.1, 0.5, 1.0])
def test_a_blur_happens_as_often_as_asked(probability):
    image = noise(8)
    seed()
    blurred = sum(RandomBlur(probability)(image) is not image for _ in range(1000))
    assert abs(blurred / 1000 - probability) < 0.05


def test_only_the_second_large_crop_is_solarised():
    bright = Image.new("RGB", (32, 32), (200, 200, 200))
    found = crops(**{**OFF, "solarize_prob": 1.0})(bright)
    assert bool((found.images[1] == 55).all())
    for view in (found.images[0], *found.local):
        assert bool((view == 200).all())


def test_a_batch_holds_first_crops_then_second_ones_and_local_ones_crop_by_crop():
    transform = crops(**{**OFF, "solarize_prob": 1.0}, num_local=2)
    (batch,) = steps(flat_images(140, 200), transform)
    levels = torch.tensor([140, 200])[batch.indices]
    views = batch.images[:, 0, 0, 0].int().view(2, 2)
    assert torch.equal(views, torch.stack([levels, 255 - levels]).int())
    assert torch.equal(batch.local[:, 0, 0, 0].int().view(2, 2), levels.repeat(2, 1).int())
    assert batch.images.shape == (4, 3, 16, 16)
    assert batch.local.shape == (4, 3, 8, 8)
    assert torch.equal(batch.targets, batch.indices)


def test_without_local_crops_a_batch_has_none():
    (batch,) = steps(flat_images(140, 200), crops(num_local=0))
    assert batch.local is None


def test_every_crop_of_every_image_is_drawn_anew():
    digits = open_digits(image_size=16).train.select(np.zeros(2, dtype=int))
    (now,), (later,) = (steps(digits, crops(num_local=2), epoch=e) for e in (0, 1))
    assert not torch.equal(now.images, later.images)
    for views in (*now.images.split(2), *now.local.split(2)):
        assert not torch.equal(views[0], later.images[0])
    assert not torch.equal(now.images[0], now.images[2])
    assert not torch.equal(now.local[0], now.local[2])


def test_crops_do_not_depend_on_loader_processes_groups_or_restarts():
    digits = open_digits(image_size=16).train.select(np.arange(16))
    fields = {"groups": [0, 1], "num_groups": 2, "group_size": 4}
    whole = steps(digits, crops(), **fields)
    same(whole, steps(digits, crops(), **fields, workers=2))
    same(whole[1::2], steps(digits, crops(), **{**fields, "groups": [1]}))
    same(whole[2:], steps(digits, crops(), **fields, start_step=1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hflip": 1.5}, r"augment\.hflip=1\.5: must lie in"),
        ({"grey_prob": -0.1}, r"multi_crop\.grey_prob=-0\.1"),
        ({"blur_prob": [1.0, 0.1]}, "must be 3 numbers"),
        ({"global_scale": [0.4, 1.2]}, r"global_scale=\[0\.4,1\.2\]"),
        ({"local_scale": [0.4, 0.05]}, r"local_scale=\[0\.4,0\.05\]"),
        ({"num_local": -1}, "num_local=-1"),
    ],
)
def test_values_that_cannot_be_are_one_line(change, message):
    with pytest.raises(ConfigError, match=message) as caught:
        crops(**change)
    assert "\n" not in str(caught.value)
