"""Images that are not square keep nothing but their content: resized as a whole, and moved."""

import itertools
import random

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as vision

from scaledrelu.data.augment import DeviceAugment
from scaledrelu.data.batch import RawBatch
from scaledrelu.data.transforms import crop_train, eval_transform, fit_to, reference_train
from tests.helpers.configs import augment_with

MEAN, STD = [0.5, 0.4, 0.3], [0.5, 0.6, 0.7]
SIZE = (32, 16)  # height and width
PLAIN = {
    "crop": "shift",
    "crop_scale": [1.0, 1.0],
    "crop_ratio": [1.0, 1.0],
    "interpolation": "bicubic",
    "shift": 0,
    "hflip": 0.0,
    "rand_augment": None,
    "color_jitter": 0.0,
    "erasing": 0.0,
}


def picture(width, height, seed=0):
    """A smooth image, so that ways to resize differ little where they should not."""
    noise = np.random.RandomState(seed).randint(0, 256, (5, 4, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)


def resized(image, mode, size=SIZE):
    return vision.resize(vision.pil_to_tensor(image), size, mode, antialias=True)


def framed(width, height):
    """Black, with a white frame that any crop would cut off."""
    image = Image.new("RGB", (width, height), (255, 255, 255))
    image.paste((0, 0, 0), (width // 8, height // 8, width - width // 8, height - height // 8))
    return image


def undo(image):
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (MEAN, STD))
    return (image * std + mean) * 255


TALL_AND_WIDE = [(64, 128), (48, 61), (90, 40), (16, 32), (9, 11)]


def evaluated(image, crop=1.0):
    return undo(eval_transform(image_size=SIZE, crop=crop, mean=MEAN, std=STD)(image))


def trained(image, **changes):
    fields = PLAIN | changes
    augment = augment_with(**fields)
    return undo(reference_train(augment, image_size=SIZE, mean=MEAN, std=STD)(image))


def on_host(image):
    fields = {name: PLAIN[name] for name in ("crop", "crop_scale", "crop_ratio", "interpolation")}
    return crop_train(augment_with(**fields), image_size=SIZE)(image)


WAYS = {
    "evaluation": (evaluated, InterpolationMode.BILINEAR),
    "training": (trained, InterpolationMode.BICUBIC),
    "host of a device": (on_host, InterpolationMode.BICUBIC),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("pixels", TALL_AND_WIDE, ids=str)
def test_the_whole_image_is_resized_to_height_and_width(way, pixels):
    transform, mode = WAYS[way]
    found = transform(picture(*pixels)).float()
    assert found.shape == (3, *SIZE)
    # torchvision rounds to bytes elsewhere than Pillow.
    torch.testing.assert_close(found, resized(picture(*pixels), mode).float(), atol=2.01, rtol=0)
    frame = transform(framed(160, 160)).float()
    edges = torch.cat([frame[:, 0], frame[:, -1], frame[:, :, 0], frame[:, :, -1]], dim=1)
    assert edges.min() > 200
    assert frame[:, SIZE[0] // 2, SIZE[1] // 2].max() < 20


def test_bilinear_and_bicubic_differ_so_that_a_test_could_tell():
    noise = np.random.RandomState(1).randint(0, 256, (64, 40, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    ways = [fit_to(SIZE, interpolation=mode)(image) for mode in ("bilinear", "bicubic")]
    for found, mode in zip(ways, ("BILINEAR", "BICUBIC"), strict=True):
        assert found.size == SIZE[::-1]
        expected = image.resize(SIZE[::-1], Image.Resampling[mode])
        np.testing.assert_array_equal(np.asarray(found), np.asarray(expected))
    assert np.abs(np.asarray(ways[0]).astype(int) - np.asarray(ways[1])).max() > 10


def test_evaluation_takes_the_whole_image_whatever_part_a_square_one_would_lose():
    assert torch.equal(evaluated(picture(64, 128), crop=0.875), evaluated(picture(64, 128)))


def shifted(whole, shift):
    """All places that a crop of a padded image can have."""
    padded = vision.pad(whole, [shift] * 4)
    places = itertools.product(range(2 * shift + 1), repeat=2)
    return [vision.crop(padded, top, left, *SIZE) for top, left in places]


def test_training_moves_the_resized_image_by_at_most_shift_pixels_and_fills_with_black():
    whole = vision.pil_to_tensor(picture(40, 70).resize(SIZE[::-1], Image.Resampling.BICUBIC))
    allowed = torch.stack(shifted(whole, 2)).float()
    torch.manual_seed(0)
    places = set()
    for _ in range(60):
        distance = (allowed - trained(picture(40, 70), shift=2)).abs().amax((1, 2, 3))
        assert distance.min() < 1e-2
        places.add(int(distance.argmin()))
    assert len(places) > 15


def test_a_random_crop_has_height_and_width_too():
    random.seed(0)
    changes = {"crop": "random_resized", "crop_scale": [0.5, 1.0], "crop_ratio": [0.4, 0.6]}
    for _ in range(5):
        assert trained(picture(64, 128), **changes).shape == (3, *SIZE)


def test_the_device_moves_and_flips_images_that_are_not_square():
    images = torch.from_numpy(np.random.RandomState(0).randint(0, 256, (40, 3, *SIZE), np.uint8))
    indices = torch.arange(40)
    raw = RawBatch(images, indices, indices, torch.zeros(40, dtype=torch.int64), group=0)
    augment = DeviceAugment(
        mean=MEAN, std=STD, seed=0, augment=augment_with(crop="shift", shift=2, hflip=0.5)
    )
    found = [undo(image) for image in augment(raw, epoch=0)]
    flips = 0
    for image, moved in zip(images, found, strict=True):
        distances = [
            (torch.stack(shifted(one, 2)).float() - moved).abs().amax((1, 2, 3)).min()
            for one in (image, vision.hflip(image))
        ]
        assert min(distances) < 1e-2
        flips += int(distances[1] < 1e-2)
    assert 10 <= flips <= 30
