"""A stand-in for W&B's server, and results of a few runs that were copied from real ones."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.helpers.fake_wandb import KEY, FakeWandb, fake_wandb


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeWandb]:
    """The stand-in, with its key in the environment."""
    pytest.importorskip("wandb")
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    with fake_wandb() as (fake, address):
        monkeypatch.setenv("WANDB_BASE_URL", address)
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        yield fake
