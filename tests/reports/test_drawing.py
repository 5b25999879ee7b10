"""Marks and colours of every picture can be told apart and read."""

from __future__ import annotations

from itertools import product

import pytest

from scaledrelu.reports.drawing import CRASH, LOOKS, drawing, look, mark_no_value, text_on
from tests.helpers.colours import contrast


def test_no_series_has_a_mark_that_looks_like_a_crash_or_like_another() -> None:
    markers = [one.marker for one in LOOKS]
    assert len(set(markers)) == len(markers)
    assert CRASH["marker"] not in [marker.lower() for marker in markers]


def test_text_stands_out_from_every_colour() -> None:
    steps = [n / 8 for n in range(9)]
    for colour in product(steps, steps, steps):
        assert contrast(colour, {"white": (1, 1, 1), "black": (0, 0, 0)}[text_on(colour)]) >= 4.5


@pytest.mark.parametrize("x", [0.2, 30.0])
def test_a_mark_without_a_value_lies_below_the_axis_and_within_its_ends(x: float) -> None:
    with drawing(4, 3) as (figure, axes):
        axes.plot([1, 2], [5.0, 6.0])
        mark_no_value(axes, x, look(0))
        figure.draw_without_rendering()
        mark = axes.get_lines()[-1]
        place = mark.get_transform().transform((x, 0))
        left, right = axes.get_xlim()
        assert left <= x <= right
        assert axes.bbox.y0 - 15 < place[1] < axes.bbox.y0
        assert axes.get_ylim() == pytest.approx((4.95, 6.05)), "no value, no room for it"
        assert mark.get_markerfacecolor() == "none"
