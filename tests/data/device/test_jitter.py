import itertools

import numpy as np
import torch
from torchvision.transforms import ColorJitter

from scaledrelu.data.device.apply import apply_layers
from scaledrelu.data.device.draws import keyed_uniforms
from scaledrelu.data.device.jitter import ColourJitter
from scaledrelu.data.device.ops import Op
from scaledrelu.data.pixels import to_pixels
from tests.helpers.pictures import pictures, to_pil
from tests.helpers.samples import same_counts, same_distribution

DINO = (0.4, 0.4, 0.2, 0.1)
OPS = [Op.BRIGHTNESS, Op.CONTRAST, Op.COLOR, Op.HUE]


def layers(count, strengths, **fields):
    jitter = ColourJitter(strengths, **fields)
    keys = np.arange(count), np.zeros(count, dtype=np.int64)
    return jitter.layers(keyed_uniforms(3, *keys, jitter.num_draws))


def test_draws_are_distributed_as_those_of_torchvision():
    count = 2000
    torch.manual_seed(0)
    theirs = ColorJitter(*DINO)
    orders, factors = [], []
    for _ in range(count):
        order, *amounts = theirs.get_params(
            theirs.brightness, theirs.contrast, theirs.saturation, theirs.hue
        )
        orders.append(tuple(order.tolist()))
        factors.append(amounts)
    ours = layers(count, DINO)
    drawn = np.stack([one.ops for one in ours], axis=1)
    amounts = np.stack([one.amounts for one in ours], axis=1)
    for k, op in enumerate(OPS):
        assert same_distribution(amounts[drawn == op], np.array(factors)[:, k]), op
    ranks = [tuple(OPS.index(op) for op in row) for row in drawn]
    every = list(itertools.permutations(range(4)))
    assert same_counts([ranks.count(one) for one in every], [orders.count(one) for one in every])


def test_images_are_those_of_torchvision_with_the_same_draws(monkeypatch):
    images, ours = pictures(24, 20, 28), layers(24, DINO)
    found = apply_layers(images, ours)
    theirs = ColorJitter(*DINO)
    for i, image in enumerate(images):
        amounts = {one.ops[i]: one.amounts[i] for one in ours}
        order = [OPS.index(one.ops[i]) for one in ours]
        draws = (torch.tensor(order), *(float(amounts[op]) for op in OPS))
        monkeypatch.setattr(theirs, "get_params", lambda *_, draws=draws: draws)
        assert torch.equal(found[i], to_pixels(theirs(to_pil(image))))


def test_jitter_happens_as_often_as_asked():
    hit = np.any([one.ops for one in layers(4000, DINO, probability=0.8)], axis=0)
    assert abs(hit.mean() - 0.8) < 0.03


def test_what_has_no_strength_is_left_out():
    for strengths in [(0.3, 0.3, 0.3), (0.3, 0.3, 0.3, 0.0)]:
        found = np.stack([one.ops for one in layers(100, strengths)])
        assert {tuple(row) for row in np.sort(found, axis=0).T} == {(Op.NONE, *OPS[:3])}
    assert not np.any([one.ops for one in layers(100, (0.0,) * 4)])


def test_strong_jitter_keeps_factors_at_or_above_zero():
    for one in layers(500, (2.0, 2.0, 2.0, 0.5)):
        low, high = np.where(one.ops == Op.HUE, [[-0.5], [0.5]], [[0.0], [3.0]])
        assert ((low <= one.amounts) & (one.amounts <= high)).all()
