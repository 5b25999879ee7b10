import numpy as np
import pytest
import torch
from timm.data.mixup import Mixup

from scaledrelu.data.mixup import draw_mix, mix_group
from tests.helpers.configs import augment_with

OFFICIAL = {"mixup": 0.8, "cutmix": 1.0, "mix_prob": 1.0, "switch_prob": 0.5}


def mix(images, targets, **changes):
    fields = {**OFFICIAL, "smoothing": 0.1, **changes}
    seed = fields.pop("seed", 0)
    return mix_group(images, targets, augment_with(**fields), num_classes=10, seed=seed)


def group(batch=8, size=16):
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(batch, 3, size, size, generator=generator)
    return images, torch.randint(0, 10, (batch,), generator=generator)


def timm_mix(images, targets, seed, **changes):
    fields = {**OFFICIAL, **changes}
    theirs = Mixup(
        mixup_alpha=fields["mixup"],
        cutmix_alpha=fields["cutmix"],
        prob=fields["mix_prob"],
        switch_prob=fields["switch_prob"],
        label_smoothing=0.1,
        num_classes=10,
    )
    np.random.seed(seed)
    return theirs(images.clone(), targets)


@pytest.mark.parametrize("mix_prob", [1.0, 0.5])
@pytest.mark.parametrize("seed", range(6))
def test_mixup_and_its_targets_equal_those_of_timm(seed, mix_prob):
    images, targets = group()
    changes = {"cutmix": 0.0, "mix_prob": mix_prob}
    ours = mix(images, targets, seed=seed, **changes)
    their_images, their_targets = timm_mix(images, targets, seed, **changes)
    torch.testing.assert_close(ours.images, their_images)
    torch.testing.assert_close(ours.targets, their_targets)


def test_draws_with_both_kinds_equal_those_of_timm_wherever_the_cut_is_even():
    images, targets = group()
    kinds = set()
    for seed in range(60):
        drawn = draw_mix(16, 16, **OFFICIAL, seed=seed)
        if drawn.box is not None:
            np.random.seed(seed)
            np.random.rand(2)
            if int(16 * np.sqrt(1 - np.random.beta(1.0, 1.0))) % 2:
                continue
        kinds.add(drawn.box is None)
        ours = mix(images, targets, seed=seed)
        their_images, their_targets = timm_mix(images, targets, seed)
        torch.testing.assert_close(ours.images, their_images)
        torch.testing.assert_close(ours.targets, their_targets)
    assert kinds == {True, False}


def test_odd_cut_loses_a_pixel_as_in_the_official_version():
    found = []
    for seed in range(800):
        drawn = draw_mix(16, 16, **{**OFFICIAL, "mixup": 0.0}, seed=seed)
        np.random.seed(seed)
        np.random.rand()
        cut = int(16 * np.sqrt(1 - np.random.beta(1.0, 1.0)))
        rows, columns = drawn.box
        assert rows.stop - rows.start <= cut // 2 * 2
        assert columns.stop - columns.start <= cut // 2 * 2
        inside = rows.start > 0 and rows.stop < 16 and columns.start > 0 and columns.stop < 16
        if cut % 2 and inside:
            assert rows.stop - rows.start == columns.stop - columns.start == cut - 1
            found.append(cut)
    assert len(set(found)) > 3


def test_published_odd_box_case_has_the_official_columns_and_lambda():
    drawn = draw_mix(16, 16, **{**OFFICIAL, "mixup": 0.0}, seed=5)
    assert drawn.box == (slice(11, 16), slice(0, 5))
    assert round(drawn.lam, 3) == 0.902
    images, targets = group()
    _, theirs = timm_mix(images, targets, 5, mixup=0.0)
    ours = mix(images, targets, mixup=0.0, seed=5).targets
    share = (theirs[0] - ours[0]).abs().max() / 0.9
    assert round(drawn.lam - share.item(), 3) == 0.883  # what timm 1 rounds it to


def test_cutmix_share_is_that_of_the_pasted_pixels():
    images = torch.arange(4.0)[:, None, None, None].expand(4, 3, 16, 16).contiguous()
    for seed in range(20):
        mixed = mix(images, torch.arange(4), mixup=0.0, smoothing=0.0, seed=seed)
        own = (mixed.images[:, 0] == images[:, 0]).float().mean((1, 2))
        torch.testing.assert_close(mixed.targets[torch.arange(4), torch.arange(4)], own)


def test_without_mixing_images_stay_and_targets_are_smoothed_one_hot():
    images, targets = group(batch=5)
    mixed = mix(images, targets, mixup=0.0, cutmix=0.0)
    assert mixed.images is images
    expected = torch.full((5, 10), 0.01)
    expected[torch.arange(5), targets] = 0.91
    torch.testing.assert_close(mixed.targets, expected)


def test_inputs_are_left_alone():
    images, targets = group()
    before = images.clone()
    for seed in range(8):
        mix(images, targets, seed=seed)
    assert torch.equal(images, before)


@pytest.mark.parametrize("kind", [{"cutmix": 0.0}, {"mixup": 0.0}], ids=str)
def test_mixing_in_place_gives_the_same_where_the_images_lay(kind):
    images, targets = group()
    fields = {**OFFICIAL, "smoothing": 0.1, **kind}
    for seed in range(4):
        expected, own = mix(images, targets, seed=seed, **kind), images.clone()
        found = mix_group(
            own, targets, augment_with(**fields), num_classes=10, seed=seed, in_place=True
        )
        assert found.images.data_ptr() == own.data_ptr()
        assert torch.equal(found.images, expected.images)
        assert torch.equal(found.targets, expected.targets)


def test_same_seed_gives_the_same_mix_and_another_seed_another():
    images, targets = group()
    first = mix(images, targets, seed=2**62 + 1).images
    assert torch.equal(first, mix(images, targets, seed=2**62 + 1).images)
    assert not torch.equal(first, mix(images, targets, seed=2**62 + 2).images)
