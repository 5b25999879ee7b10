"""Crops of tensors are Pillow's crops, to a small part of a grey level."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from PIL import Image

from scaledrelu.data import crops
from scaledrelu.data.crops import crop_tensor, eval_tensor, multi_crop_tensor, resized
from scaledrelu.data.datasets import scan_folder
from scaledrelu.data.multicrop import multi_crop
from scaledrelu.data.pixels import decode_pixels, to_pixels
from scaledrelu.data.transforms import crop_train, eval_transform
from tests.helpers.configs import augment_with

RRC = {"crop": "random_resized", "crop_scale": [0.08, 1.0], "crop_ratio": [3 / 4, 4 / 3]}
MULTI = {
    "num_local": 8, "local_size": 96, "global_scale": [0.4, 1.0], "local_scale": [0.05, 0.4],
    "jitter": [0.0] * 4, "jitter_prob": 0.0, "grey_prob": 0.0, "blur_prob": [0.0] * 3,
    "solarize_prob": 0.0, "pipeline": "device",
}  # fmt: skip
MEAN_LEVELS = 0.05  # what a crop may differ from Pillow's in the mean


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    noise = np.random.RandomState(seed).randint(0, 256, (height, width, 3), dtype=np.uint8)
    rough = Image.fromarray(noise)
    smooth = rough.resize((width // 8, height // 8)).resize((width, height))
    return Image.blend(smooth, rough, 0.3)


def difference(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    assert ours.dtype == theirs.dtype == torch.uint8
    assert ours.shape == theirs.shape
    return float((ours.int() - theirs.int()).abs().float().mean())


def bytes_of(transform, image: Image.Image) -> torch.Tensor:
    """Return what an evaluation transform cuts out, before it is normalised."""
    return (transform(image) * 255).round().to(torch.uint8)


def still(size, crop: float):
    return eval_transform(image_size=size, crop=crop, mean=[0.0] * 3, std=[1.0] * 3)


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("size", [64, (96, 48)])
def test_a_random_crop_is_pillows_at_the_same_place(interpolation: str, size) -> None:
    augment = augment_with(**RRC, interpolation=interpolation)
    ours, theirs = crop_tensor(augment, image_size=size), crop_train(augment, image_size=size)
    for seed in range(12):
        image, found = picture(150 + 9 * seed, 170 - 8 * seed, seed), []
        for transform in (ours, theirs):
            random.seed(seed)
            found.append(transform(image))
        assert difference(*found) <= MEAN_LEVELS


@pytest.mark.parametrize(("width", "height"), [(301, 260), (220, 333), (256, 256), (90, 70)])
@pytest.mark.parametrize(("size", "crop"), [(224, 0.875), (224, 0.96), (32, 0.875), ((64, 32), 1)])
def test_evaluation_cuts_what_pillow_cuts(width: int, height: int, size, crop: float) -> None:
    image = picture(width, height)
    ours = eval_tensor(image_size=size, crop=crop)(to_pixels(image))
    assert difference(ours, bytes_of(still(size, crop), image)) <= MEAN_LEVELS


def test_small_images_keep_their_pixels() -> None:
    image = picture(32, 32)
    assert torch.equal(eval_tensor(image_size=32, crop=0.875)(image), to_pixels(image))


@pytest.mark.parametrize("crop", ["shift", "none"])
def test_an_image_that_is_not_cut_at_random_is_fitted(crop: str) -> None:
    augment, image = augment_with(crop=crop), picture(70, 60)
    ours, theirs = crop_tensor(augment, image_size=48), crop_train(augment, image_size=48)
    assert difference(ours(image), theirs(image)) <= MEAN_LEVELS


def test_the_crops_of_dino_have_the_sizes_and_areas_of_the_pillow_path() -> None:
    augment = augment_with(crop_ratio=[3 / 4, 4 / 3], multi_crop=MULTI)
    paths = [make(augment, image_size=224) for make in (multi_crop_tensor, multi_crop)]
    ramp = np.broadcast_to(np.linspace(0, 255, 240).astype(np.uint8)[None, :, None], (240, 240, 3))
    widths = []
    for seed, transform in enumerate(paths):
        random.seed(seed), torch.manual_seed(seed)
        views = [transform(Image.fromarray(ramp.copy())) for _ in range(12)]
        assert {len(v.images) for v in views} == {2}
        assert {len(v.local) for v in views} == {8}
        assert {tuple(x.shape) for v in views for x in v.images} == {(3, 224, 224)}
        assert {tuple(x.shape) for v in views for x in v.local} == {(3, 96, 96)}
        spread = [
            [float(x[0].max()) - float(x[0].min()) for v in views for x in getattr(v, name)]
            for name in ("images", "local")
        ]
        widths.append([np.mean(s) / 255 for s in spread])
    assert np.allclose(*widths, atol=0.08)


def test_every_crop_of_dino_is_pillows_at_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    transform = multi_crop_tensor(
        augment_with(crop_ratio=[3 / 4, 4 / 3], multi_crop=MULTI), image_size=224
    )
    boxes, draw = [], crops.draw_box
    monkeypatch.setattr(crops, "draw_box", lambda *a: boxes.append(draw(*a)) or boxes[-1])
    image = picture(300, 250)
    views = transform(image)
    for view, (top, left, height, width) in zip((*views.images, *views.local), boxes, strict=True):
        part = image.crop((left, top, left + width, top + height))
        expected = to_pixels(part.resize(view.shape[:0:-1], Image.Resampling.BICUBIC))
        assert difference(view, expected) <= MEAN_LEVELS


@pytest.mark.parametrize("size", [(1, 1), (3, 1), (2, 2)])
def test_a_box_of_an_image_of_a_few_pixels_has_one_at_least(size: tuple[int, int]) -> None:
    transform = crop_tensor(augment_with(**RRC), image_size=8)
    random.seed(0)
    for _ in range(60):
        assert transform(Image.new("RGB", size, (9, 99, 199)))[:, 0, 0].tolist() == [9, 99, 199]


def test_a_part_of_an_image_is_resized_as_if_it_were_a_whole_one() -> None:
    pixels = to_pixels(picture(120, 100))
    part = pixels[:, 10:70, 20:100]
    assert torch.equal(resized(part, 48, "bicubic"), resized(part.contiguous(), 48, "bicubic"))


@pytest.mark.real_data
def test_imagenet_images_differ_from_pillow_by_less_than_a_twentieth_of_a_level(real_data):
    source = scan_folder(real_data / "imagenet-sample").select(np.arange(0, 200, 4))
    read = source.decoded_by(decode_pixels)
    augment = augment_with(**RRC)
    crops = crop_tensor(augment, image_size=224), crop_train(augment, image_size=224)
    whole = eval_tensor(image_size=224, crop=0.875), still(224, 0.875)
    cut, evaluated = [], []
    for index in range(len(source)):
        ours, theirs = read.load(index), source.load(index)
        assert torch.equal(ours, to_pixels(theirs))
        found = []
        for transform, image in zip(crops, (ours, theirs), strict=True):
            random.seed(index)
            found.append(transform(image))
        cut.append(difference(*found))
        evaluated.append(difference(whole[0](ours), bytes_of(whole[1], theirs)))
    for name, levels in (("crop", cut), ("evaluation", evaluated)):
        print(f"{name}: mean {np.mean(levels):.4f}, worst image {max(levels):.4f} grey levels")
        assert max(levels) <= MEAN_LEVELS
