"""Shapes and cloth patterns on a fine grid, in NumPy alone: no graphics library can change them.

Knows no person and no camera. Lengths are pixels of the finished image.
"""

from __future__ import annotations

import itertools
from enum import StrEnum

import numpy as np

FINE = 3  # drawn this many times finer than the finished image, which averages over it
Colour = tuple[int, int, int]


class Pattern(StrEnum):
    """How the second colour of a garment is laid out."""

    PLAIN = "plain"
    HOOPS = "hoops"
    COLUMNS = "columns"
    CHECKS = "checks"
    YOKE = "yoke"
    PATCH = "patch"


class Canvas:
    """A picture in the making; shapes may reach over its edges.

    Attributes:
        pixels: (FINE * height) x (FINE * width) x 3, float64 in 0..255.
    """

    def __init__(self, pixels: np.ndarray):
        self.pixels = pixels
        self._y = (np.arange(pixels.shape[0])[:, None] + 0.5) / FINE
        self._x = (np.arange(pixels.shape[1])[None, :] + 0.5) / FINE

    def ellipse(self, x: float, y: float, radii: tuple[float, float], colour: Colour) -> None:
        """Fill an ellipse around (x, y); radii across and down.

        Args:
            x: centre, in pixels from the left.
            y: centre, in pixels from the top.
            radii: across and down, in pixels.
            colour: RGB.
        """
        across, down = radii
        window = self._window((x - across, x + across), (y - down, y + down))
        u, v = (self._x[:, window[1]] - x) / across, (self._y[window[0]] - y) / down
        self.pixels[window][u * u + v * v <= 1] = colour

    def limb(self, joints: list[tuple[float, float]], radius: float, colour: Colour) -> None:
        """Fill a chain of segments with round ends; joints are (x, y).

        Args:
            joints: (x, y) of each, in pixels.
            radius: half the thickness, in pixels.
            colour: RGB.
        """
        for (ax, ay), (bx, by) in itertools.pairwise(joints):
            across = (min(ax, bx) - radius, max(ax, bx) + radius)
            down = (min(ay, by) - radius, max(ay, by) + radius)
            window = self._window(across, down)
            x, y = self._x[:, window[1]] - ax, self._y[window[0]] - ay
            dx, dy = bx - ax, by - ay
            along = np.clip((x * dx + y * dy) / max(dx * dx + dy * dy, 1e-9), 0.0, 1.0)
            inside = (x - along * dx) ** 2 + (y - along * dy) ** 2 <= radius * radius
            self.pixels[window][inside] = colour

    def garment(
        self,
        x: float,
        down: tuple[float, float],
        halves: tuple[float, float],
        colours: tuple[Colour, Colour],
        pattern: Pattern = Pattern.PLAIN,
    ) -> None:
        """Fill an upright trapezoid around x; halves are half widths at its top and bottom.

        Args:
            x: its middle, in pixels from the left.
            down: y of the top and of the bottom, in pixels.
            halves: half widths at the top and at the bottom, in pixels.
            colours: RGB of the cloth and of its pattern.
            pattern: how the second colour is laid out.
        """
        window = self._window((x - max(halves), x + max(halves)), down)
        v = (self._y[window[0]] - down[0]) / (down[1] - down[0])
        u = (self._x[:, window[1]] - x) / (halves[0] + v * (halves[1] - halves[0]))
        inside = (abs(u) <= 1) & (v >= 0) & (v <= 1)
        self.pixels[window][inside] = colours[0]
        self.pixels[window][inside & _second_colour(pattern, u, v)] = colours[1]

    def finish(self) -> np.ndarray:
        """Return the finished image, height x width x 3 in 0..255: means over the fine grid."""
        height, width = (size // FINE for size in self.pixels.shape[:2])
        fine = self.pixels.reshape(height, FINE, width, FINE, 3)
        return sum(fine[:, i, :, j] for i in range(FINE) for j in range(FINE)) / FINE**2

    def _window(
        self, across: tuple[float, float], down: tuple[float, float]
    ) -> tuple[slice, slice]:
        """Return rows and columns that hold a box, cut to the picture."""
        rows, columns = (
            slice(max(int(low * FINE), 0), max(int(high * FINE) + 1, 0))
            for low, high in (down, across)
        )
        return rows, columns


def _second_colour(pattern: Pattern, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return a mask of the second colour, or something that broadcasts to it.

    Args:
        pattern: how the second colour is laid out.
        u: position across, -1..1.
        v: position down, 0..1.
    """
    hoops, columns = np.floor(v * 6) % 2 == 1, np.floor(u * 2.5 + 0.5) % 2 == 1
    match pattern:
        case Pattern.HOOPS:
            return hoops
        case Pattern.COLUMNS:
            return columns
        case Pattern.CHECKS:
            return hoops ^ columns
        case Pattern.YOKE:
            return v < 0.4
        case Pattern.PATCH:
            return (abs(u) < 0.55) & (abs(v - 0.4) < 0.22)
        case Pattern.PLAIN:
            return np.zeros((1, 1), bool)
