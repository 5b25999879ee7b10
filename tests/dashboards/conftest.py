"""A stand-in for W&B's server, and results of a few runs that were copied from real ones."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.helpers.fake_wandb import FakeWandb, fake_wandb


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeWandb]:
    """The stand-in, with its key in the environment."""
    pytest.importorskip("wandb")
    with fake_wandb(monkeypatch) as fake:
        yield fake
