"""Fixtures that train tiny runs in forked children, which can be killed at any moment."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable

import pytest
import torch

from scaledrelu.config.run import RunConfig
from scaledrelu.runs.spawn import run_job
from tests.helpers.tiny_runs import cpu_seconds, signal_itself


@pytest.fixture
def forked_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fork the ranks of a run, so that they need not load torch again.

    ``test_ranks.py`` spawns them, as a person's command does; so does a machine with a GPU, where
    torch forbids forks.
    """
    from torch.distributed.launcher import api

    if not torch.cuda.is_available():
        spawned = api.LaunchConfig
        monkeypatch.setattr(
            api, "LaunchConfig", lambda **told: spawned(**told | {"start_method": "fork"})
        )


@pytest.fixture
def in_child() -> Callable[..., str | None]:
    """Run a job in a forked child that may get a signal on the way.

    At a logged step, or after some seconds of its own CPU time. Not of the clock: on a busy machine
    the signal would come before or after the training.

    Returns how the job ended, or None if the child was killed first.
    """

    def run(
        config: RunConfig,
        *,
        number: int = signal.SIGKILL,
        at_step: int | None = None,
        after: float | None = None,
    ) -> str | None:
        torch.set_num_threads(1)
        child = os.fork()
        if child == 0:
            status = 99
            try:
                if at_step is not None:
                    signal_itself(number, at_step)
                ended = run_job(config).ended.value
                status = ["ok", "crash", "failed", "interrupted"].index(ended)
            finally:
                sys.stdout.flush()
                os._exit(status)
        if after is not None:
            while cpu_seconds(child) < after:
                time.sleep(0.002)
            os.kill(child, number)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            return None
        return ["ok", "crash", "failed", "interrupted"][os.WEXITSTATUS(status)]

    return run
