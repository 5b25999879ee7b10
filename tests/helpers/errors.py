"""What a user sees of an error."""

import pytest


def one_line(error: pytest.ExceptionInfo) -> str:
    """Return the message of an error, which has to be one line."""
    line = str(error.value)
    assert "\n" not in line
    return line
