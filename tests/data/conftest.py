import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

FIXTURES = Path(__file__).parent.parent / "fixtures"


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SCALEDRELU_CACHE", str(tmp_path / "cache"))


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
