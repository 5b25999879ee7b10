"""Two processes train the same DINO as one: with groups apart, and with shared BatchNorm."""

import pytest
import torch
from torch.nn.parallel import DistributedDataParallel

from scaledrelu.engine.statistics import sync_buffers
from scaledrelu.models.sync_batchnorm import RanksBatchNorm, sync_batchnorm
from tests.helpers.dino_toys import SAM, adamw, at, crops, join, make_dino, make_update
from tests.helpers.two_ranks import on_two_ranks

STEPS = 3
CASES = {"apart": (False, None), "shared": (True, None), "shared_sam": (True, SAM)}
CPU = torch.device("cpu")


def train(sam, groups, batches_at, prepare=lambda task: task):
    task = make_dino(strides=(2, 1, 1), freeze_last_layer_epochs=0)
    update = make_update(prepare(task), adamw(task), groups_local=groups, sam=sam)
    for step in range(STEPS):
        update(batches_at(step), at(step))
    sync_buffers(task)
    return {name: value.clone() for name, value in task.state_dict().items()}


def alone(case):
    shared, sam = CASES[case]
    if shared:
        return train(sam, (0,), lambda step: [join(crops(step, 0), crops(step, 1))])
    return train(sam, (0, 1), lambda step: [crops(step, 0), crops(step, 1)])


def work(rank):
    def prepare(task, shared):
        if shared:
            task = sync_batchnorm(task, CPU)
            assert sum(isinstance(m, RanksBatchNorm) for m in task.modules()) == 6
        return DistributedDataParallel(task, broadcast_buffers=False, gradient_as_bucket_view=True)

    found = {
        case: train(
            sam,
            (rank,),
            lambda step: [crops(step, rank)],
            lambda task, shared=shared: prepare(task, shared),
        )
        for case, (shared, sam) in CASES.items()
    }
    return found


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    return on_two_ranks(work, tmp_path_factory.mktemp("ranks"))


@pytest.mark.parametrize("case", CASES)
def test_two_ranks_equal_one_process(case, ranks):
    expected = alone(case)
    assert expected["centre"].abs().max() > 0
    for rank in ranks:
        for name, value in expected.items():
            torch.testing.assert_close(rank[case][name], value, rtol=1e-8, atol=1e-10, msg=name)


def test_shared_statistics_are_not_those_of_the_groups(ranks):
    found = [ranks[0][case]["teacher.patch_embed.convs.1.running_var"] for case in CASES]
    assert not torch.allclose(found[0], found[1], rtol=1e-3)
