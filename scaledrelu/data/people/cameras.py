"""Invented cameras: scenery, view, light and colours that one camera gives to all it sees.

Decides how a person becomes an image; who is seen where is decided elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scaledrelu.data.people.canvas import FINE, Canvas, Colour, Pattern
from scaledrelu.data.people.pedestrians import Facing, Person, Pose, draw_person

HEIGHT, WIDTH = 64, 32  # pixels of an image
_PREFERRED = 0.6  # share of the images in which people face the camera's usual way
_SHADES, _TINTS = 220, 80  # grey levels of the scenery per strength: light and dark, and hues
_FRAGMENT = 2.2  # a fragment shows a person this many times too large


@dataclass(frozen=True, slots=True)
class Camera:
    """What all images of one camera share."""

    gain: np.ndarray  # of red, green and blue
    brightness: float  # added; 1 = full scale
    contrast: float
    saturation: float
    light: float  # brightness of the right edge minus that of the left
    scale: float  # of people
    shift: tuple[float, float]  # of people, in pixels: right, down
    mirrored: bool
    blurred: bool
    facing: Facing  # how people usually walk here
    horizon: float  # pixels: where the wall meets the ground
    wall: tuple[Colour, Colour]
    ground: tuple[Colour, Colour]
    pattern: Pattern  # of the wall


@dataclass(frozen=True, slots=True)
class Variation:
    """What differs between two images of one person by one camera."""

    brightness: float  # largest change
    misplaced: float  # pixels: largest error of the box
    occluded: float  # share of the images in which something stands before the person


def invent_cameras(count: int, *, strength: float, rng: np.random.RandomState) -> list[Camera]:
    """Return cameras that differ the more, the larger the strength.

    Args:
        count: how many.
        strength: largest relative change of a colour's gain; light, contrast and scenery follow.
        rng: source of all draws.
    """
    return [_invent_camera(strength, rng) for _ in range(count)]


def photograph(
    person: Person | None,
    camera: Camera,
    variation: Variation,
    *,
    rng: np.random.RandomState,
    fragment: bool = False,
) -> np.ndarray:
    """Return what a camera makes of a person.

    Args:
        person: who is seen; None = the scenery alone, as a detector's false alarm.
        camera: the camera that sees them.
        variation: how much the image may differ from the camera's others.
        rng: source of all draws.
        fragment: show a part of the person only, as a detector's bad box.

    Returns:
        HEIGHT x WIDTH x 3, uint8.
    """
    canvas = Canvas(_scenery(camera, rng))
    if person is not None:
        draw_person(canvas, person, _pose(person, camera, variation, rng, fragment=fragment))
        if rng.uniform() < variation.occluded:
            _occlude(canvas, camera, rng)
    scene = canvas.finish()
    if camera.mirrored:
        scene = scene[:, ::-1]
    return _expose(scene, camera, variation, rng)


def _invent_camera(strength: float, rng: np.random.RandomState) -> Camera:
    def around(middle: float, spread: float) -> float:
        return rng.uniform(middle - spread, middle + spread)

    return Camera(
        gain=np.array([around(1, strength) for _ in range(3)]),
        brightness=around(0, strength / 3),
        contrast=around(1, strength / 1.5),
        saturation=around(1 - strength / 2, strength / 2),
        light=around(0, strength),
        scale=around(1.0, 0.08),
        shift=(around(0, 2), around(0, 2)),
        mirrored=rng.uniform() < 0.5,
        blurred=rng.uniform() < strength,
        facing=tuple(Facing)[rng.randint(len(Facing))],
        horizon=around(0.55, 0.25) * HEIGHT,
        wall=(_dull_colour(strength, rng), _dull_colour(strength, rng)),
        ground=(_dull_colour(strength, rng), _dull_colour(strength, rng)),
        pattern=tuple(Pattern)[rng.randint(len(Pattern))],
    )


def _dull_colour(strength: float, rng: np.random.RandomState) -> Colour:
    grey = 125 + _SHADES * strength * rng.uniform(-1, 1)
    tinted = grey + _TINTS * strength * rng.uniform(-1, 1, size=3)
    red, green, blue = np.clip(tinted, 0, 255).astype(int).tolist()
    return red, green, blue


def _scenery(camera: Camera, rng: np.random.RandomState) -> np.ndarray:
    """Return a fine canvas with wall and ground, looked at a little differently each time."""
    canvas = Canvas(np.zeros((HEIGHT * FINE, WIDTH * FINE, 3)))
    canvas.pixels[:] = camera.wall[0]
    aside, horizon = rng.uniform(0, WIDTH), camera.horizon + rng.uniform(-3, 3)
    for x in (aside - WIDTH, aside, aside + WIDTH):
        canvas.garment(x, (0, horizon), (WIDTH / 2.5,) * 2, camera.wall, camera.pattern)
    below = (horizon, HEIGHT + 1)
    canvas.garment(aside, below, (WIDTH * 1.2, WIDTH * 2.5), camera.ground, Pattern.COLUMNS)
    return canvas.pixels


def _pose(
    person: Person,
    camera: Camera,
    variation: Variation,
    rng: np.random.RandomState,
    *,
    fragment: bool,
) -> Pose:
    usual = rng.uniform() < _PREFERRED
    height = person.height * HEIGHT * camera.scale * rng.uniform(0.95, 1.05)
    x = WIDTH / 2 + camera.shift[0] + variation.misplaced * rng.uniform(-1, 1)
    y = (HEIGHT - height) / 2 + camera.shift[1] + variation.misplaced * rng.uniform(-1, 1)
    if fragment:
        height *= _FRAGMENT
        x, y = x + WIDTH * rng.uniform(-0.5, 0.5), -height * rng.uniform(0.0, 0.55)
    return Pose(
        facing=camera.facing if usual else tuple(Facing)[rng.randint(len(Facing))],
        stride=rng.uniform(-1, 1),
        swing=rng.uniform(-1, 1),
        height=height,
        x=x,
        y=y,
    )


def _occlude(canvas: Canvas, camera: Camera, rng: np.random.RandomState) -> None:
    """Put a post, a hedge or a wall's edge before the person."""
    kind, colours = rng.randint(3), camera.wall[::-1]
    if kind == 0:
        canvas.garment(rng.uniform(8, 24), (0, HEIGHT), (3, 3), colours)
    elif kind == 1:
        for x in range(0, WIDTH + 1, 6):
            canvas.ellipse(x, HEIGHT, (6, HEIGHT * rng.uniform(0.25, 0.45)), camera.ground[1])
    else:
        side = rng.randint(2) * WIDTH
        canvas.garment(side, (0, HEIGHT), (rng.uniform(8, 14),) * 2, colours, camera.pattern)


def _expose(
    scene: np.ndarray, camera: Camera, variation: Variation, rng: np.random.RandomState
) -> np.ndarray:
    """Turn a scene into what the sensor records, uint8."""
    if camera.blurred:
        padded = np.pad(scene, ((1, 1), (1, 1), (0, 0)), mode="edge")
        scene = (padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]) / 4
    grey = scene.mean(axis=2, keepdims=True)
    image = (grey + camera.saturation * (scene - grey)) / 255 * camera.gain
    image = (image - 0.5) * camera.contrast + 0.5 + camera.brightness
    image += variation.brightness * rng.uniform(-1, 1)
    image += camera.light * (np.arange(WIDTH)[None, :, None] / (WIDTH - 1) - 0.5)
    image += 0.02 * rng.uniform(-1, 1, size=image.shape)
    return np.floor(np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)
