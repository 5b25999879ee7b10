"""Numbers of scripts lie within their range or get one line."""

from __future__ import annotations

import argparse

import pytest

from scaledrelu.config.ranges import FEW, SHARE_OF_AN_IMAGE, WORKERS, within


@pytest.mark.parametrize(
    ("allowed", "text", "value"),
    [(FEW, "8", 8), (WORKERS, "0", 0), (SHARE_OF_AN_IMAGE, "0.875", 0.875)],
)
def test_a_number_in_range_is_read(allowed, text, value) -> None:
    found = within(allowed)(text)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("allowed", "text"),
    [(FEW, "0"), (FEW, "-2"), (FEW, "2.5"), (FEW, "x"), (SHARE_OF_AN_IMAGE, "nan"), (WORKERS, "")],
)
def test_any_other_is_one_line_with_what_is_allowed(allowed, text, capsys) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--number", type=within(allowed))
    with pytest.raises(SystemExit) as ended:
        parser.parse_args([f"--number={text}"])
    assert ended.value.code == 2
    assert f"argument --number: {text}: {allowed}" in capsys.readouterr().err
