import pytest

from tests.helpers.caches import own_cache as own_cache
from tests.helpers.reid_folders import write_market, write_msmt


@pytest.fixture
def market(tmp_path):
    """A folder with Market-1501's layout."""
    return write_market(tmp_path / "market")


@pytest.fixture
def msmt(tmp_path):
    """A folder with the layout of MSMT17's first version."""
    return write_msmt(tmp_path / "msmt", "v1")
