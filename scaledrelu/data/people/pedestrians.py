"""Invented pedestrians: what distinguishes them, and how one is drawn in a pose.

Knows no camera and no file. Lengths are shares of the person's height unless said otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal, TypeVar

import numpy as np

from scaledrelu.data.people.canvas import Canvas, Colour, Pattern

T = TypeVar("T")

CLOTH: tuple[Colour, ...] = (
    (35, 35, 40),
    (130, 130, 135),
    (45, 80, 180),
    (235, 235, 230),
    (200, 40, 45),
    (60, 140, 70),
    (120, 60, 140),
    (215, 120, 50),
    (225, 185, 50),
    (110, 180, 215),
)
_SKIN: tuple[Colour, ...] = ((240, 205, 180), (220, 175, 140), (170, 120, 85), (110, 75, 55))
_HAIR: tuple[Colour, ...] = ((30, 25, 22), (90, 60, 35), (190, 150, 80), (150, 145, 140))


class Facing(StrEnum):
    """Where a person looks, seen from the camera."""

    FRONT = "front"
    BACK = "back"
    LEFT = "left"
    RIGHT = "right"


@dataclass(frozen=True, slots=True)
class Person:
    """What stays the same wherever a person is seen."""

    height: float  # share of the image's height
    build: float  # width; 1 = average
    skin: Colour
    hair: Colour
    hair_style: Literal["short", "long", "cap"]  # of a cap, hair is the colour
    upper: Colour
    second: Colour
    pattern: Pattern  # of the upper garment
    sleeves: Literal["short", "long"]
    lower: Colour
    lower_kind: Literal["trousers", "shorts", "skirt"]
    shoes: Colour
    bag: Literal["none", "backpack", "shoulder"]
    bag_colour: Colour


@dataclass(frozen=True, slots=True)
class Pose:
    """How a person stands in one image."""

    facing: Facing
    stride: float  # in [-1, 1]: how far apart the feet are, and which one is in front
    swing: float  # in [-1, 1]: the arms
    height: float  # pixels
    x: float  # pixels from the left edge to the middle of the body
    y: float  # pixels from the upper edge to the top of the head


def invent_people(
    count: int, *, colours: int, alike: int, rng: np.random.RandomState
) -> list[Person]:
    """Return people in groups who share their outfit: colours and pattern of upper and lower.

    Those of a group differ in sleeves, kind of the lower garment, bag or hair style, and in all
    else that is drawn by chance.

    Args:
        count: how many.
        colours: how many of the colours of ``CLOTH`` they wear; fewer make them more alike.
        alike: size of a group; 1 = no two share an outfit.
        rng: source of all draws.
    """
    people: list[Person] = []
    looks: set[tuple[object, ...]] = set()
    while len(people) < count:
        person, first = _invent_person(CLOTH[:colours], rng), len(people) % alike == 0
        if not first:
            person = _dressed_as(person, people[-1])
        outfit = (person.upper, person.second, person.pattern, person.lower)
        look = (*outfit, person.sleeves, person.lower_kind, person.bag, person.hair_style)
        if look not in looks and not (first and outfit in looks):
            looks |= {look, outfit}
            people.append(person)
    return people


def draw_person(canvas: Canvas, person: Person, pose: Pose) -> None:
    """Draw a person over what is there, from the far parts to the near ones.

    Args:
        canvas: what to draw on.
        person: who it is, the same in every picture of them.
        pose: where and how they stand in this picture.
    """
    figure = _Figure(canvas, person, pose)
    back_view = pose.facing is Facing.BACK
    if person.bag == "backpack" and not back_view:
        figure.backpack()
    figure.legs()
    figure.arm(-1)
    figure.trunk()
    if person.bag == "shoulder":
        figure.shoulder_bag()
    if person.bag == "backpack" and back_view:
        figure.backpack()
    figure.arm(+1)
    figure.head()


class _Figure:
    """One person in one pose: turns shares of the height into pixels, part by part."""

    def __init__(self, canvas: Canvas, person: Person, pose: Pose):
        self._canvas, self._person, self._pose = canvas, person, pose
        self._side = {Facing.LEFT: -1, Facing.RIGHT: 1}.get(pose.facing, 0)
        self._half = 0.125 * person.build * (0.72 if self._side else 1.0)  # of the shoulders

    def _at(self, x: float, y: float) -> tuple[float, float]:
        return self._pose.x + x * self._pose.height, self._pose.y + y * self._pose.height

    def _limb(self, joints: Sequence[tuple[float, float]], radius: float, colour: Colour) -> None:
        points = [self._at(*joint) for joint in joints]
        self._canvas.limb(points, radius * self._pose.height, colour)

    def _ellipse(self, x: float, y: float, radii: tuple[float, float], colour: Colour) -> None:
        across, down = (radius * self._pose.height for radius in radii)
        self._canvas.ellipse(*self._at(x, y), (across, down), colour)

    def _garment(
        self,
        down: tuple[float, float],
        halves: tuple[float, float],
        colours: tuple[Colour, Colour],
        pattern: Pattern = Pattern.PLAIN,
    ) -> None:
        top, bottom = (self._at(0, y)[1] for y in down)
        above, below = (half * self._pose.height for half in halves)
        self._canvas.garment(self._pose.x, (top, bottom), (above, below), colours, pattern)

    def legs(self) -> None:
        """Draw both legs, shoes, and what covers the hips."""
        person, step = self._person, self._pose.stride * (0.13 if self._side else 0.05)
        width = 0.048 * person.build
        for sign in (-1, 1):
            hip = sign * self._half * (0.2 if self._side else 0.48)
            foot = hip + sign * step
            joints = [(hip, 0.5), ((hip + foot) / 2 + 0.015 * self._side, 0.73), (foot, 0.95)]
            bare = person.lower_kind != "trousers"
            self._limb(
                joints, width * (0.8 if bare else 1.0), person.skin if bare else person.lower
            )
            if person.lower_kind == "shorts":
                self._limb(joints[:2], width * 1.1, person.lower)
            self._ellipse(foot + 0.03 * self._side, 0.975, (0.05, 0.025), person.shoes)
        if person.lower_kind == "skirt":
            self._garment((0.47, 0.72), (self._half * 0.85, self._half * 1.2), (person.lower,) * 2)

    def trunk(self) -> None:
        """Draw the upper garment; a patch is worn on the chest only."""
        person = self._person
        hidden = person.pattern is Pattern.PATCH and self._pose.facing is Facing.BACK
        pattern = Pattern.PLAIN if hidden else person.pattern
        colours = (person.upper, person.second)
        self._garment((0.155, 0.53), (self._half, self._half * 0.85), colours, pattern)

    def arm(self, sign: int) -> None:
        """Draw the left (-1) or right (+1) arm of the image; from the side, the far or near one."""
        person, swing = self._person, sign * self._pose.swing
        shoulder = 0.0 if self._side else sign * self._half
        reach = swing * 0.1 if self._side else sign * (0.02 + 0.03 * abs(swing))
        joints = [(shoulder, 0.19), (shoulder + reach / 2, 0.34), (shoulder + reach, 0.48)]
        bare = person.sleeves == "short"
        self._limb(joints, 0.03, person.skin)
        self._limb(joints[:2] if bare else joints, 0.036, person.upper)
        self._ellipse(*joints[-1], (0.03, 0.03), person.skin)

    def head(self) -> None:
        """Draw neck, hair and face, or the hair alone from behind."""
        person, side, style = self._person, self._side, self._person.hair_style
        back = self._pose.facing is Facing.BACK
        if style == "long":
            self._ellipse(-0.02 * side, 0.11, (0.075, 0.1), person.hair)
        self._limb([(0, 0.1), (0, 0.18)], 0.032, person.skin)
        self._ellipse(0, 0.085, (0.052, 0.072), person.skin)
        self._ellipse(-0.012 * side, 0.045, (0.058, 0.045), person.hair)
        if back and style != "cap":
            reach = 0.105 if style == "long" else 0.07
            self._ellipse(0, reach, (0.06, reach), person.hair)
        if style == "cap" and not back:
            brim = [(0.02 * side - 0.03, 0.065), (0.07 * side + 0.03, 0.065)]
            self._limb(brim, 0.01, person.hair)

    def backpack(self) -> None:
        """Draw a backpack on, behind or beside the trunk."""
        if self._side:
            self._ellipse(-0.11 * self._side, 0.3, (0.075, 0.125), self._person.bag_colour)
        else:
            self._ellipse(0, 0.31, (self._half + 0.01, 0.13), self._person.bag_colour)

    def shoulder_bag(self) -> None:
        """Draw a strap and a bag at the left hip of the person."""
        place = {Facing.FRONT: 1, Facing.BACK: -1}.get(self._pose.facing, 0.2)
        self._limb([(-place * 0.09, 0.17), (place * 0.11, 0.44)], 0.012, self._person.bag_colour)
        self._ellipse(place * 0.13, 0.48, (0.065, 0.06), self._person.bag_colour)


def _invent_person(cloth: Sequence[Colour], rng: np.random.RandomState) -> Person:
    upper, second = (cloth[i] for i in rng.permutation(len(cloth))[:2])
    hair_style = _pick(rng, ("short", "short", "long", "long", "cap"))
    pattern = _pick(rng, tuple(Pattern))
    return Person(
        height=rng.uniform(0.8, 1.0),
        build=rng.uniform(0.95, 1.45),
        skin=_pick(rng, _SKIN),
        hair=_pick(rng, cloth if hair_style == "cap" else _HAIR),
        hair_style=hair_style,
        upper=upper,
        second=upper if pattern is Pattern.PLAIN else second,
        pattern=pattern,
        sleeves=_pick(rng, ("short", "long")),
        lower=_pick(rng, cloth),
        lower_kind=_pick(rng, ("trousers", "trousers", "shorts", "skirt")),
        shoes=_pick(rng, cloth),
        bag=_pick(rng, ("none", "backpack", "shoulder")),
        bag_colour=_pick(rng, cloth),
    )


def _dressed_as(person: Person, other: Person) -> Person:
    upper, second, pattern, lower = other.upper, other.second, other.pattern, other.lower
    return replace(person, upper=upper, second=second, pattern=pattern, lower=lower)


def _pick(rng: np.random.RandomState, options: Sequence[T]) -> T:
    return options[rng.randint(len(options))]
