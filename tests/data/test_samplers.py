import numpy as np
import pytest
import torch
from torch.utils.data import DistributedSampler

from scaledrelu.data.samplers import group_stream, steps_per_epoch
from scaledrelu.errors import ConfigError


def stream(num_images, *, num_groups, group, epoch=0, repeats=1, group_size=1, seed=0):
    return group_stream(
        num_images,
        num_groups=num_groups,
        group=group,
        epoch=epoch,
        repeats=repeats,
        group_size=group_size,
        seed=seed,
    )


def golden_cases(fixtures):
    for key, expected in np.load(fixtures / "rasampler.npz").items():
        yield *(int(part.lstrip("NWer")) for part in key.split("_")), expected


def test_repeated_augmentation_gives_the_official_streams_whatever_the_seed(fixtures):
    seen = 0
    for images, groups, epoch, group, expected in golden_cases(fixtures):
        if len(expected) == 0:
            continue
        ours = stream(
            images, num_groups=groups, group=group, epoch=epoch, repeats=3, seed=epoch + 7
        )
        np.testing.assert_array_equal(ours.indices.numpy(), expected)
        seen += 1
    assert seen > 100


def test_set_that_gives_an_empty_official_epoch_is_refused(fixtures):
    empty = {case[0] for case in golden_cases(fixtures) if len(case[-1]) == 0}
    assert empty == {255}
    with pytest.raises(ConfigError, match=r"255 training images .*: one update needs"):
        stream(255, num_groups=1, group=0, repeats=3)


def test_copies_of_an_image_go_to_neighbouring_groups_as_different_views():
    streams = [stream(600, num_groups=4, group=g, repeats=3) for g in range(4)]
    in_order = torch.stack([s.indices for s in streams], 1).flatten()
    views = torch.stack([s.views for s in streams], 1).flatten()
    whole = len(in_order) // 3 * 3
    assert (in_order[:whole].view(-1, 3) == in_order[:whole:3, None]).all()
    assert (views[:whole].view(-1, 3) == torch.arange(3)).all()


@pytest.mark.parametrize(("images", "groups"), [(40, 1), (41, 4), (43, 3)])
def test_without_repeats_the_stream_is_that_of_the_distributed_sampler(images, groups):
    for group in range(groups):
        theirs = DistributedSampler(
            range(images), num_replicas=groups, rank=group, seed=3, drop_last=True
        )
        theirs.set_epoch(5)
        ours = stream(images, num_groups=groups, group=group, epoch=5, seed=3)
        assert ours.indices.tolist() == list(theirs)
        assert not ours.views.any()


def test_groups_share_no_image_without_repeats():
    drawn = torch.cat([stream(50, num_groups=4, group=g, group_size=3).indices for g in range(4)])
    assert len(drawn) == 48
    assert len(drawn.unique()) == 48


def test_seed_and_epoch_both_change_the_order():
    base = stream(64, num_groups=1, group=0).indices
    assert not torch.equal(base, stream(64, num_groups=1, group=0, seed=1).indices)
    assert not torch.equal(base, stream(64, num_groups=1, group=0, epoch=1).indices)


@pytest.mark.parametrize("repeats", [1, 3])
def test_paper_epoch_has_1251_steps_with_and_without_repeats(repeats):
    steps = steps_per_epoch(1_281_167, num_groups=8, group_size=128, repeats=repeats)
    assert steps == 1251


def test_mini_epoch_has_22_steps():
    assert steps_per_epoch(1437, num_groups=1, group_size=64, repeats=1) == 22


def test_fewer_images_than_one_batch_is_an_error_that_says_what_to_change():
    with pytest.raises(ConfigError, match=r"63 training images: one update needs 2 groups x 32"):
        steps_per_epoch(63, num_groups=2, group_size=32, repeats=1)
    with pytest.raises(ConfigError, match=r"63 training images: one update needs 1 group x 64 = "):
        steps_per_epoch(63, num_groups=1, group_size=64, repeats=1)
