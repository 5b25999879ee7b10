import pytest

from scaledrelu.data.datasets import open_digits
from tests.helpers.caches import own_cache as own_cache
from tests.helpers.image_folders import open_folder
from tests.helpers.reid_folders import write_market, write_msmt


@pytest.fixture
def digits():
    """The training digits in memory, at their own size."""
    return open_digits(image_size=8).train


@pytest.fixture
def files(image_folder):
    """A function: changes -> the splits of a folder of 4 and 3 images of each class."""

    def opened(**changes):
        return open_folder(image_folder({"train": 4, "val": 3}), **changes)

    return opened


@pytest.fixture
def market(tmp_path):
    """A folder with Market-1501's layout."""
    return write_market(tmp_path / "market")


@pytest.fixture
def msmt(tmp_path):
    """A folder with the layout of MSMT17's first version."""
    return write_msmt(tmp_path / "msmt", "v1")
