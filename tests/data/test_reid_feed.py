"""Person images on their way into training: batches of P x K, and sizes that are not square."""

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
from scaledrelu.data.loaders import TrainLoader
from scaledrelu.data.sources import MemorySource
from scaledrelu.data.transforms import crop_train, eval_transform, fit_to, reference_train
from scaledrelu.errors import ConfigError
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
P, K, GROUPS = 6, 4, 2


def people(counts=(3, 4, 9, 17, 8, 8, 12, 5, 30, 4)):
    """Images in memory, each of one value: the position of the image; identities are mixed up."""
    targets = np.random.RandomState(0).permutation(np.repeat(np.arange(len(counts)), counts))
    images = torch.arange(len(targets), dtype=torch.uint8)[:, None, None, None]
    names = [str(position) for position in range(len(targets))]
    classes = tuple(str(person) for person in range(len(counts)))
    return MemorySource(images.repeat(1, 3, 4, 2), targets, classes, names=names)


def loader(source, **changes):
    fields = {
        "groups": range(GROUPS), "num_groups": GROUPS, "group_size": P * K // GROUPS,
        "repeats": 1, "seed": 0, "instances": K,
    }  # fmt: skip
    return TrainLoader(source, **fields | changes)


def contents(steps):
    return [
        (batch.group, *(a.tolist() for a in (batch.images, batch.targets, batch.indices)))
        for step in steps
        for batch in step
    ]


# --- batches


def test_every_update_holds_p_people_with_k_images_and_a_group_whole_people():
    source = people()
    seen = set()
    for epoch in range(5):
        for step in loader(source).epoch(epoch):
            whole = [np.unique(batch.targets, return_counts=True) for batch in step]
            assert [len(ids) for ids, _ in whole] == [P // GROUPS] * GROUPS
            assert all((counts == K).all() for _, counts in whole)
            drawn = np.concatenate([ids for ids, _ in whole])
            assert len(set(drawn)) == P, "a person is in one group alone"
            seen |= set(drawn)
            for batch in step:
                assert batch.targets.tolist() == source.targets[batch.indices].tolist()
                assert torch.equal(batch.images[:, 0, 0, 0].long(), batch.indices)
    assert seen == set(range(10))


def test_an_epoch_has_the_same_number_of_updates_whatever_is_drawn():
    source = people()
    for seed in range(3):
        trained = loader(source, seed=seed)
        lengths = {len(list(trained.epoch(epoch))) for epoch in range(8)}
        assert lengths == {trained.steps_per_epoch} == {loader(source).steps_per_epoch}
    assert trained.steps_per_epoch > 1


def test_an_epoch_goes_on_from_any_step_in_a_new_loader():
    source = people()
    for epoch in (0, 3):
        whole = contents(loader(source).epoch(epoch))
        steps = len(whole) // GROUPS
        for start in range(steps + 1):
            rest = contents(loader(source).epoch(epoch, start_step=start))
            assert rest == whole[start * GROUPS :]
    assert contents(loader(source).epoch(0)) != whole


def test_processes_together_see_what_one_process_sees():
    source = people()
    alone = contents(loader(source).epoch(2))
    shared = zip(*(loader(source, groups=[group]).epoch(2) for group in range(2)), strict=True)
    assert contents([*first, *second] for first, second in shared) == alone


def test_without_instances_images_are_drawn_one_by_one():
    steps = list(loader(people(), instances=None).epoch(0))
    counts = [np.unique(batch.targets, return_counts=True)[1] for s in steps for batch in s]
    assert any((found != K).any() for found in counts)
    images = [i for step in steps for batch in step for i in batch.indices.tolist()]
    assert len(images) == len(set(images)) == 100 // (P * K) * P * K


def test_groups_that_would_cut_a_person_in_two_are_refused():
    with pytest.raises(ConfigError, match=r"batch\.group=10: must be a multiple of the 4 images"):
        loader(people(), group_size=10)


# --- images that are not square


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
