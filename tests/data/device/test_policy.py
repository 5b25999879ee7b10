import random

import numpy as np
import pytest
import torch
from timm.data.auto_augment import rand_augment_transform

from scaledrelu.data.device.apply import apply_layers
from scaledrelu.data.device.draws import keyed_uniforms
from scaledrelu.data.device.ops import Layer, Op
from scaledrelu.data.device.policy import ENTRIES, RandAugment
from scaledrelu.data.pixels import to_pixels
from scaledrelu.errors import ConfigError
from tests.helpers.pictures import FILL, distance, pictures, to_pil
from tests.helpers.samples import same_counts, same_distribution

OFFICIAL = "rand-m9-mstd0.5-inc1"


class Recorder:
    """timm's RandAugment that also says what it drew."""

    def __init__(self, policy=OFFICIAL, *, act=True):
        hparams = {"translate_const": 100, "img_mean": FILL, "interpolation": 3}
        self.timm = rand_augment_transform(policy, hparams)
        self.drawn = []
        for op in self.timm.ops:
            op.aug_fn = self._noting(op.name, op.aug_fn if act else None)

    def _noting(self, name, change):
        def noting(image, *amount, **kwargs):
            self.drawn.append((name, *amount))
            return image if change is None else change(image, *amount, **kwargs)

        return noting

    def __call__(self, image):
        """Return the augmented image and its layers."""
        self.drawn = []
        image = self.timm(image)
        layers = [
            Layer(np.array([int(ENTRIES[name].op)]), np.array([float(sum(amount))]))
            for name, *amount in self.drawn
        ]
        return image, layers


def seeded(seed):
    random.seed(seed)
    np.random.seed(seed)


@pytest.mark.parametrize("seed", range(6))
def test_whole_policy_equals_the_official_arrays(fixtures, seed):
    arrays = np.load(fixtures / "randaugment.npz")
    image = torch.from_numpy(arrays["in_gradient"]).permute(2, 0, 1)
    seeded(seed)
    _, layers = Recorder()(to_pil(image))
    found = apply_layers(image[None], layers, fill=FILL)[0]
    expected = torch.from_numpy(arrays[f"policy_seed{seed}"]).permute(2, 0, 1)
    assert distance(found, expected).max() <= 1


def test_whole_policy_is_timms_on_many_images():
    images, recorder = pictures(60, 64, 64), Recorder()
    seeded(0)
    off = []
    for image in images:
        expected, layers = recorder(to_pil(image))
        found = apply_layers(image[None], layers, fill=FILL)[0]
        off.append(distance(found, to_pixels(expected)).float())
    off = torch.stack(off)
    # A second operation may enlarge a difference of one level, in few places.
    assert off.mean() < 0.001
    assert (off > 0).float().mean() < 0.0005


def drawn_by_timm(policy, count):
    recorder = Recorder(policy, act=False)
    seeded(1)
    found = {}
    for _ in range(count):
        recorder(None)
        for name, *amount in recorder.drawn:
            found.setdefault(ENTRIES[name].op, []).append(float(sum(amount)))
    return found


def drawn_by_us(policy, count):
    augment = RandAugment(policy, interpolation="bicubic")
    keys = np.arange(count), np.zeros(count, dtype=np.int64)
    layers = augment.layers(keyed_uniforms(0, *keys, augment.num_draws))
    ops = np.concatenate([one.ops for one in layers])
    amounts = np.concatenate([one.amounts for one in layers])
    return {Op(op): amounts[ops == op] for op in np.unique(ops) if op}


# Amount of magnitude 10 where the amount is proportional to the magnitude.
FULL = {
    Op.ROTATE: 30.0,
    Op.SHEAR_X: 0.3,
    Op.SHEAR_Y: 0.3,
    Op.TRANSLATE_X: 0.45,
    Op.TRANSLATE_Y: 0.45,
}
FACTORS = (Op.COLOR, Op.CONTRAST, Op.BRIGHTNESS, Op.SHARPNESS)


def magnitudes(drawn):
    moves = [np.abs(drawn[op]) / full for op, full in FULL.items()]
    return np.concatenate([*moves, *(np.abs(np.array(drawn[op]) - 1) / 0.9 for op in FACTORS)])


@pytest.mark.parametrize(
    ("policy", "count"), [(OFFICIAL, 10_000), ("rand-m7-mstd101-n3-p0.8-mmax9", 2000)]
)
def test_draws_are_distributed_as_timms(policy, count):
    ours, theirs = drawn_by_us(policy, count), drawn_by_timm(policy, count)
    assert set(ours) == set(theirs)
    assert same_counts([len(ours[op]) for op in ours], [len(theirs[op]) for op in ours])
    for op, amounts in ours.items():
        assert same_distribution(amounts, theirs[op]), op
    if policy == OFFICIAL:
        assert same_distribution(magnitudes(ours).round(9), magnitudes(theirs).round(9))


def test_two_operations_of_an_image_are_drawn_apart():
    augment = RandAugment("rand-m9-mstd0.5-inc1-p1.0", interpolation="bicubic")
    count = 10_000
    keys = np.arange(count), np.zeros(count, dtype=np.int64)
    first, second = augment.layers(keyed_uniforms(0, *keys, augment.num_draws))
    pairs = np.bincount(first.ops * 32 + second.ops, minlength=1024)
    expected = count / 225
    assert (pairs > 0).sum() == 225
    assert ((pairs[pairs > 0] - expected) ** 2 / expected).sum() < 290  # 224 degrees of freedom


@pytest.mark.parametrize("policy", ["augmix-m3-w3", "v0", "3a", "rand-m9-tweights", "rand-t3a"])
def test_policies_of_the_reference_pipeline_alone_are_refused(policy):
    with pytest.raises(ConfigError, match=r"works only with data\.augment=reference") as caught:
        RandAugment(policy, interpolation="bicubic")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("filter_", ["bilinear", "nearest", "random"])
def test_other_filters_are_refused(filter_):
    with pytest.raises(ConfigError, match=f"augment.interpolation={filter_}.*needs bicubic"):
        RandAugment(OFFICIAL, interpolation=filter_)
