"""RandAugment changes the image as timm does, and moves the cells of the map with the pixels."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

from scaledrelu.labels.rand_augment import (
    MOVES,
    Change,
    DrawRandAugment,
    move_map,
    moved_labels,
)
from tests.helpers.label_maps import some_map
from tests.helpers.pictures import as_tensor, gradient
from tests.helpers.seeds import seed

MEAN = [0.485, 0.456, 0.406]
POLICY = "rand-m9-mstd0.5-inc1"


def pattern(side=64, cells=16):
    """An image made of a map: grey levels that change slowly, and the same levels as logits."""
    r, c = np.mgrid[:cells, :cells]
    levels = 128 + 60 * np.sin(2 * math.pi * r / cells) + 60 * np.cos(2 * math.pi * c / cells)
    grey = Image.fromarray(levels.astype(np.uint8)).resize((side, side), Image.Resampling.BILINEAR)
    values = torch.from_numpy(levels.astype(np.uint8)).float() / 255
    classes = torch.full((cells, cells), 3.0)
    labels = torch.stack((values, classes))[:, None].expand(2, 5, cells, cells).half().clone()
    return Image.merge("RGB", [grey] * 3), labels


def agreement(image, labels):
    """Correlation of the content of an image with the logits of its map, cell by cell."""
    cells = labels.shape[-1]
    pooled = torch.nn.functional.adaptive_avg_pool2d(torch.as_tensor(image).float()[None], cells)
    return float(
        torch.corrcoef(torch.stack((pooled[0, 0].flatten(), labels[0, 0].flatten())))[0, 1]
    )


@pytest.mark.parametrize("name", list(MOVES))
@pytest.mark.parametrize("sign", [1, -1])
def test_geometric_operations_move_image_and_map_together(name, sign):
    from timm.data.auto_augment import NAME_TO_OP

    image, labels = pattern()
    assert agreement(as_tensor(image), labels) > 0.98
    amount = sign * {"Rotate": 30.0, "ShearX": 0.5, "ShearY": 0.5}.get(name, 0.25)
    how = {"resample": Image.Resampling.BILINEAR, "fillcolor": (0, 0, 0)}
    moved = as_tensor(NAME_TO_OP[name](image, amount, **how))
    together = move_map(labels, MOVES[name](amount, 16, 16))
    other_way = move_map(labels, MOVES[name](-amount, 16, 16))
    assert agreement(moved, together) > 0.8
    assert (
        agreement(moved, together)
        > max(agreement(moved, labels), agreement(moved, other_way)) + 0.1
    )


def test_every_operation_that_moves_pixels_moves_cells():
    draw = DrawRandAugment(POLICY, image_size=32, mean=MEAN, interpolation="bilinear")
    flat, labels = Image.new("RGB", (32, 32), (60, 60, 60)), some_map()
    seen = set()
    for value in range(200):
        seed(value)
        for change in draw():
            # Only pixels that move let the fill colour in: the others keep a flat image flat.
            still_flat = len(change(flat).getcolors()) == 1
            moved = not torch.equal(moved_labels(labels, [change]), labels)
            assert moved == (not still_flat) == (change.name in MOVES), change
            seen.add(change.name)
    assert seen >= set(MOVES)
    assert len(seen) == 15


@pytest.mark.parametrize("interpolation", ["bicubic", "random"])
def test_the_image_is_augmented_exactly_as_by_timm(interpolation):
    from timm.data.auto_augment import rand_augment_transform
    from timm.data.transforms import str_to_pil_interp

    ours = DrawRandAugment(POLICY, image_size=32, mean=MEAN, interpolation=interpolation)
    hparams = {"translate_const": 14, "img_mean": (124, 116, 104)}
    if interpolation != "random":
        hparams["interpolation"] = str_to_pil_interp(interpolation)
    timms = rand_augment_transform(POLICY, hparams)
    image, labels = gradient(), some_map()
    moved = 0
    for value in range(40):
        seed(value)
        expected = np.array(timms(image))
        seed(value)
        changes, found = ours(), image
        for change in changes:
            found = change(found)
        assert np.array_equal(np.array(found), expected)
        moved += not torch.equal(moved_labels(labels, changes), labels)
    assert 5 < moved < 35


@pytest.mark.parametrize("name", list(MOVES))
@pytest.mark.parametrize("amount", [0.13, -0.405, 27.0, -3.7])
def test_maps_are_moved_as_by_scipy(name, amount):
    from scipy import ndimage

    labels, move = some_map(side=7), MOVES[name](amount, 7, 7)
    matrix = [[1, 0, 0, 0], [0, move.rr, move.rc, move.r0], [0, move.cr, move.cc, move.c0]]
    plane, classes = (x.float().numpy() for x in labels)
    value = ndimage.affine_transform(plane, matrix=matrix, order=0, mode="constant")
    index = ndimage.affine_transform(classes, matrix=matrix, order=0, mode="nearest")
    found = move_map(labels, move)
    assert np.array_equal(found[0].float().numpy(), value)
    assert np.array_equal(found[1].float().numpy(), index)


def turned_officially(labels: np.ndarray, degrees: float, *, mode: str) -> np.ndarray:
    """Turn K x h x w labels in the order of sums of TLT's rotate_label and of scipy."""
    from scipy import ndimage

    half_r, half_c = (side / 2.0 for side in labels.shape[1:])
    angle = math.radians(degrees)
    cos, sin = round(math.cos(angle), 15), round(math.sin(angle), 15)
    minus_sin = round(-math.sin(angle), 15)
    r0 = cos * -half_r + sin * -half_c + 0.0
    c0 = minus_sin * -half_r + cos * -half_c + 0.0
    matrix = [[1, 0, 0, 0], [0, cos, sin, r0 + half_r], [0, minus_sin, cos, c0 + half_c]]
    return ndimage.affine_transform(labels, matrix=matrix, order=0, mode=mode)


@pytest.mark.parametrize("degrees", [30.0, -30.0, 15.0, -2.7])
@pytest.mark.parametrize("height", range(3, 31))
def test_maps_of_every_size_turn_as_officially_where_sources_lie_between_two_cells(height, degrees):
    for width in (height, height + 1, 2 * height):
        cells = torch.arange(1.0, height * width + 1).reshape(1, height, width)
        labels = torch.stack([cells, cells])
        found = moved_labels(labels, [Change("Rotate", Image.Image.rotate, (degrees,))]).numpy()
        for part, mode in zip(found, ("constant", "nearest"), strict=True):
            assert np.array_equal(part, turned_officially(cells.numpy(), degrees, mode=mode))


def test_cells_from_outside_have_logit_zero():
    found = move_map(some_map(), MOVES["TranslateXRel"](0.5, 6, 6))
    assert (found[0, :, :, 3:] == 0).all()
    assert torch.equal(found[:, :, :, :3], some_map()[:, :, :, 3:])
