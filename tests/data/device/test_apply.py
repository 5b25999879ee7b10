import numpy as np
import pytest
import torch

from scaledrelu.data.device.apply import apply_layers
from scaledrelu.data.device.ops import Layer, Op, join_layers
from scaledrelu.data.device.policy import ENTRIES
from tests.helpers.pictures import (
    AMOUNTS,
    FILL,
    MOVES,
    OF_PILLOW,
    by_pillow,
    distance,
    golden_operations,
    layer,
    pictures,
)

EXACT = [op for op in OF_PILLOW if op not in MOVES]
SIZES = [(224, 224), (33, 48), (3, 8), (2, 2), (1, 3)]


def applied(images, *layers):
    return apply_layers(images, layers, fill=FILL)


def one_each(op):
    amounts = AMOUNTS.get(op, (0, 0))
    return layer([op] * len(amounts), list(amounts))


def test_operations_equal_the_official_arrays(fixtures):
    seen = set()
    for one in golden_operations(fixtures):
        op = ENTRIES[one.name].op
        found = applied(one.image[None], layer([op], [one.amount]))[0]
        off = distance(found, one.expected)
        assert off.max() <= (1 if op in MOVES else 0), one.key
        assert (off > 0).float().mean() < 0.01, one.key
        seen.add(one.name)
    assert len(seen) == 15


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("op", EXACT)
def test_levels_colours_and_neighbours_are_those_of_pillow(op, size):
    what = one_each(op)
    images = pictures(len(what.ops), *size)
    assert torch.equal(applied(images, what), by_pillow(images, [what]))


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("op", MOVES)
def test_moves_are_within_a_level_of_pillows_and_mostly_equal(op, size):
    what = one_each(op)
    images = pictures(len(what.ops), *size)
    off = distance(applied(images, what), by_pillow(images, [what]))
    assert off.max() <= 1
    assert off.sum() <= max(1, 0.02 * off.numel())


def test_moves_bring_in_the_fill_exactly_where_pillow_does():
    images = torch.full((7, 3, 32, 40), 255, dtype=torch.uint8)
    half = [0.5 / 40, 0.5 / 32]  # half a pixel: a source point lies on the edge
    ops = [*MOVES, Op.TRANSLATE_X, Op.TRANSLATE_Y]
    what = layer(ops, [0.27, -0.405, -0.3, 0.45, 27, *half])
    assert torch.equal(applied(images, what), by_pillow(images, [what]))


@pytest.mark.parametrize("op", [Op.AUTO_CONTRAST, Op.EQUALIZE, Op.CONTRAST])
def test_images_with_few_levels_are_those_of_pillow(op):
    flat = torch.full((3, 24, 24), 77, dtype=torch.uint8)
    two = (torch.arange(24 * 24).view(24, 24) % 5 == 0).byte().mul(13).add(90).expand(3, -1, -1)
    extreme = (torch.arange(24 * 24).view(24, 24) % 7 == 0).byte().mul(255).expand(3, -1, -1)
    mixed = torch.stack([flat[0], two[0], extreme[0]])
    halves = torch.stack([flat[0] - 44, two[0], two[0]])  # its ends, 33 and 183, round downwards
    halves[0, 0, 0] = 183
    images = torch.stack([flat, two, extreme, mixed, halves])
    what = layer([op] * 5, [1.9] * 5)
    assert torch.equal(applied(images, what), by_pillow(images, [what]))


def test_hues_of_all_colours_are_those_of_pillow():
    steps = torch.arange(0, 256, 5)
    colours = torch.cartesian_prod(steps, steps, steps).T.reshape(1, 3, 52, -1).byte()
    what = layer([Op.HUE], [0.07])
    assert torch.equal(applied(colours, what), by_pillow(colours, [what]))


def mixed_layers(count):
    draw = np.random.RandomState(0)
    layers = []
    for _ in range(3):
        ops = draw.choice([Op.NONE, *OF_PILLOW], count)
        amounts = [draw.choice(AMOUNTS.get(Op(op), (0,))) for op in ops]
        layers.append(layer(list(ops), amounts))
    return layers


def test_result_of_an_image_does_not_depend_on_the_others():
    images, layers = pictures(48, 24, 20), mixed_layers(48)
    together = applied(images, *layers)
    for i in range(48):
        alone = [Layer(one.ops[i : i + 1], one.amounts[i : i + 1]) for one in layers]
        assert torch.equal(applied(images[i : i + 1], *alone)[0], together[i])


def test_layers_come_one_after_the_other_with_whole_levels_in_between():
    images = pictures(48, 24, 20)
    layers = [
        Layer(np.where(np.isin(one.ops, MOVES), 0, one.ops), one.amounts)
        for one in mixed_layers(48)
    ]
    assert torch.equal(applied(images, *layers), by_pillow(images, layers))


def test_joined_layers_are_those_of_each_batch():
    first, second = mixed_layers(5), mixed_layers(3)
    images = pictures(8, 16, 16)
    found = applied(images, *join_layers([first, second]))
    assert torch.equal(found[:5], applied(images[:5], *first))
    assert torch.equal(found[5:], applied(images[5:], *second))


def test_input_is_left_alone():
    images = pictures(48, 24, 20).clone()
    before = images.clone()
    applied(images, *mixed_layers(48))
    assert torch.equal(images, before)


GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.mark.gpu
@GPU
def test_device_gives_the_images_that_the_host_gives():
    images, layers = pictures(96, 64, 48), mixed_layers(96)
    assert torch.equal(applied(images.cuda(), *layers).cpu(), applied(images, *layers))


@pytest.mark.gpu
@GPU
def test_nothing_waits_for_the_device():
    images, layers = pictures(96, 64, 48).cuda(), mixed_layers(96)
    applied(images, *layers)
    torch.cuda.set_sync_debug_mode("error")
    try:
        applied(images, *layers)
    finally:
        torch.cuda.set_sync_debug_mode("default")
