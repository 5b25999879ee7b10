"""Image, label map and box come out of a transform as parts of one whole."""

import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from scaledrelu.data.device.erasing import fill
from scaledrelu.data.device.normalise import LevelNormalise
from scaledrelu.errors import ConfigError
from scaledrelu.labels.transforms import JointTransform, Labelled, joint_train
from tests.helpers.configs import augment_with
from tests.helpers.label_maps import some_map
from tests.helpers.pictures import as_tensor, gradient
from tests.helpers.seeds import seed
from tests.labels.test_boxes import picture

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
POLICY = "rand-m9-mstd0.5-inc1"


def joint(**changes):
    fields = {
        "image_size": 32,
        "mean": [0.0] * 3,
        "decoder": "pil",
        "crop": "random_resized",
        "crop_scale": [1.0, 1.0],
        "crop_ratio": [1.0, 1.0],
        "interpolation": "bilinear",
        "shift": 0,
        "hflip": 0.0,
        "rand_augment": None,
        "color_jitter": 0.0,
        "erasing": 0.0,
        **changes,
    }
    how = {name: fields.pop(name) for name in ("image_size", "mean", "decoder")}
    return joint_train(augment_with(**fields), **{"decoder": "pil", **how})


def finished(found):
    """What the device makes of one image."""
    images = LevelNormalise(mean=MEAN, std=STD)(found.image[None])
    fields = Labelled.collate([found], torch.stack)
    return (fill(images, fields["erased"], fields["noise"]) if found.erased else images)[0]


def test_flip_moves_image_and_map_together():
    image, labels = gradient(32, 32), some_map()
    plain, flipped = joint()(image, labels), joint(hflip=1.0)(image, labels)
    assert torch.equal(flipped.image, plain.image.flip(2))
    assert torch.equal(flipped.map, labels.flip(3))
    assert not torch.equal(flipped.map, labels)


def test_the_map_that_was_given_stays_as_it_is():
    labels = some_map()
    kept = labels.clone()
    for value in range(20):
        seed(value)
        joint(hflip=0.5, rand_augment=POLICY)(gradient(), labels)
    assert torch.equal(labels, kept)


def test_box_is_the_crop():
    transform = joint(crop_scale=[0.08, 1.0], crop_ratio=[3 / 4, 4 / 3], image_size=64)
    boxes = set()
    for value in range(20):
        seed(value)
        found = transform(gradient(40, 60), some_map())
        top, left, height, width = found.box.tolist()
        columns, rows = found.image[0] / 4, found.image[1] / 4
        # Pixel centres: the first sample of a crop of w pixels lies half a step inside it.
        inner = slice(8, 56)
        want_c = left * 60 - 0.5 + (torch.arange(64) + 0.5) * width * 60 / 64
        want_r = top * 40 - 0.5 + (torch.arange(64) + 0.5) * height * 40 / 64
        torch.testing.assert_close(columns[32, inner], want_c[inner], rtol=0, atol=0.7)
        torch.testing.assert_close(rows[inner, 32], want_r[inner], rtol=0, atol=0.7)
        boxes.add(found.box)
    assert len(boxes) > 10


def test_box_belongs_to_the_flipped_image():
    transform = joint(hflip=1.0, crop_scale=[0.2, 0.3], image_size=64)
    seed(1)
    found = transform(gradient(40, 60), some_map())
    left, width = found.box[1], found.box[3]
    middle = 59 - (left + width / 2) * 60 + 0.5
    assert abs(found.image[0, 32].float().mean() / 4 - middle) < 0.7


def test_crop_leaves_the_map_whole():
    seed(0)
    found = joint(crop_scale=[0.1, 0.2])(gradient(), some_map())
    assert torch.equal(found.map, some_map())
    assert found.box[2] < 0.9


@pytest.mark.parametrize("policy", [None, POLICY])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear", "random"])
def test_pixels_are_those_of_the_reference_steps(interpolation, policy):
    from timm.data.auto_augment import rand_augment_transform
    from timm.data.random_erasing import RandomErasing
    from timm.data.transforms import RandomResizedCropAndInterpolation, str_to_pil_interp
    from torchvision import transforms

    fields = {"scale": (0.2, 1.0), "ratio": (3 / 4, 4 / 3), "interpolation": interpolation}
    hparams = {"translate_const": 10, "img_mean": (124, 116, 104)}
    if interpolation != "random":
        hparams["interpolation"] = str_to_pil_interp(interpolation)
    colour = [rand_augment_transform(policy, hparams)] if policy else []
    reference = transforms.Compose(
        [
            transforms.RandomHorizontalFlip(0.5),
            *colour,
            RandomResizedCropAndInterpolation(24, **fields),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
            RandomErasing(0.5, mode="pixel", max_count=1, device="cpu"),
        ]
    )
    ours = joint(
        image_size=24,
        mean=MEAN,
        hflip=0.5,
        erasing=0.5,
        crop_scale=[0.2, 1.0],
        crop_ratio=[3 / 4, 4 / 3],
        interpolation=interpolation,
        rand_augment=policy,
    )
    for value in range(40):
        seed(value)
        expected = reference(gradient())
        seed(value)
        found = ours(gradient(), some_map())
        torch.testing.assert_close(finished(found), expected, rtol=0, atol=1e-5)
        assert found.image.permute(1, 2, 0).is_contiguous()


def test_the_tensor_decoder_changes_nothing_but_the_filters_of_the_crop():
    fields = {
        "image_size": 24,
        "mean": MEAN,
        "hflip": 0.5,
        "erasing": 0.5,
        "rand_augment": POLICY,
        "crop_scale": [0.2, 1.0],
        "interpolation": "random",
    }
    by_pillow, by_torch = joint(**fields), joint(**fields, decoder="tensor")
    apart, image = [], picture(4)
    for value in range(40):
        seed(value)
        expected = by_pillow(image, some_map())
        seed(value)
        found = by_torch(as_tensor(image), some_map())
        apart.append((found.image.float() - expected.image.float()).abs())
        assert torch.equal(found.map, expected.map)
        assert torch.equal(found.box, expected.box)
        assert (found.erased is None) == (expected.erased is None)
        if found.erased:
            assert found.erased.sides == expected.erased.sides
            assert torch.equal(found.erased.noise, expected.erased.noise)
        assert found.image.permute(1, 2, 0).is_contiguous()
    assert 0 < torch.stack(apart).mean() < 0.05
    assert torch.stack(apart).max() <= 2


@pytest.mark.parametrize("decoder", ["pil", "tensor"])
@pytest.mark.parametrize("size", [(1, 1), (1, 3), (2, 2)])
def test_images_of_a_few_pixels_are_cropped_to_one_at_least(size, decoder):
    fields = {"crop_scale": [0.08, 1.0], "crop_ratio": [3 / 4, 4 / 3], "interpolation": "bicubic"}
    transform = joint(**fields, decoder=decoder)
    for value in range(60):
        seed(value)
        found = transform(Image.new("RGB", size, (9, 99, 199)), some_map())
        assert found.image[:, 0, 0].tolist() == [9, 99, 199]
        assert found.box[2:].min() > 0


def test_random_interpolation_is_drawn_per_image():
    transform = joint(interpolation="random", image_size=24)
    noise = Image.fromarray(np.random.RandomState(0).randint(0, 256, (32, 32, 3), dtype=np.uint8))
    seen = set()
    for value in range(10):
        seed(value)
        seen.add(transform(noise, some_map()).image.sum().item())
    assert len(seen) == 2


def test_colour_jitter_acts_only_without_rand_augment():
    def first(**changes):
        seed(5)
        return joint(**changes)(gradient(), some_map()).image

    assert not torch.equal(first(color_jitter=0.4), first())
    both = first(rand_augment=POLICY, color_jitter=0.4)
    assert torch.equal(both, first(rand_augment=POLICY))


@pytest.mark.parametrize("colour", [{"rand_augment": POLICY}, {"color_jitter": 0.1}, {}])
def test_transform_travels_to_a_loader_process(colour):
    transform = joint(hflip=0.5, erasing=0.3, **colour)
    there = pickle.loads(pickle.dumps(transform))
    assert isinstance(there, JointTransform)
    for value in range(12):
        seed(value)
        here = transform(gradient(), some_map())
        seed(value)
        found = there(gradient(), some_map())
        assert torch.equal(here.image, found.image)
        assert torch.equal(here.map, found.map)
        assert torch.equal(finished(here), finished(found))


@pytest.mark.parametrize("crop", ["shift", "none"])
def test_other_crops_are_refused(crop):
    with pytest.raises(ConfigError, match=r"augment\.crop=random_resized") as error:
        joint(crop=crop)
    assert "\n" not in str(error.value)


def test_policies_that_cannot_move_a_map_are_refused():
    with pytest.raises(ConfigError, match=r"augment\.rand_augment=augmix"):
        joint(rand_augment="augmix-m3")
