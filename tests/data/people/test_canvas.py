"""Shapes have the area that geometry says."""

import math

import numpy as np
import pytest

from scaledrelu.data.people.cameras import HEIGHT, WIDTH
from scaledrelu.data.people.canvas import FINE, Canvas, Pattern


@pytest.mark.parametrize(
    ("draw", "area"),
    [
        (lambda c: c.ellipse(16, 30, (6, 9), (1, 1, 1)), math.pi * 6 * 9),
        (lambda c: c.limb([(8, 20), (20, 36)], 3, (1, 1, 1)), 2 * 3 * 20 + math.pi * 9),
        (lambda c: c.garment(16, (10, 40), (5, 9), ((1, 1, 1),) * 2), 30 * (5 + 9)),
        (lambda c: c.ellipse(0, 64, (6, 9), (1, 1, 1)), math.pi * 6 * 9 / 4),
        (lambda c: c.ellipse(-20, -20, (6, 9), (1, 1, 1)), 0),
        (lambda c: c.garment(16, (10, 40), (6, 6), ((0, 0, 0), (1, 1, 1)), Pattern.YOKE), 144),
        (lambda c: c.garment(16, (10, 40), (6, 6), ((0, 0, 0), (1, 1, 1)), Pattern.CHECKS), 180),
    ],
)
def test_shapes_cover_the_area_that_geometry_says(draw, area):
    canvas = Canvas(np.zeros((HEIGHT * FINE, WIDTH * FINE, 3)))
    draw(canvas)
    assert canvas.finish()[..., 0].sum() == pytest.approx(area, rel=0.04)
