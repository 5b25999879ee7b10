import random

import numpy as np
import pytest
import torch

from scaledrelu.data.identity_sampler import identity_steps, identity_stream
from scaledrelu.errors import ConfigError

UNEVEN = np.array([2, 3, 4, 5, 7, 8, 9, 11, 12, 14, 17, 20])  # images of each identity


def targets_of(counts, *, seed=0):
    """Return identities in mixed order, numbered with gaps."""
    return np.random.RandomState(seed).permutation(np.repeat(3 * np.arange(len(counts)), counts))


def stream(targets, *, num_groups=1, group=0, epoch=0, steps=6, group_size=16, seed=0, k=4):
    return identity_stream(
        targets,
        num_groups=num_groups,
        group=group,
        epoch=epoch,
        steps=steps,
        group_size=group_size,
        num_instances=k,
        seed=seed,
    )


def steps_of(targets, *, num_groups=1, group_size=16, k=4):
    return identity_steps(targets, num_groups=num_groups, group_size=group_size, num_instances=k)


def official_length(counts, identities, k):
    """Return the updates of one epoch of the official sampler: one more draw, image by image."""
    left = {i: list(range(max(n, k) // k)) for i, n in enumerate(counts)}
    length = 0
    while len(left) >= identities:
        for identity in random.sample(sorted(left), identities):
            left[identity].pop()
            if not left[identity]:
                del left[identity]
        length += 1
    return length


def test_an_update_holds_p_different_identities_with_k_images_each_in_a_row():
    targets = targets_of(UNEVEN)
    for epoch in range(5):
        drawn = targets[stream(targets, epoch=epoch).indices].reshape(6, 4, 4)
        assert (drawn == drawn[:, :, :1]).all()
        assert all(len(set(update)) == 4 for update in drawn[:, :, 0].tolist())


def test_groups_share_the_identities_of_one_update_without_overlap():
    targets = targets_of(UNEVEN)
    whole = stream(targets, num_groups=1, group_size=32, steps=4)
    parts = [stream(targets, num_groups=4, group=g, group_size=8, steps=4) for g in range(4)]
    for name in ("indices", "views"):
        joined = torch.stack([getattr(part, name).view(4, 8) for part in parts], 1)
        assert torch.equal(joined.flatten(), getattr(whole, name))


def test_an_image_stands_once_in_a_pass_and_what_fills_no_lot_is_left_out():
    counts = np.array([4, 5, 7, 8, 11, 12])
    targets = targets_of(counts)
    # With one identity per update a pass empties every identity: floor(n / 4) lots of each.
    drawn = stream(targets, group_size=4, steps=int((counts // 4).sum()))
    assert len(drawn.indices.unique()) == len(drawn.indices)
    assert not drawn.views.any()
    found = np.unique(targets[drawn.indices], return_counts=True)[1]
    assert found.tolist() == (counts // 4 * 4).tolist()


def test_which_images_are_left_out_changes_with_the_epoch():
    targets = targets_of(np.array([7]))
    seen = [set(stream(targets, group_size=4, steps=1, epoch=e).indices.tolist()) for e in range(9)]
    assert all(len(images) == 4 for images in seen)
    assert set.union(*seen) == set(range(7))


def test_identity_with_too_few_images_gives_one_lot_with_repeats_of_its_own():
    targets = targets_of(np.array([1, 2, 8]))
    drawn = stream(targets, group_size=4, steps=4)
    lots = drawn.indices.view(4, 4)
    owners = targets[lots[:, 0]]
    assert sorted(owners) == [0, 3, 6, 6]
    assert (targets[lots] == owners[:, None]).all()
    both = lots[owners.tolist().index(3)]
    assert len(both.unique()) <= 2


def test_repeats_of_an_image_in_an_epoch_are_different_views():
    targets = targets_of(np.array([1, 2, 3, 9]))
    groups = [stream(targets, num_groups=2, group=g, group_size=8, steps=7) for g in range(2)]
    indices, views = (
        torch.stack([getattr(g, name).view(7, 8) for g in groups], 1).flatten().tolist()
        for name in ("indices", "views")
    )
    for image in set(indices):
        own = [view for i, view in zip(indices, views, strict=True) if i == image]
        assert own == list(range(len(own)))
    assert max(views) >= 3


def test_identities_are_equally_likely_however_many_images_they_have():
    targets = targets_of(np.array([4, 40]))
    first = [
        targets[stream(targets, group_size=4, steps=1, epoch=e).indices[0]] for e in range(400)
    ]
    assert 160 < sum(identity == 0 for identity in first) < 240  # 36 if images were


def test_an_epoch_goes_on_with_another_pass_when_fewer_than_p_identities_have_images():
    targets = targets_of(np.array([4, 4, 12]))
    again = 0
    for epoch in range(20):
        drawn = targets[stream(targets, group_size=8, steps=2, epoch=epoch).indices].reshape(2, 8)
        first, second = (set(update.tolist()) for update in drawn)
        if first == {0, 3}:  # only 6 has images left: the second update is a new pass
            again += 1
            assert len(second) == 2
        else:
            assert second == {0, 3, 6} - first | {6}
    assert 0 < again < 20


def test_an_update_depends_on_seed_epoch_and_step_alone():
    targets = targets_of(UNEVEN)
    long, short = stream(targets, steps=30, epoch=2), stream(targets, steps=5, epoch=2)
    assert torch.equal(long.indices[: 5 * 16], short.indices)
    assert torch.equal(long.views[: 5 * 16], short.views)
    assert torch.equal(stream(targets, steps=30, epoch=2).indices, long.indices)
    for other in ({"epoch": 3}, {"epoch": 2, "seed": 1}):
        assert not torch.equal(stream(targets, steps=5, **other).indices, short.indices)


@pytest.mark.parametrize(("identities", "k"), [(2, 4), (4, 4), (6, 2)])
def test_epoch_is_as_long_as_the_official_one_on_average(identities, k):
    counts = np.random.RandomState(1).randint(1, 40, 60)
    random.seed(0)
    lengths = [official_length(counts, identities, k) for _ in range(40)]
    ours = steps_of(targets_of(counts), group_size=identities * k, k=k)
    assert abs(ours - np.mean(lengths)) < 1
    assert min(lengths) <= ours <= max(lengths)


def test_epoch_length_is_exact_where_the_draw_has_no_choice():
    assert steps_of(targets_of(np.full(4, 23))) == 5
    assert steps_of(targets_of(np.full(8, 11)), num_groups=2) == 2
    assert steps_of(targets_of(np.array([4, 4, 4, 90]))) == 1


def test_epoch_length_does_not_depend_on_how_an_update_is_shared_out():
    targets = targets_of(np.random.RandomState(2).randint(1, 30, 50))
    lengths = {steps_of(targets, num_groups=n, group_size=32 // n) for n in (1, 2, 4, 8)}
    assert len(lengths) == 1


def test_epoch_of_market_1501s_size_is_drawn_in_a_moment():
    targets = np.repeat(np.arange(751), 17)
    assert steps_of(targets, group_size=64) == pytest.approx(751 * 4 / 16, abs=3)


@pytest.mark.parametrize("ask", [stream, steps_of])
def test_what_cannot_fill_an_update_is_an_error_that_says_what_to_change(ask):
    with pytest.raises(
        ConfigError, match=r"5 training identities: one update needs 2 groups x 4 = 8; lower"
    ):
        ask(targets_of(np.full(5, 6)), num_groups=2)
