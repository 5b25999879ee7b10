"""MixToken's box has the official geometry."""

from collections import Counter

import numpy as np
import pytest

from scaledrelu.models.mix_token import Box, mix_box


class Centre:
    """Gives these centres, row first, in place of a random generator."""

    def __init__(self, row, column):
        self.cells, self.sizes = [row, column], []

    def integers(self, size):
        self.sizes.append(size)
        return self.cells[len(self.sizes) - 1]


@pytest.mark.parametrize(
    ("grid", "lam", "centre", "expected"),
    [
        ((14, 14), 0.75, (7, 7), Box(4, 4, 10, 10)),  # side 7 becomes 6
        ((14, 14), 0.75, (0, 13), Box(0, 10, 3, 14)),  # clipped at two edges
        ((14, 14), 0.0, (7, 7), Box(0, 0, 14, 14)),  # everything
        ((14, 14), 0.0, (0, 0), Box(0, 0, 7, 7)),
        ((14, 14), 1.0, (5, 5), Box(5, 5, 5, 5)),  # nothing
        ((14, 14), 0.99, (5, 5), Box(5, 5, 5, 5)),  # side 1.4 becomes 0
        ((6, 10), 0.64, (3, 2), Box(2, 0, 4, 5)),  # sides 3 and 6 of 0.6
    ],
)
def test_the_box_is_centred_rounded_down_and_clipped(grid, lam, centre, expected):
    generator = Centre(*centre)
    assert mix_box(grid, lam=lam, generator=generator) == expected
    assert generator.sizes == list(grid)


def test_area_is_what_clipping_left():
    assert Box(0, 10, 3, 14).area == 12
    assert Box(5, 5, 5, 5).area == 0


def test_every_cell_is_a_centre_equally_often():
    generator = np.random.default_rng(0)
    lam = 1 - (2.2 / 14) ** 2  # half a side is one cell, so the far edge tells the centre
    boxes = [mix_box((14, 14), lam=lam, generator=generator) for _ in range(4200)]
    for ends in ([box.bottom for box in boxes], [box.right for box in boxes]):
        counts = Counter(ends)
        assert set(counts) == set(range(1, 15))
        assert all(count == pytest.approx(300, abs=90) for count in counts.values())
