import os
import pickle
import random
import signal
import subprocess
import sys
import time
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch

from scaledrelu.data import fetch
from scaledrelu.data.datasets import open_digits, open_image_folder, scan_folder
from scaledrelu.data.loaders import EvalLoader, TrainLoader
from scaledrelu.data.transforms import eval_transform, reference_train
from scaledrelu.data.workers import Request, leave_signals_to_trainer
from scaledrelu.errors import ConfigError, DataError, RunError
from tests.helpers.configs import augment_with
from tests.helpers.memory import Allocated

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def deit_transform(image_size=16):
    augment = augment_with(
        crop="random_resized",
        crop_scale=[0.08, 1.0],
        crop_ratio=[3 / 4, 4 / 3],
        interpolation="bicubic",
        shift=0,
        hflip=0.5,
        rand_augment="rand-m9-mstd0.5-inc1",
        color_jitter=0.3,
        erasing=0.25,
    )
    return reference_train(augment, image_size=image_size, mean=MEAN, std=STD)


def evaluation(image_size=16):
    return eval_transform(image_size=image_size, crop=0.875, mean=MEAN, std=STD)


def train_loader(source, **changes):
    fields = {
        **{"groups": [0, 1], "num_groups": 2, "group_size": 3, "repeats": 1, "seed": 0},
        **changes,
    }
    return TrainLoader(source, **fields)


@pytest.fixture
def digits():
    return open_digits(image_size=8).train


@pytest.fixture
def files(image_folder):
    def opened(**changes):
        root = image_folder({"train": 4, "val": 3})
        fields = {"train": "train", "val": "val", "image_size": 16, **changes}
        return open_image_folder(root=str(root), **fields)

    return opened


def flat(steps):
    return [batch for step in steps for batch in step]


def same(first, second):
    assert len(first) == len(second) > 0
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a.images, b.images)
        assert torch.equal(a.targets, b.targets)
        assert torch.equal(a.indices, b.indices)
        assert torch.equal(a.views, b.views)
        assert a.group == b.group


# --- training, in memory


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


# --- training, from files


@pytest.mark.parametrize("repeats", [1, 3])
def test_loader_processes_change_nothing(image_folder, repeats):
    count = 4 if repeats == 1 else 86
    source = scan_folder(image_folder({"train": count}, pixels=(12, 12)) / "train")
    alone, helped = (
        train_loader(
            source, transform=deit_transform(8), workers=n, repeats=repeats, group_size=2 * repeats
        )
        for n in (0, 2)
    )
    for epoch in (0, 1):
        same(flat(alone.epoch(epoch))[:40], flat(helped.epoch(epoch))[:40])
    same(flat(alone.epoch(3, start_step=1))[:40], flat(helped.epoch(3, start_step=1))[:40])
    helped.close()


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


def test_groups_loaded_together_are_those_of_a_loader_for_each(image_folder):
    source = scan_folder(image_folder({"train": 86}, pixels=(12, 12)) / "train")
    fields = {"transform": deit_transform(8), "repeats": 3, "num_groups": 4, "group_size": 12}
    alone = [flat(train_loader(source, groups=[g], **fields).epoch(1)) for g in range(4)]
    for workers in (0, 2):
        loader = train_loader(source, groups=range(4), workers=workers, **fields)
        found = flat(loader.epoch(1))
        same(found, [batch for step in zip(*alone, strict=True) for batch in step])
        same(flat(loader.epoch(1, start_step=2)), found[8:])
        loader.close()


@pytest.mark.parametrize(("repeats", "requests"), [(3, 4), (1, 2)])
def test_a_process_loads_one_update_ahead_or_two_groups(image_folder, repeats, requests):
    """An update of many groups is hundreds of megabytes, so one from each process has to do."""
    source = scan_folder(image_folder({"train": 86}, pixels=(12, 12)) / "train")
    loaded = torch.zeros(2, dtype=torch.int64).share_memory_()  # images, by process

    def transform(image):
        loaded[torch.utils.data.get_worker_info().id] += 1
        return torch.zeros(3, 8, 8, dtype=torch.uint8)

    loader = train_loader(
        source, transform=transform, repeats=repeats, groups=range(4), num_groups=4, workers=2
    )
    batches = loader._fetch(
        [Request(0, group, np.arange(3), np.zeros(3, dtype=np.int64)) for group in range(4)] * 10
    )
    next(batches)
    ahead = 2 * requests + (4 if repeats > 1 else 1)  # and as much anew as was handed out
    give_up = time.monotonic() + 60
    while loaded.sum() < 3 * ahead and time.monotonic() < give_up:
        time.sleep(0.01)
    time.sleep(0.2)
    assert int(loaded.sum()) == 3 * ahead
    loader.close()


def test_a_transform_finds_an_image_that_is_repeated_as_it_was(image_folder):
    source = scan_folder(image_folder({"train": 86}, pixels=(12, 12)) / "train")
    seen = []

    def transform(image):
        seen.append(np.array(image).tobytes())
        return deit_transform(8)(image)

    loader = train_loader(source, transform=transform, repeats=3, groups=[0], num_groups=1)
    next(loader.epoch(0))
    assert seen[0] == seen[1] == seen[2]


def test_loading_in_process_leaves_the_global_generators_alone(files):
    loader = train_loader(files().train, transform=deit_transform())
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    list(loader.epoch(0))
    drawn = random.random(), np.random.rand(), torch.rand(1).item()
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    assert drawn == (random.random(), np.random.rand(), torch.rand(1).item())


def test_epoch_left_early_does_not_leak_into_the_next(files):
    loader = train_loader(files().train, transform=deit_transform(), workers=1)
    expected = flat(loader.epoch(1))
    next(loader.epoch(0))
    same(flat(loader.epoch(1)), expected)
    loader.close()


@pytest.mark.parametrize("workers", [0, 1])
def test_bad_image_reaches_the_user_as_one_line(files, truncate, workers):
    source = files().train
    bad = truncate(Path(source.path_of(5)))
    loader = train_loader(source, transform=deit_transform(), workers=workers)
    with pytest.raises(DataError) as error:
        list(loader.epoch(0))
    assert str(error.value).startswith(f"{bad}: damaged or incomplete image")
    assert "\n" not in str(error.value)
    loader.close()


@pytest.mark.parametrize("workers", [0, 2])
def test_skipped_images_are_counted_once_wherever_they_are_met(files, truncate, workers):
    source = files(on_bad_image="skip").train
    truncate(Path(source.path_of(5)))
    loader = train_loader(source, transform=deit_transform(), workers=workers)
    for epoch in range(3):
        assert len(flat(loader.epoch(epoch))) == 4
    assert source.skipped == [source.name_of(5)]
    loader.close()


def test_dead_loader_process_is_one_line(files):
    loader = train_loader(files().train, transform=_die, workers=1)
    with pytest.raises(RunError, match=r"a loader process died .*launch\.workers") as error:
        list(loader.epoch(0))
    assert "\n" not in str(error.value)


def _die(image):
    os._exit(3)


def _stopped_at_birth(worker):
    os.kill(os.getpid(), signal.SIGTERM)
    leave_signals_to_trainer(worker)


def test_a_stop_that_meets_a_loader_process_at_its_birth_is_the_trainers_too(files, monkeypatch):
    monkeypatch.setattr(fetch, "leave_signals_to_trainer", _stopped_at_birth)
    loader = train_loader(files().train, transform=deit_transform(), workers=2)
    assert len(flat(loader.epoch(0))) == 4
    loader.close()
    assert signal.SIGTERM not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


@pytest.mark.alone
def test_loader_processes_leave_signals_to_the_trainer(files):
    loader = train_loader(files().train, transform=deit_transform(), workers=1)
    steps = loader.epoch(0)
    first = next(steps)
    (worker,) = loader._fetch._loader._iterator._workers
    for name in ("INT", "TERM", "USR1"):
        subprocess.run(["kill", f"-{name}", str(worker.pid)], check=True)
    time.sleep(0.1)
    assert len(flat([first, *steps])) == 4
    assert worker.is_alive()
    worker.terminate()
    worker.join()
    assert worker.exitcode == 0


def test_closing_ends_the_loader_processes_even_within_an_epoch(files):
    loader = train_loader(files().train, transform=deit_transform(), workers=2)
    steps = loader.epoch(0)
    next(steps)
    workers = loader._fetch._loader._iterator._workers
    loader.close()
    assert not any(worker.is_alive() for worker in workers)
    loader.close()


def test_trainer_that_fails_within_an_epoch_ends_with_its_loader_processes(files):
    code = (
        "import torch\n"
        "from scaledrelu.data.datasets import scan_folder\n"
        "from scaledrelu.data.loaders import TrainLoader\n"
        f"source = scan_folder({files().train.root!r})\n"
        "loader = TrainLoader(source, groups=[0], num_groups=1, group_size=2, repeats=1, seed=0,\n"
        "                     transform=lambda image: torch.zeros(1), workers=2)\n"
        "for step in loader.epoch(0):\n"
        "    raise ValueError('the trainer failed')\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True
    )
    assert ended.returncode == 1
    assert "the trainer failed" in ended.stderr


def test_images_in_memory_live_on_the_device_and_batches_are_selected_there(digits):
    training = train_loader(digits, pin=True, device="meta")  # has no bytes to copy back
    evaluated = EvalLoader(digits, rank=0, world_size=1, batch=100, pin=True, device="meta")
    for batch in (*flat([next(training.epoch(0))]), *evaluated):
        assert {batch.images.device.type, batch.targets.device.type} == {"meta"}
        assert batch.images.dtype == torch.uint8
        assert {batch.indices.device.type, batch.views.device.type} == {"cpu"}


def evaluating(source, device):
    return EvalLoader(source, rank=0, world_size=1, batch=100, device=device)


def test_loaders_of_the_same_images_share_one_copy_on_a_device(digits):
    with Allocated() as memory:
        loaders = [train_loader(digits, device="meta"), evaluating(digits, torch.device("meta"))]
        loaders.append(evaluating(digits, "meta"))
    assert memory.sizes.count(digits.images.nbytes) == 1
    again = pickle.loads(pickle.dumps(digits))  # as loader processes may get it
    assert torch.equal(again.images, digits.images)


def test_the_copy_on_a_device_goes_with_the_last_loader_that_needs_it(digits):
    copy = weakref.ref(digits.images_on("meta"))
    assert copy() is None
    loader = evaluating(digits, "meta")
    copy = weakref.ref(digits.images_on("meta"))
    assert copy() is not None
    del loader
    assert copy() is None
    assert digits.images_on("cpu") is digits.images_on(None) is digits.images


def test_selected_images_have_a_copy_of_their_own(digits):
    kept = evaluating(digits, "meta"), train_loader(digits, device="cpu")
    order = np.array([7, 3, 11])
    part = digits.select(order)
    (there,), (here,) = evaluating(part, "meta"), evaluating(part, "cpu")
    assert there.images.device.type == "meta"
    assert there.images.shape == here.images.shape == (3, *digits.images.shape[1:])
    assert torch.equal(here.images, digits.images[order])
    assert len(kept) == 2  # alive until here


# --- evaluation


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


# --- real images


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
