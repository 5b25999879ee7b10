"""On a GPU the augmentation mixes no tensors of two devices and never waits for a value.

torch's fake tensors pretend to lie on a GPU: they have shapes and devices, but no values. What asks
for one, or combines a tensor of the host with one of the GPU, raises, here as well as there.
"""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from scaledrelu.config.run import RunConfig
from scaledrelu.data.augment import DeviceAugment
from scaledrelu.data.batch import RawBatch
from scaledrelu.data.device import draws
from scaledrelu.data.device.crops import CropAugment
from scaledrelu.data.device.draws import sent
from scaledrelu.data.device.hsv import hsv_tables
from scaledrelu.runs.prepare import Prepare
from scaledrelu.tasks.base import Progress
from tests.helpers.configs import composed
from tests.helpers.pretended_gpu import pretended_gpu

NUM_IMAGES = 16  # enough for every operation of the policy to be drawn


@dataclass
class OnHost:
    """Numbers of images, which fake mode leaves alone."""

    values: np.ndarray

    def numpy(self) -> np.ndarray:
        return self.values

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None) -> OnHost:
        assert func is torch.cat
        return cls(np.concatenate([part.values for part in args[0]]))


def pretended(config: RunConfig, count: int = NUM_IMAGES, group: int = 0) -> RawBatch:
    """Return a group on a GPU that is not there; call in fake mode."""
    crops = config.augment.multi_crop
    views = 1 if crops is None else 2
    shape = (views * count, 3, config.data.height, config.data.width)
    images = torch.empty(shape, dtype=torch.uint8, device="cuda")
    local = None
    if crops is not None:
        shape = (crops.num_local * count, 3, crops.local_size, crops.local_size)
        local = torch.empty(shape, dtype=torch.uint8, device="cuda")
    indices = np.arange(group * count, (group + 1) * count)
    numbers = OnHost(indices), OnHost(np.zeros(count, dtype=np.int64))
    targets = torch.zeros(count, dtype=torch.int64, device="cuda")
    return RawBatch(images, targets, *numbers, group=group, local=local)


@pytest.fixture(autouse=True)
def tables_of_a_pretended_gpu():
    """Tables are kept for each device; those made here are no numbers."""
    yield
    hsv_tables.cache_clear()
    draws._positions.cache_clear()


def changed(config: RunConfig) -> list[torch.Tensor]:
    with pretended_gpu():
        raw, data = pretended(config), config.data
        if config.augment.multi_crop is None:
            augment = DeviceAugment(mean=data.mean, std=data.std, seed=0, augment=config.augment)
            return [augment(raw, epoch=0)]
        crops = CropAugment(config.augment.multi_crop, hflip=0.5, seed=0)(raw, epoch=0)
        return [crops.images, crops.local]


@pytest.mark.parametrize(
    "overrides",
    [
        ["recipe=deit"],
        ["recipe=deit", "augment.rand_augment=null"],
        ["recipe=dino"],
        ["recipe=reid"],
    ],
)
def test_images_stay_on_the_gpu_and_nothing_is_asked_of_it(overrides: list[str]) -> None:
    config = composed("profile=paper", "data.augment=device", *overrides)
    for images in changed(config):
        assert images.device.type == "cuda"


def test_images_with_label_maps_become_targets_and_floats_on_the_gpu() -> None:
    config = composed("profile=paper", "recipe=volo", "model=volo_d1", "launch=local")
    with pretended_gpu():
        gpu = torch.device("cuda")
        raw = replace(
            pretended(config),
            maps=torch.empty(NUM_IMAGES, 2, 5, 18, 18, dtype=torch.float16, device=gpu),
            boxes=torch.empty(NUM_IMAGES, 4, device=gpu),
            erased=torch.empty(4, 5, dtype=torch.int64, device=gpu),
            noise=torch.empty(3 * 1000, device=gpu),
        )
        (batch,) = Prepare(config, 1000, gpu, (14, 14))([raw], Progress(0, 10, 0, 5))
    assert batch.images.dtype == torch.float32
    for tensor in (batch.images, batch.targets, batch.token_targets):
        assert tensor.device.type == "cuda"


def test_a_pretended_gpu_notices_what_asks_for_a_value_and_what_mixes_devices() -> None:
    with pretended_gpu():
        there = torch.zeros(4, device="cuda")
        with pytest.raises(Exception, match="_local_scalar_dense"):
            bool(there.sum() > 0)
        with pytest.raises(Exception, match=r"same device|two different devices"):
            there + torch.zeros(4)


@pytest.mark.skipif(torch.cuda.is_available(), reason="no process is forked beside a real GPU")
def test_processes_that_are_forked_after_a_pretended_gpu_can_train() -> None:
    code = (
        "import os, torch\n"
        "from tests.helpers.pretended_gpu import pretended_gpu\n"
        "train = lambda: torch.zeros((), requires_grad=True).backward()\n"
        "with pretended_gpu(): pass\n"
        "train()\n"
        "if os.fork() == 0: train(); os._exit(0)\n"
        "raise SystemExit(os.waitstatus_to_exitcode(os.wait()[1]))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


class Launches(TorchDispatchMode):
    """Counts what a GPU is asked to do, and notes the bytes of each copy from the host."""

    def __init__(self):
        super().__init__()
        self.operations, self.copies = 0, []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        # To ask a fake tensor for its device is an operation, too.
        self.operations += func.namespace != "prim" and not func.is_view
        if func is torch.ops.aten._to_copy.default and args[0].device.type == "cpu":
            self.copies.append(args[0].nbytes if result.device.type == "cuda" else 0)
        return result


def launches(config: RunConfig, *, groups: int, size: int) -> Launches:
    """Return what one update asks of a GPU to which its groups have been copied."""
    with pretended_gpu():
        prepare = Prepare(config, 1000, torch.device("cuda"))
        for step in range(2):  # in the first one, tables are copied that stay there
            update = [pretended(config, size, group) for group in range(groups)]
            with Launches() as seen:
                prepare(update, Progress(step, 10, 0, 5))
    return seen


AUGMENTED = pytest.mark.parametrize(
    ("overrides", "size"),
    [
        (["recipe=deit"], 128),
        (["recipe=deit", "augment.rand_augment=null"], 128),
        (["recipe=dino"], 64),
        (["recipe=dino", "batch.sync_bn=false"], 64),
        (["recipe=reid"], 64),
    ],
    ids=["deit", "deit with jitter", "dino", "dino in groups", "reid"],
)


@AUGMENTED
def test_more_groups_ask_for_no_more_operations_than_one_that_holds_their_images(
    overrides: list[str], size: int
) -> None:
    """But for joining and mixing them: a dozen operations a group.

    The images are small, so that an operation changes all of them at once.
    """
    config = composed("profile=paper", "data.augment=device", "data.image_size=32", *overrides)
    one = launches(config, groups=1, size=8 * size)
    several = launches(config, groups=8, size=size)
    assert several.operations - one.operations <= 8 * 12
    assert len(several.copies) == len(one.copies)


@AUGMENTED
def test_nothing_of_an_update_at_paper_size_is_too_long_to_copy_unnoticed(
    overrides: list[str], size: int
) -> None:
    seen = launches(
        composed("profile=paper", "data.augment=device", *overrides), groups=8, size=size
    )
    assert len(seen.copies) > 1
    assert max(seen.copies) <= 1 << 16


@pytest.mark.parametrize(
    ("recipe", "size", "words"),
    [
        (
            "deit",
            128,
            r"DeiT's eight groups .{,20} ([\d,]+) operations and (\d+) copies",
        ),
        ("dino", 64, r"DINO's eight take ([\d,]+) and (\d+) instead of"),
    ],
)
def test_an_update_asks_for_as_much_as_the_documentation_says(
    recipe: str, size: int, words: str
) -> None:
    """But for a few operations that another version of torch may do at once or one by one."""
    text = " ".join((Path(__file__).parents[3] / "docs" / "running.md").read_text().split())
    operations, copies = re.search(words, text).groups()
    config = composed("profile=paper", "data.augment=device", f"recipe={recipe}")
    seen = launches(config, groups=8, size=size)
    assert seen.operations == pytest.approx(int(operations.replace(",", "")), rel=0.03)
    assert len(seen.copies) == int(copies)


@pytest.mark.parametrize("shape", [(1 << 16,), (70_000,), (600, 256), (3, 65_536), (600, 1, 1, 1)])
@pytest.mark.parametrize("kind", [np.uint8, np.float64])
def test_what_is_sent_in_several_copies_arrives_as_one(shape: tuple[int, ...], kind: type) -> None:
    with pretended_gpu(), Launches() as seen:
        (found,) = sent([np.zeros(shape, dtype=kind)], torch.device("cuda"))
    assert found.shape == shape
    assert found.dtype == torch.from_numpy(np.zeros(0, dtype=kind)).dtype
    assert sum(seen.copies) == found.nbytes
    assert len(seen.copies) == -(-found.nbytes // (1 << 16))


def test_several_arrays_are_sent_in_one_copy() -> None:
    with pretended_gpu(), Launches() as seen:
        sent([np.zeros(5, dtype=np.uint8), np.zeros((3, 7))], torch.device("cuda"))
    assert len(seen.copies) == seen.operations == 1
