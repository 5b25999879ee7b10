"""A cache of decoded images for each test; a ``conftest.py`` that imports it switches it on."""

import pytest


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """Keep decoded images in the folder of the test, not in that of whoever runs it."""
    monkeypatch.setenv("SCALEDRELU_CACHE", str(tmp_path / "cache"))
