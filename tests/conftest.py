"""Shared fixtures: small configurations, folders of images, a stand-in for W&B's server."""

from __future__ import annotations

import gc
import logging
import os

# Before torch starts its threads: several test processes share the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scaledrelu.config.compose import compose
from scaledrelu.config.run import RunConfig
from tests.helpers.fake_wandb import FakeWandb, fake_wandb
from tests.helpers.yaml_once import parse_once

parse_once()
FIXTURES = Path(__file__).parent / "fixtures"


def pytest_configure(config: pytest.Config) -> None:
    """Hide GPUs from all tests but those of `pytest -m gpu`: recorded results are a CPU's."""
    if config.option.markexpr.strip() != "gpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


def pytest_collection_finish() -> None:
    """Spare the collector of garbage what was imported: it lives as long as the tests."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    """Let the interpreter end as it does without tests: libraries complain of what is kept."""
    gc.unfreeze()


@pytest.fixture(autouse=True)
def log_levels_as_before() -> Iterator[None]:
    """Undo what a command that ran in this process set: the next test's log is as long as alone."""
    loggers = [logging.getLogger(), logging.getLogger("scaledrelu")]
    before = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, before, strict=True):
        logger.setLevel(level)


@pytest.fixture(scope="session")
def composed_before(request: pytest.FixtureRequest, tmp_path_factory) -> Path:
    """A results folder for ``Composer``: what it composed is known to the next session, too.

    Under ``-p no:cacheprovider`` it is as new as the session.
    """
    cache = getattr(request.config, "cache", None)
    return Path(cache.mkdir("composed")) if cache else tmp_path_factory.mktemp("composed")


@pytest.fixture
def smoke(tmp_path: Path) -> Callable[..., RunConfig]:
    """Compose a run of a few steps on digits whose results go to a temporary folder."""

    def make(*overrides: str) -> RunConfig:
        return compose(["profile=smoke", f"paths.results={tmp_path / 'results'}", *overrides])

    return make


@pytest.fixture
def fixtures():
    return FIXTURES


@pytest.fixture
def image_folder(tmp_path):
    """A function that writes <root>/<split>/<class>/<i>.jpg and returns the root."""

    def write(sizes=None, *, classes=("cat", "dog", "owl"), pixels=(20, 24)):
        sizes = sizes or {"train": 4, "val": 2}
        rng = np.random.RandomState(0)
        root = tmp_path / "images"
        for split, count in sizes.items():
            for name in classes:
                (root / split / name).mkdir(parents=True)
                for i in range(count):
                    noise = rng.randint(0, 256, (*pixels, 3), dtype=np.uint8)
                    Image.fromarray(noise).save(root / split / name / f"{i}.jpg", quality=90)
        return root

    return write


@pytest.fixture
def truncate():
    """A function that cuts a file in half."""

    def cut(path):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        return path

    return cut


@pytest.fixture
def real_data():
    """The folder of real data sets; skips where there is none."""
    root = os.environ.get("SCALEDRELU_DATA")
    if not root:
        pytest.skip("SCALEDRELU_DATA does not name a folder of real data sets")
    return Path(root)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeWandb]:
    """The stand-in for W&B's server, with its key in the environment."""
    pytest.importorskip("wandb")
    with fake_wandb(monkeypatch) as fake:
        yield fake
