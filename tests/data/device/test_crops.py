from dataclasses import replace

import numpy as np
import pytest
import torch

from scaledrelu.config.augment import MultiCropConfig
from scaledrelu.config.construct import construct
from scaledrelu.data.batch import RawBatch
from scaledrelu.data.device.crops import CropAugment
from scaledrelu.data.device.draws import keyed_uniforms
from scaledrelu.data.device.ops import Op
from scaledrelu.data.multicrop import BLUR_RADIUS
from tests.helpers.pictures import pictures
from tests.helpers.samples import same_distribution

DINO = {
    "num_local": 3, "local_size": 8, "global_scale": [0.4, 1.0], "local_scale": [0.05, 0.4],
    "jitter": [0.4, 0.4, 0.2, 0.1], "jitter_prob": 0.8, "grey_prob": 0.2,
    "blur_prob": [1.0, 0.1, 0.5], "solarize_prob": 0.2, "pipeline": "device",
}  # fmt: skip
STILL = {"jitter_prob": 0.0, "grey_prob": 0.0, "blur_prob": [0.0, 0.0, 0.0], "solarize_prob": 0.0}


def augment(hflip=0.5, seed=0, **changes):
    crops = construct(MultiCropConfig, {**DINO, **changes})
    return CropAugment(crops, hflip=hflip, seed=seed)


def raw(count=8, *, first=0, view=0):
    indices = torch.arange(first, first + count)
    views = torch.full_like(indices, view)
    images, local = pictures(2 * count, 16, 16), pictures(3 * count, 8, 8)
    return RawBatch(images, indices, indices, views, 0, local=local)


def part(whole, where):
    """The images of a group at some positions, with all their crops."""
    count = len(whole.indices)
    large, small = (x.unflatten(0, (-1, count))[:, where].flatten(0, 1)
                    for x in (whole.images, whole.local))  # fmt: skip
    indices, views = whole.indices[where], whole.views[where]
    return RawBatch(large, indices, indices, views, 0, local=small)


def same(first, second):
    return torch.equal(first.images, second.images) and torch.equal(first.local, second.local)


def test_result_of_an_image_does_not_depend_on_the_others_in_its_batch():
    batch, where = raw(), torch.tensor([6, 1, 3])
    together = augment()(batch, epoch=2)
    assert same(part(together, where), augment()(part(batch, where), epoch=2))


def test_a_group_without_local_crops_has_none():
    batch = raw()
    bare = RawBatch(batch.images, batch.targets, batch.indices, batch.views, 0)
    found = augment()(bare, epoch=2)
    assert found.local is None
    assert torch.equal(found.images, augment()(batch, epoch=2).images)


@pytest.mark.parametrize("change", ["epoch", "seed", "view", "index"])
def test_another_key_draws_anew(change):
    batch = raw()
    base = augment()(batch, epoch=0)
    other = raw(first=100 * (change == "index"), view=int(change == "view"))
    again = augment(seed=int(change == "seed"))(other, epoch=int(change == "epoch"))
    assert not torch.equal(base.images[0], again.images[0])
    equal = (base.images == again.images).flatten(1).all(1).float().mean()
    assert equal < 0.3


def test_crops_of_an_image_are_drawn_apart():
    batch = raw(400)
    mirrored = augment(**STILL)(batch, epoch=0)
    flips = [
        (found != made).flatten(1).any(1)
        for found, made in ((mirrored.images, batch.images), (mirrored.local, batch.local))
    ]
    flips = torch.cat(flips).view(5, -1).double()  # fmt: skip
    assert (flips.mean(1) - 0.5).abs().max() < 0.1
    assert torch.corrcoef(flips).fill_diagonal_(0).abs().max() < 0.2


def test_a_flip_exchanges_left_and_right():
    batch = raw()
    found = augment(hflip=1.0, **STILL)(batch, epoch=0)
    assert torch.equal(found.images, batch.images.flip(-1))
    assert torch.equal(found.local, batch.local.flip(-1))


def test_still_crops_stay_as_they_are():
    batch = raw()
    assert same(augment(hflip=0.0, **STILL)(batch, epoch=0), batch)


@pytest.mark.parametrize(
    ("crop", "blur", "solarize"), [(0, 1.0, 0.0), (1, 0.1, 0.2), (4, 0.5, 0.0)]
)
def test_operations_come_in_the_official_order_and_as_often(crop, blur, solarize):
    keys = np.arange(4000), np.zeros(4000, dtype=np.int64)
    *jitter, grey, soft, solar = augment().layers(keyed_uniforms(0, *keys, 14), crop)
    assert len(jitter) == 4
    assert abs(np.any([one.ops for one in jitter], axis=0).mean() - 0.8) < 0.03
    for one, op, share in (
        (grey, Op.GREY, 0.2),
        (soft, Op.BLUR, blur),
        (solar, Op.SOLARIZE, solarize),
    ):
        assert abs((one.ops == op).mean() - share) < 0.03
        assert set(one.ops) <= {0, op}
    assert same_distribution(soft.amounts, np.random.RandomState(0).uniform(*BLUR_RADIUS, 4000))
    assert set(solar.amounts) == {128}


def test_input_is_left_alone():
    batch, before = raw(), raw()
    batch = RawBatch(batch.images.clone(), batch.targets, batch.indices, batch.views, 0,
                     local=batch.local.clone())  # fmt: skip
    augment()(batch, epoch=0)
    assert same(batch, before)


def test_crops_that_are_normalised_already_are_left_alone():
    group = raw()
    noise = replace(group, images=torch.randn(group.images.shape), local=None)
    assert augment()(noise, epoch=0) is noise
