"""How many loader processes feed a device, where nobody says."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scaledrelu.config import launch
from tests.helpers.configs import composed

CORES = 96


@pytest.mark.parametrize(
    ("changes", "environment", "expected"),
    [
        ({"nproc": 8}, {}, 12),
        ({"nproc": 1}, {}, 16),  # more were not measured
        ({"nproc": 1}, {"LOCAL_WORLD_SIZE": "8"}, 12),  # torchrun started the others
        ({"nproc": 1}, {"SLURM_CPUS_PER_TASK": "6"}, 6),  # srun did
        ({"nproc": 8}, {"SLURM_CPUS_PER_TASK": "96"}, 12),  # one task, whose run starts eight
        ({"nproc": 200}, {}, 1),
        ({"nproc": 8, "workers": 3}, {}, 3),
        ({"nproc": 8, "workers": 0}, {}, 0),
    ],
)
def test_a_device_has_a_loader_process_on_every_core_of_its_own(
    changes, environment, expected, monkeypatch
):
    monkeypatch.setattr(launch, "visible_cores", lambda: CORES)
    for name in ("LOCAL_WORLD_SIZE", "SLURM_CPUS_PER_TASK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    config = composed("profile=paper").launch
    assert config.workers is None
    assert replace(config, **changes).loader_processes == expected
