"""Shared fixtures: small configurations and folders of images."""

from __future__ import annotations

import os

# Before torch starts its threads: several test processes share the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scaledrelu.config.compose import compose


@pytest.fixture
def smoke(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Compose a run of a few steps on digits whose results go to a temporary folder."""

    def make(*overrides: str) -> dict[str, Any]:
        return compose(["profile=smoke", f"paths.results={tmp_path / 'results'}", *overrides])

    return make
