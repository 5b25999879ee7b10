import pytest


@pytest.fixture
def no_pictures(monkeypatch):
    """Leave the pictures out, where a test is not about them."""
    for name in ("draw_map", "draw_rates", "draw_largest"):
        monkeypatch.setattr(f"scaledrelu.reports.stability.files.{name}", lambda *_: [])
