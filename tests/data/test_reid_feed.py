"""Batches of P people with K images each on their way into training."""

import numpy as np
import torch

from scaledrelu.data.loaders import TrainLoader
from scaledrelu.data.sources import MemorySource

P, K, GROUPS = 6, 4, 2


def people(counts=(3, 4, 9, 17, 8, 8, 12, 5, 30, 4)):
    """Images in memory, each of one value: the position of the image; identities are mixed up."""
    targets = np.random.RandomState(0).permutation(np.repeat(np.arange(len(counts)), counts))
    images = torch.arange(len(targets), dtype=torch.uint8)[:, None, None, None]
    names = [str(position) for position in range(len(targets))]
    classes = tuple(str(person) for person in range(len(counts)))
    return MemorySource(images.repeat(1, 3, 4, 2), targets, classes, names=names)


def loader(source, **changes):
    fields = {
        "groups": range(GROUPS), "num_groups": GROUPS, "group_size": P * K // GROUPS,
        "repeats": 1, "seed": 0, "instances": K,
    }  # fmt: skip
    return TrainLoader(source, **fields | changes)


def contents(steps):
    return [
        (batch.group, *(a.tolist() for a in (batch.images, batch.targets, batch.indices)))
        for step in steps
        for batch in step
    ]


def test_every_update_holds_p_people_with_k_images_and_a_group_whole_people():
    source = people()
    seen = set()
    for epoch in range(5):
        for step in loader(source).epoch(epoch):
            whole = [np.unique(batch.targets, return_counts=True) for batch in step]
            assert [len(ids) for ids, _ in whole] == [P // GROUPS] * GROUPS
            assert all((counts == K).all() for _, counts in whole)
            drawn = np.concatenate([ids for ids, _ in whole])
            assert len(set(drawn)) == P, "a person is in one group alone"
            seen |= set(drawn)
            for batch in step:
                assert batch.targets.tolist() == source.targets[batch.indices].tolist()
                assert torch.equal(batch.images[:, 0, 0, 0].long(), batch.indices)
    assert seen == set(range(10))


def test_an_epoch_has_the_same_number_of_updates_whatever_is_drawn():
    source = people()
    for seed in range(3):
        trained = loader(source, seed=seed)
        lengths = {len(list(trained.epoch(epoch))) for epoch in range(8)}
        assert lengths == {trained.steps_per_epoch} == {loader(source).steps_per_epoch}
    assert trained.steps_per_epoch > 1


def test_an_epoch_goes_on_from_any_step_in_a_new_loader():
    source = people()
    for epoch in (0, 3):
        whole = contents(loader(source).epoch(epoch))
        steps = len(whole) // GROUPS
        for start in range(steps + 1):
            rest = contents(loader(source).epoch(epoch, start_step=start))
            assert rest == whole[start * GROUPS :]
    assert contents(loader(source).epoch(0)) != whole


def test_processes_together_see_what_one_process_sees():
    source = people()
    alone = contents(loader(source).epoch(2))
    shared = zip(*(loader(source, groups=[group]).epoch(2) for group in range(2)), strict=True)
    assert contents([*first, *second] for first, second in shared) == alone


def test_without_instances_images_are_drawn_one_by_one():
    steps = list(loader(people(), instances=None).epoch(0))
    counts = [np.unique(batch.targets, return_counts=True)[1] for s in steps for batch in s]
    assert any((found != K).any() for found in counts)
    images = [i for step in steps for batch in step for i in batch.indices.tolist()]
    assert len(images) == len(set(images)) == 100 // (P * K) * P * K
