import pytest

from scaledrelu.text import duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (59.4, "59s"),
        (59.6, "1m 00s"),
        (204, "3m 24s"),
        (3600, "1h 00m"),
        (7500, "2h 05m"),
    ],
)
def test_durations_are_readable(seconds: float, text: str) -> None:
    assert duration(seconds) == text
