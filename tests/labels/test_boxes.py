"""A box of an augmented image has the pixels of the whole image, changed and then cut."""

from __future__ import annotations

import random
from itertools import product

import numpy as np
import pytest
import torch
from PIL import Image
from timm.data.auto_augment import NAME_TO_OP, rand_augment_transform

from scaledrelu.data.regions import Encoded
from scaledrelu.labels.boxes import REACH, Box, Whole, changed_box
from scaledrelu.labels.rand_augment import MOVES, Change, DrawRandAugment
from tests.helpers.pictures import as_tensor

MEAN = (0.485, 0.456, 0.406)
POLICY = "rand-m9-mstd0.5-inc1"
HEIGHT, WIDTH = 61, 84
BOXES = [
    Box(0, 0, HEIGHT, WIDTH),
    Box(0, 0, 9, 11),
    Box(HEIGHT - 7, WIDTH - 10, 7, 10),
    Box(20, 31, 30, 25),
    Box(60, 0, 1, 1),
]


def picture(seed: int = 0) -> Image.Image:
    """An image with structure at every scale, no symmetry and levels of all sizes."""
    draw = np.random.default_rng(seed)
    coarse = draw.integers(0, 256, (9, 12, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))
    noisy = smooth + draw.normal(0, 20, smooth.shape)
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))


def cut(image: Image.Image, box: Box) -> np.ndarray:
    rows, columns = slice(box.top, box.top + box.height), slice(box.left, box.left + box.width)
    return np.asarray(image)[rows, columns]


def operations(policy: str, interpolation: Image.Resampling) -> list[Change]:
    """Every operation of a policy of timm, with an amount near that of magnitude 9.

    At 9 itself, source points lie on pixels, and the last bit of a sum decides between two levels.
    """
    made = rand_augment_transform(policy, {"img_mean": (124, 116, 104)})
    found = []
    for op in made.ops:
        amounts = op.level_fn(8.9137, op.hparams) if op.level_fn else ()
        options = {"fillcolor": (124, 116, 104), "resample": interpolation}
        found.append(Change(op.name, NAME_TO_OP[op.name], tuple(amounts), options))
    return found


@pytest.mark.parametrize("policy", [POLICY, "rand-m9", "rand-m5-t3a"])
@pytest.mark.parametrize("mode", [Image.Resampling.BICUBIC, Image.Resampling.BILINEAR])
def test_a_box_after_one_operation_is_that_of_the_whole_image(
    policy: str, mode: Image.Resampling
) -> None:
    random.seed(0)  # signs of the amounts
    image, seen = picture(), set()
    for change, box in product(operations(policy, mode), BOXES):
        found = np.asarray(changed_box(Whole(image, mirrored=False), [change], box))
        assert np.array_equal(found, cut(change(image), box)), (change, box)
        seen.add(change.name)
    assert seen & set(MOVES) or policy.endswith("t3a")
    assert seen & set(REACH)


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_box_after_two_operations_is_that_of_the_whole_image(mirrored: bool) -> None:
    image = picture(1)
    turned = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirrored else image
    random.seed(1)
    changes = operations(POLICY, Image.Resampling.BICUBIC)
    for first, second in product(changes, changes):
        box = BOXES[(len(first.name) + 3 * len(second.name)) % len(BOXES)]
        found = changed_box(Whole(image, mirrored=mirrored), [first, second], box)
        expected = cut(second(first(turned)), box)
        assert np.array_equal(np.asarray(found), expected), (first, second, box)


def test_draws_and_boxes_are_those_of_timm_on_the_whole_image() -> None:
    ours = DrawRandAugment(POLICY, image_size=32, mean=MEAN, interpolation="random")
    hparams = {"translate_const": 14, "img_mean": (124, 116, 104)}
    timms, image, box = rand_augment_transform(POLICY, hparams), picture(2), Box(5, 8, 40, 60)
    states, numbers = set(), set()
    for value in range(150):
        random.seed(value), np.random.seed(value)
        whole = timms(image)
        after = random.getstate()
        random.seed(value), np.random.seed(value)
        changes = ours()
        assert random.getstate() == after  # nothing is left to be drawn later
        found = changed_box(Whole(image, mirrored=False), changes, box)
        assert np.array_equal(np.asarray(found), cut(whole, box)), changes
        states.add(tuple(change.name for change in changes))
        numbers.add(len(changes))
    assert numbers == {0, 1, 2}
    assert len(states) > 50


def test_the_image_that_was_given_stays_as_it_is() -> None:
    image = picture(3)
    before = np.array(image)
    for change in operations(POLICY, Image.Resampling.BICUBIC):
        changed_box(Whole(image, mirrored=True), [change], BOXES[3])
    assert np.array_equal(np.asarray(image), before)


class Noted(Encoded):
    """A JPEG that notes which boxes of it are decoded."""

    def __init__(self, image: Image.Image):
        super().__init__("a.jpg", b"", height=image.height, width=image.width)
        self.pixels, self.boxes = as_tensor(image), []

    def crop(self, top: int, left: int, height: int, width: int) -> torch.Tensor:
        self.boxes.append(Box(top, left, height, width))
        return self.pixels[:, top : top + height, left : left + width]


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("kind", ["pillow", "tensor", "encoded"])
def test_boxes_of_all_kinds_of_images_are_alike(kind: str, mirrored: bool) -> None:
    image, box = picture(4), BOXES[3]
    turned = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirrored else image
    given = {"pillow": image, "tensor": as_tensor(image), "encoded": Noted(image)}[kind]
    whole = Whole(given, mirrored=mirrored)
    assert whole.box == Box(0, 0, HEIGHT, WIDTH)
    assert tuple(whole.outline.shape) == (3, HEIGHT, WIDTH)
    assert np.array_equal(np.asarray(whole.cut(box)), cut(turned, box))
    assert np.array_equal(np.asarray(whole.cut(whole.box)), np.asarray(turned))


def test_only_what_the_operations_look_at_is_decoded() -> None:
    by_name = {change.name: change for change in operations(POLICY, Image.Resampling.BICUBIC)}
    box, all_of_it = BOXES[3], Box(0, 0, HEIGHT, WIDTH)
    expected = {
        (): box,
        ("Invert", "SolarizeAdd"): box,
        ("SharpnessIncreasing",): Box(19, 30, 32, 27),
        ("SharpnessIncreasing", "Invert", "SharpnessIncreasing"): Box(18, 29, 34, 29),
        ("Equalize", "Invert"): all_of_it,
        ("Invert", "Rotate"): all_of_it,
    }
    for names, decoded in expected.items():
        image = Noted(picture(5))
        changed_box(Whole(image, mirrored=False), [by_name[name] for name in names], box)
        assert image.boxes == [decoded], names
    image = Noted(picture(5))
    changed_box(Whole(image, mirrored=True), [], box)
    assert image.boxes == [Box(20, WIDTH - 31 - 25, 30, 25)]
