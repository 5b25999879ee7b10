import json
import random

import numpy as np
import pytest
import torch
from PIL import Image

from scaledrelu.data.transforms import crop_train, eval_transform, fit_to, reference_train
from scaledrelu.errors import ConfigError
from tests.helpers.configs import augment_with

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
CROP = {
    "crop": "random_resized",
    "crop_scale": [0.08, 1.0],
    "crop_ratio": [3 / 4, 4 / 3],
    "interpolation": "bicubic",
}
DEIT = {
    **CROP,
    "shift": 0,
    "hflip": 0.5,
    "rand_augment": "rand-m9-mstd0.5-inc1",
    "color_jitter": 0.3,
    "erasing": 0.25,
}


def reference(image_size=224, **changes):
    augment = augment_with(**{**DEIT, **changes})
    return reference_train(augment, image_size=image_size, mean=MEAN, std=STD)


def names(pipeline):
    return [type(step).__name__ for step in pipeline.transforms]


def picture(width, height, seed=0):
    noise = np.random.RandomState(seed).randint(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(noise)


def test_training_steps_stand_in_the_official_order(fixtures):
    policy = json.loads((fixtures / "randaugment.json").read_text())["policy"]
    steps = names(reference())
    official = [name.replace("ToTensor", "MaybeToTensor") for name in policy["order"]]
    assert steps == official


def test_rand_augment_has_the_official_policy(fixtures):
    policy = json.loads((fixtures / "randaugment.json").read_text())
    expected = policy["policy"]
    rand = reference().transforms[2]
    assert [op.name for op in rand.ops] == policy["ops"]
    assert rand.num_layers == expected["num_layers"]
    assert {op.prob for op in rand.ops} == set(expected["probs"])
    assert {op.magnitude for op in rand.ops} == set(expected["magnitude"])
    assert {op.magnitude_std for op in rand.ops} == set(expected["mstd"])
    assert list(rand.ops[0].hparams["img_mean"]) == expected["fill"]
    assert rand.ops[0].hparams["interpolation"] == expected["resample"]


def golden_ops(fixtures):
    arrays = np.load(fixtures / "randaugment.npz")
    for key in arrays:
        if "__" in key:
            image, op, magnitude, sign = key.split("__")
            yield key, arrays[f"in_{image}"], op, float(magnitude[1:]), sign, arrays[key]


SECTIONS = {
    "rand": ["m9", "n3", "p0.3", "mstd0.5", "mmax20", "inc1", "tweights", "t3a", "w0", "d1", "a1"],
    "augmix": ["m3", "w2", "d2", "b1", "a0.5", "mstd1", "n3", "p0.3", "inc1", "mmax20", "t3a"],
    **{kind: ["mstd0.5", "m9", "inc1"] for kind in ("v0", "v0r", "original", "originalr", "3a")},
}


@pytest.mark.parametrize(
    "policy",
    [f"{kind}{s}" for kind, own in SECTIONS.items() for s in ["", *(f"-{o}" for o in own)]],
)
def test_the_policies_that_timm_builds_are_those_that_a_configuration_may_name(policy) -> None:
    from timm.data.transforms_factory import transforms_imagenet_train

    try:
        transforms_imagenet_train(32, auto_augment=policy)
    except AssertionError:
        with pytest.raises(ConfigError, match="not a timm policy"):
            reference(rand_augment=policy)
    else:
        reference(rand_augment=policy, image_size=32)


def test_rand_augment_operations_equal_the_official_arrays(fixtures, monkeypatch):
    from timm.data.auto_augment import AugmentOp

    hparams = {"translate_const": 100, "img_mean": (124, 116, 104), "interpolation": 3}
    seen = 0
    for key, image, op, magnitude, sign, expected in golden_ops(fixtures):
        negate = 1.0 if sign == "neg" else 0.0
        monkeypatch.setattr(random, "random", lambda negate=negate: negate)
        result = AugmentOp(op, prob=1.0, magnitude=magnitude, hparams=hparams)(
            Image.fromarray(image)
        )
        np.testing.assert_array_equal(np.asarray(result), expected, err_msg=key)
        seen += 1
    assert seen > 100


def test_rand_augment_policy_equals_the_official_arrays(fixtures):
    arrays = np.load(fixtures / "randaugment.npz")
    rand = reference().transforms[2]
    for seed in range(6):
        random.seed(seed)
        np.random.seed(seed)
        result = rand(Image.fromarray(arrays["in_gradient"]))
        np.testing.assert_array_equal(np.asarray(result), arrays[f"policy_seed{seed}"])


def test_rand_augment_at_full_magnitude_works_with_the_installed_pillow():
    # Posterize then keeps 0 bits, which Pillow 13 refuses.
    rand = reference(rand_augment="rand-m10-mstd0.5-inc1").transforms[2]
    random.seed(0)
    np.random.seed(0)
    image = picture(32, 32)
    posterised = 0
    for _ in range(150):
        posterised += not np.asarray(rand(image)).any()
    assert posterised


def test_colour_jitter_is_inactive_beside_rand_augment():
    assert "ColorJitter" not in names(reference())
    assert "ColorJitter" in names(reference(rand_augment=None))
    assert "ColorJitter" not in names(reference(rand_augment=None, color_jitter=0.0))


def test_erasing_acts_on_normalised_pixels_with_noise():
    erase = reference().transforms[-1]
    assert (erase.probability, erase.per_pixel, erase.max_count) == (0.25, True, 1)
    assert (erase.min_area, erase.max_area) == (0.02, 1 / 3)
    assert "RandomErasing" not in names(reference(erasing=0.0))


@pytest.mark.parametrize("crop", ["random_resized", "shift", "none"])
def test_every_crop_gives_a_normalised_tensor_of_the_size_asked_for(crop):
    transform = reference(32, crop=crop, shift=4)
    image = transform(picture(50, 41))
    assert image.shape == (3, 32, 32)
    assert image.dtype == torch.float32
    assert image.min() < -1


def test_shift_moves_a_fitting_image_by_at_most_its_pixels():
    transform = reference(
        32, crop="shift", shift=2, hflip=0.0, rand_augment=None, color_jitter=0.0, erasing=0.0
    )
    image = picture(32, 32)
    whole = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1) / 255
    padded = torch.nn.functional.pad(whole, [2] * 4)
    mean, std = (torch.tensor(s).view(3, 1, 1) for s in (MEAN, STD))
    result = transform(image) * std + mean
    assert any(
        torch.allclose(result, padded[:, dy : dy + 32, dx : dx + 32], atol=1e-5)
        for dy in range(5)
        for dx in range(5)
    )


@pytest.mark.parametrize(("crop", "short_side"), [(0.875, 256), (0.96, 233)])  # DeiT, VOLO
def test_evaluation_equals_timm_with_the_crop_of_the_recipe(crop, short_side):
    from timm.data import create_transform

    theirs = create_transform(
        224, is_training=False, interpolation="bicubic", crop_pct=crop, mean=MEAN, std=STD
    )
    ours = eval_transform(image_size=224, crop=crop, mean=MEAN, std=STD)
    image = picture(301, 260)
    assert ours.transforms[0].transforms[0].size == short_side
    torch.testing.assert_close(ours(image), theirs(image))


def test_small_images_are_evaluated_whole():
    ours = eval_transform(image_size=32, crop=0.875, mean=[0.0] * 3, std=[1.0] * 3)
    image = picture(32, 32)
    expected = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1) / 255
    assert torch.equal(ours(image), expected)
    assert ours(picture(40, 64)).shape == (3, 32, 32)


def test_fit_keeps_the_centre():
    wide = Image.new("RGB", (64, 32))
    wide.paste((255, 255, 255), (16, 0, 48, 32))
    assert np.asarray(fit_to(32)(wide)).min() == 255


@pytest.mark.parametrize("crop", ["random_resized", "shift", "none"])
def test_host_only_crops_to_uint8_where_the_device_augments(crop):
    transform = crop_train(augment_with(**{**CROP, "crop": crop}), image_size=48)
    image = transform(picture(70, 60))
    assert image.dtype == torch.uint8
    assert image.shape == (3, 48, 48)


def test_host_crop_is_the_crop_of_the_reference_pipeline():
    plain = {"hflip": 0.0, "rand_augment": None, "color_jitter": 0.0, "erasing": 0.0}
    pipelines = crop_train(augment_with(**CROP), image_size=48), reference(48, **plain)
    results = []
    for pipeline in pipelines:
        random.seed(0)
        results.append(pipeline(picture(70, 60)))
    mean, std = (torch.tensor(s).view(3, 1, 1) for s in (MEAN, STD))
    torch.testing.assert_close((results[0] / 255 - mean) / std, results[1])
