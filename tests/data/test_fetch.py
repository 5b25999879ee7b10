"""Loader processes give what one process gives, and end when and as they should."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from scaledrelu.data import fetch
from scaledrelu.data.datasets import scan_folder
from scaledrelu.data.loaders import EvalLoader
from scaledrelu.data.workers import Request, leave_signals_to_trainer
from scaledrelu.errors import DataError, RunError
from tests.helpers.loaders import deit_transform, flat, same, train_loader


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
    for name in ("INT", "TERM", "HUP", "USR1", "USR2"):
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
