import random

import numpy as np
import pytest
import torch

from scaledrelu.data.augment import DeviceAugment
from scaledrelu.data.batch import RawBatch
from scaledrelu.data.datasets import open_digits
from scaledrelu.data.loaders import TrainLoader
from scaledrelu.data.transforms import reference_train
from scaledrelu.errors import ConfigError
from tests.helpers.configs import augment_with
from tests.helpers.pictures import pictures, to_pil
from tests.helpers.samples import same_distribution

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def augment(**fields):
    own = {"mean": MEAN, "std": STD, "seed": 0}
    own |= {name: fields.pop(name) for name in own if name in fields}
    return DeviceAugment(augment=augment_with(**{"crop": "shift"} | fields), **own)


def plain(**fields):
    """Augmentation without normalisation: pixels come out as they went in."""
    return augment(mean=[0.0] * 3, std=[1 / 255] * 3, **fields)


def raw(batch=64, size=16, *, first=0, views=None, images=None):
    generator = torch.Generator().manual_seed(0)
    if images is None:
        images = torch.randint(1, 256, (batch, 3, size, size), generator=generator).byte()
    indices = torch.arange(first, first + len(images))
    views = torch.zeros_like(indices) if views is None else views
    return RawBatch(images, torch.zeros_like(indices), indices, views, 0)


def part(whole, where):
    return RawBatch(
        whole.images[where], whole.targets[where], whole.indices[where], whole.views[where], 0
    )


FULL = {"shift": 2, "hflip": 0.5, "erasing": 0.5}
RAND = {"rand_augment": "rand-m9-mstd0.5-inc1"}
JITTER = {"color_jitter": 0.4}
ALL = pytest.mark.parametrize("fields", [FULL, FULL | RAND, JITTER], ids=["FULL", "RAND", "JITTER"])


@ALL
def test_result_of_an_image_does_not_depend_on_the_others_in_its_batch(fields):
    batch = raw()
    together = augment(**fields)(batch, epoch=3)
    order = torch.randperm(64, generator=torch.Generator().manual_seed(1))
    apart = augment(**fields)(part(batch, order[:20]), epoch=3)
    assert torch.equal(together[order[:20]], apart)


@ALL
@pytest.mark.parametrize("change", ["epoch", "seed", "view", "index"])
def test_another_key_draws_anew(change, fields):
    batch = raw()
    base = augment(**fields)(batch, epoch=0)
    other = raw(
        images=batch.images,
        views=torch.ones(64, dtype=torch.int64) if change == "view" else None,
        first=1000 if change == "index" else 0,
    )
    again = augment(**fields, seed=int(change == "seed"))(other, epoch=int(change == "epoch"))
    same = (base == again).flatten(1).all(1).float().mean()
    assert same < 0.2


def test_shift_moves_every_image_by_whole_pixels_with_zeros_coming_in():
    batch = raw(200)
    shifted = plain(shift=1)(batch, epoch=0)
    padded = torch.nn.functional.pad(batch.images.float(), [1] * 4)
    offsets = set()
    for i in range(200):
        matches = [
            (dy, dx)
            for dy in range(3)
            for dx in range(3)
            if torch.allclose(shifted[i], padded[i, :, dy : dy + 16, dx : dx + 16])
        ]
        assert len(matches) == 1
        offsets.update(matches)
    assert len(offsets) == 9


def test_flip_mirrors_its_share_of_the_images():
    batch = raw(400)
    flipped = plain(hflip=0.3)(batch, epoch=0)
    mirrored = (flipped - batch.images.flip(-1)).flatten(1).abs().amax(1) < 1e-3
    same = (flipped - batch.images).flatten(1).abs().amax(1) < 1e-3
    assert (mirrored ^ same).all()
    assert mirrored.float().mean().item() == pytest.approx(0.3, abs=0.07)


def test_crop_none_does_not_shift():
    batch = raw()
    assert torch.equal(plain(crop="none", shift=3)(batch, epoch=0), plain()(batch, epoch=0))


def test_normalisation_equals_that_of_torchvision():
    from torchvision.transforms import Normalize

    batch = raw()
    expected = Normalize(MEAN, STD)(batch.images.float() / 255)
    torch.testing.assert_close(augment()(batch, epoch=0), expected)
    torch.testing.assert_close(augment().normalise(batch.images), expected)


def test_images_of_the_reference_pipeline_pass_unchanged():
    floats = raw(images=torch.randn(4, 3, 8, 8))
    assert augment(rand_augment="rand-m9-n2", **FULL)(floats, epoch=0) is floats.images
    assert augment().normalise(floats.images) is floats.images


def test_input_is_left_alone():
    batch = raw()
    before = batch.images.clone()
    augment(**FULL)(batch, epoch=0)
    assert torch.equal(batch.images, before)


@pytest.mark.parametrize(
    "fields", [{"rand_augment": "augmix-m3"}, RAND | {"interpolation": "bilinear"}]
)
def test_what_only_the_reference_pipeline_offers_is_refused(fields):
    with pytest.raises(ConfigError, match=r"data\.augment=reference"):
        augment(**fields)


def test_colours_come_after_the_flip_and_before_the_erasing():
    batch = raw()
    flipped = raw(images=batch.images.flip(-1))
    mirrored = augment(hflip=1.0, **RAND)(batch, epoch=0)
    assert torch.equal(mirrored, augment(**RAND)(flipped, epoch=0))
    erased = augment(hflip=1.0, erasing=1.0, **RAND)(batch, epoch=0)
    noise = erased[erased != mirrored]
    assert len(noise.unique()) > 0.99 * len(noise)
    assert noise.std().item() == pytest.approx(1.0, abs=0.05)


def test_rand_augment_wins_over_colour_jitter_as_in_timm():
    batch = raw()
    assert torch.equal(augment(**RAND, **JITTER)(batch, epoch=0), augment(**RAND)(batch, epoch=0))


@pytest.mark.parametrize("fields", [RAND, JITTER], ids=["RAND", "JITTER"])
def test_images_are_distributed_as_those_of_the_reference_pipeline(fields):
    """Of one picture, many times: mean, contrast and a corner, where moves bring in the fill."""
    count, picture = 400, pictures(1, 24, 32)
    fields = {"crop": "none", "hflip": 0.5, **fields}
    images = raw(images=picture.expand(count, -1, -1, -1))
    ours = augment(**fields)(images, epoch=0)
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    size = {"image_size": (24, 32), "mean": MEAN, "std": STD}
    transform = reference_train(augment_with(**fields), **size)
    theirs = torch.stack([transform(to_pil(picture[0])) for _ in range(count)])
    for statistic in (
        lambda x: x.mean((1, 2, 3)),
        lambda x: x.std((1, 2, 3)),
        lambda x: x[:, 0, 0, 0],
        lambda x: x[:, 1].mean((1, 2)) - x[:, 2].mean((1, 2)),
    ):
        # Untouched images share a value, which the two pipelines round differently.
        found, expected = (statistic(x).numpy().round(4) for x in (ours, theirs))
        assert same_distribution(found, expected)


def test_batches_do_not_depend_on_groups_or_restarts():
    digits = open_digits(image_size=16).train.select(np.arange(32))
    on_device = augment(**FULL | RAND)

    def steps(groups, start_step=0):
        loader = TrainLoader(digits, groups=groups, num_groups=2, group_size=4, repeats=1, seed=0)
        found = loader.epoch(1, start_step=start_step)
        return torch.cat([on_device(batch, epoch=1) for step in found for batch in step])

    whole = steps([0, 1]).view(4, 2, 4, 3, 16, 16)
    assert torch.equal(whole[:, 1].flatten(0, 1), steps([1]))
    assert torch.equal(whole[2:].flatten(0, 2), steps([0, 1], start_step=2))


def test_erasing_fills_one_box_with_normal_noise_in_its_share_of_the_images():
    batch = raw(600, images=torch.full((600, 3, 24, 24), 200, dtype=torch.uint8))
    erased = augment(erasing=0.25)(batch, epoch=0)
    untouched = augment()(batch, epoch=0)
    changed = (erased != untouched).any(1)
    hit = changed.flatten(1).any(1)
    assert hit.float().mean().item() == pytest.approx(0.25, abs=0.05)
    for mask in changed[hit]:
        rows, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
        box = mask[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        assert box.all()
    noise = erased.permute(0, 2, 3, 1)[changed]
    assert noise.mean().item() == pytest.approx(0.0, abs=0.02)
    assert noise.std().item() == pytest.approx(1.0, abs=0.02)


def test_image_too_small_for_any_box_is_left_alone():
    batch = raw(50, 1)
    assert torch.equal(augment(erasing=1.0)(batch, epoch=0), augment()(batch, epoch=0))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@ALL
def test_device_gives_the_images_that_the_host_gives(fields):
    batch = raw()
    host = augment(**fields)(batch, epoch=0)
    device = augment(**fields)(batch.to("cuda"), epoch=0).cpu()
    torch.testing.assert_close(device, host, rtol=1e-4, atol=1e-4)
