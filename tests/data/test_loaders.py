"""Loaders give every process its groups, and every image its own augmentation."""

import numpy as np
import pytest
import torch

from scaledrelu.data.datasets import scan_folder
from scaledrelu.data.loaders import EvalLoader
from scaledrelu.errors import ConfigError
from tests.helpers.loaders import deit_transform, evaluation, flat, same, train_loader


def test_batches_in_memory_hold_the_images_and_labels_of_their_indices(digits):
    batches = flat(train_loader(digits, group_size=64).epoch(0))
    assert len(batches) == 2 * (1437 // 128)
    for batch in batches:
        assert torch.equal(batch.images, digits.images[batch.indices])
        assert batch.targets.tolist() == digits.targets[batch.indices.numpy()].tolist()
        assert batch.images.dtype == torch.uint8


def test_processes_together_see_what_one_process_sees(digits):
    alone = list(train_loader(digits, groups=range(4), num_groups=4, group_size=16).epoch(2))
    shared = [
        list(train_loader(digits, groups=groups, num_groups=4, group_size=16).epoch(2))
        for groups in ([0, 1], [2, 3])
    ]
    for step, (left, right) in enumerate(zip(*shared, strict=True)):
        same(left + right, alone[step])
        assert [batch.group for batch in left + right] == [0, 1, 2, 3]


def test_epoch_goes_on_where_it_was_left(digits):
    loader = train_loader(digits, group_size=64)
    assert loader.steps_per_epoch == 11
    whole = list(loader.epoch(1))
    same(flat(loader.epoch(1, start_step=7)), flat(whole[7:]))
    assert list(loader.epoch(1, start_step=11)) == []


def test_training_set_smaller_than_a_batch_is_refused(digits):
    with pytest.raises(ConfigError, match="one update needs 2 groups x 1000"):
        train_loader(digits, group_size=1000)


def test_files_without_a_transform_are_refused(files):
    with pytest.raises(ConfigError, match=r"data\.in_memory=true"):
        train_loader(files().train)


def test_epochs_views_and_seeds_augment_anew(files):
    source = files().train

    def first_pixels(epoch=0, seed=0):
        loader = train_loader(source, transform=deit_transform(), seed=seed)
        batches = flat(loader.epoch(epoch))
        return {int(i): x for b in batches for i, x in zip(b.indices, b.images, strict=True)}

    base, later, other = first_pixels(), first_pixels(epoch=1), first_pixels(seed=1)
    for index, pixels in base.items():
        assert not torch.equal(pixels, later[index])
        assert not torch.equal(pixels, other[index])


def test_repeats_of_an_image_are_augmented_differently(image_folder):
    source = scan_folder(image_folder({"train": 86}, pixels=(12, 12)) / "train")
    loader = train_loader(
        source, transform=deit_transform(8), repeats=3, groups=[0, 1, 2], num_groups=3
    )
    batches = next(loader.epoch(0))
    assert [int(batch.indices[0]) for batch in batches] == [int(batches[0].indices[0])] * 3
    assert [int(batch.views[0]) for batch in batches] == [0, 1, 2]
    assert not torch.equal(batches[0].images[0], batches[1].images[0])
    assert not torch.equal(batches[1].images[0], batches[2].images[0])


@pytest.mark.parametrize(("groups", "of"), [([0], 1), (range(8), 8), ([4, 5, 6, 7], 8)])
def test_repeats_of_an_image_in_groups_of_one_process_are_decoded_once(
    image_folder, monkeypatch, groups, of
):
    source = scan_folder(image_folder({"train": 86}, pixels=(12, 12)) / "train")
    decoded, load = [], type(source).load
    monkeypatch.setattr(
        type(source), "load", lambda s, index: decoded.append(index) or load(s, index)
    )
    loader = train_loader(
        source, transform=deit_transform(8), repeats=3, groups=groups, num_groups=of, group_size=12
    )
    steps = list(loader.epoch(0))
    rows = [torch.stack([batch.indices for batch in step], dim=1).flatten() for step in steps]
    expected = torch.cat(rows).unique_consecutive().tolist()
    assert decoded == expected
    images = sum(len(batch.indices) for step in steps for batch in step)
    assert images == 256 // of // 12 * 12 * len(groups)
    assert len(decoded) * (3 if len(groups) == of else 2) <= images + 3 * len(steps)


def test_a_transform_finds_an_image_that_is_repeated_as_it_was(image_folder):
    source = scan_folder(image_folder({"train": 86}, pixels=(12, 12)) / "train")
    seen = []

    def transform(image):
        seen.append(np.array(image).tobytes())
        return deit_transform(8)(image)

    loader = train_loader(source, transform=transform, repeats=3, groups=[0], num_groups=1)
    next(loader.epoch(0))
    assert seen[0] == seen[1] == seen[2]


@pytest.mark.parametrize("world_size", [1, 2, 7])
def test_every_validation_image_is_seen_once_over_all_ranks(digits, world_size):
    loaders = [
        EvalLoader(digits, rank=rank, world_size=world_size, batch=100)
        for rank in range(world_size)
    ]
    seen = torch.cat([batch.indices for loader in loaders for batch in loader])
    assert sorted(seen.tolist()) == list(range(1437))


def test_more_ranks_than_images_leaves_some_ranks_without_a_batch(digits):
    part = digits.select(np.arange(3))
    sizes = [len(list(EvalLoader(part, rank=rank, world_size=5, batch=2))) for rank in range(5)]
    assert sizes == [1, 1, 1, 0, 0]


@pytest.mark.parametrize("workers", [0, 2])
def test_evaluation_of_files_is_the_evaluation_transform(files, workers):
    source = files().val
    loader = EvalLoader(
        source, rank=0, world_size=1, batch=4, transform=evaluation(), workers=workers
    )
    for _ in range(2):
        batches = list(loader)
        assert [len(batch.images) for batch in batches] == [4, 4, 1]
        for batch in batches:
            expected = [evaluation()(source.load(int(i))) for i in batch.indices]
            assert torch.equal(batch.images, torch.stack(expected))
            assert batch.targets.tolist() == source.targets[batch.indices.numpy()].tolist()
    loader.close()


@pytest.mark.real_data
def test_200_imagenet_images_pass_through_the_official_pipeline(real_data):
    source = scan_folder(real_data / "imagenet-sample")
    assert len(source) == len(source.classes) == 200
    loader = train_loader(
        source, transform=deit_transform(224), group_size=50, groups=range(4), num_groups=4
    )
    (step,) = loader.epoch(0)
    images = torch.cat([batch.images for batch in step])
    assert images.shape == (200, 3, 224, 224)
    assert images.isfinite().all()
    assert sorted(torch.cat([batch.targets for batch in step]).tolist()) == list(range(200))
    evaluated = EvalLoader(source, rank=0, world_size=1, batch=100, transform=evaluation(224))
    means = torch.stack([batch.images.mean((0, 2, 3)) for batch in evaluated]).mean(0)
    assert means.abs().max() < 0.2  # normalised by ImageNet's own statistics
