"""One process with four groups and two processes with two each train the same VOLO."""

import pytest
import torch
from torch.nn.parallel import DistributedDataParallel

from scaledrelu.data.batch import Batch
from scaledrelu.engine.statistics import sync_buffers
from scaledrelu.tasks.volo import Volo
from tests.helpers.model_builders import MINI_VOLO, make_volo
from tests.helpers.step_toys import at, make_update, sam
from tests.helpers.two_ranks import on_two_ranks

CASES = {"plain": {}, "sam": {"sam": sam()}}
STEPS = 3


def noise(step, group):
    generator = torch.Generator().manual_seed(1000 * step + group)
    images = torch.randn(4, 3, 16, 16, generator=generator, dtype=torch.float64)
    targets = (3 * torch.randn(4, 10, generator=generator)).softmax(-1)
    tokens = (3 * torch.randn(4, 16, 10, generator=generator)).softmax(-1)
    return Batch(images, targets, group, tokens)


class NotingVolo(Volo):
    """Notes every box with its step and group."""

    def __init__(self, backbone):
        weights = {"class_weight": 1.0, "token_weight": 0.5}
        super().__init__(backbone, num_classes=10, seed=0, mix_token=1.0, **weights)
        self.boxes = []

    def draw_box(self, step, group):
        box = super().draw_box(step, group)
        self.boxes.append(f"{step} {group} {box}")
        return box


def train(name, groups, wrap=lambda task: task):
    """Train a few steps and return the final state, and the boxes of every pass."""
    torch.manual_seed(0)
    model = make_volo(ffn="conv1d_bn", **(MINI_VOLO | {"drop_path": 0.2})).double()
    task = NotingVolo(model)
    wrapped = wrap(task)
    # Not AdamW: it turns the rounding noise of a zero gradient into a step of full size.
    optimizer = torch.optim.SGD(task.parameters(), lr=0.05, momentum=0.9)
    update = make_update(wrapped, optimizer, groups_local=groups, **CASES[name])
    for step in range(STEPS):
        update([noise(step, group) for group in groups], at(step))
    sync_buffers(wrapped)
    return {"state": task.state_dict(), "boxes": task.boxes}


def work(rank):
    def wrap(task):
        return DistributedDataParallel(task, broadcast_buffers=False, gradient_as_bucket_view=True)

    groups = (0, 1) if rank == 0 else (2, 3)
    return {name: train(name, groups, wrap) for name in CASES}


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    return on_two_ranks(work, tmp_path_factory.mktemp("ranks"))


@pytest.mark.parametrize("name", CASES)
def test_two_ranks_equal_one_process_with_mix_token(name, ranks):
    expected = train(name, (0, 1, 2, 3))
    for rank in ranks:
        for key, value in expected["state"].items():
            torch.testing.assert_close(
                rank[name]["state"][key], value, rtol=1e-7, atol=1e-9, msg=key
            )
    assert sorted(ranks[0][name]["boxes"] + ranks[1][name]["boxes"]) == sorted(expected["boxes"])
    assert len(set(expected["boxes"])) == STEPS * 4


def test_both_passes_of_sam_see_the_same_box(ranks):
    boxes = ranks[0]["sam"]["boxes"]
    assert len(boxes) == 2 * STEPS * 2
    assert all(boxes.count(box) == 2 for box in boxes)
