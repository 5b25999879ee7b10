"""Invented people can be told apart, and look as they should from each side."""

import dataclasses

import numpy as np
import pytest

from scaledrelu.data.people.cameras import HEIGHT, WIDTH
from scaledrelu.data.people.canvas import FINE, Canvas, Pattern
from scaledrelu.data.people.pedestrians import CLOTH, Facing, Pose, draw_person, invent_people


@pytest.mark.parametrize("alike", [1, 4])
def test_groups_share_an_outfit_and_no_two_people_look_the_same(alike):
    people = invent_people(120, colours=6, alike=alike, rng=np.random.RandomState(0))
    outfits = [(p.upper, p.second, p.pattern, p.lower) for p in people]
    details = [(p.sleeves, p.lower_kind, p.bag, p.hair_style) for p in people]
    assert len(set(outfits)) == 120 / alike
    assert all(len(set(outfits[i : i + alike])) == 1 for i in range(0, 120, alike))
    assert len(set(zip(outfits, details, strict=True))) == 120
    assert all(p.second == p.upper for p in people if p.pattern is Pattern.PLAIN)
    assert {c for p in people for c in (p.upper, p.lower, p.shoes)} == set(CLOTH[:6])


def drawn(person, facing):
    canvas = Canvas(np.full((HEIGHT * FINE, WIDTH * FINE, 3), -1.0))
    draw_person(canvas, person, Pose(facing, stride=0.0, swing=0.0, height=56.0, x=16.0, y=4.0))
    return canvas.finish()


def test_a_backpack_covers_the_back_and_a_patch_the_chest():
    (someone,) = invent_people(1, colours=6, alike=1, rng=np.random.RandomState(0))
    person = dataclasses.replace(
        someone,
        upper=(200, 0, 0),
        second=(0, 200, 0),
        pattern=Pattern.PATCH,
        bag="backpack",
        bag_colour=(0, 0, 200),
    )
    middle = slice(19, 22), slice(15, 17)
    assert (drawn(person, Facing.FRONT)[middle] == (0, 200, 0)).all()
    assert (drawn(person, Facing.BACK)[middle] == (0, 0, 200)).all()
    without = dataclasses.replace(person, bag="none")
    assert (drawn(without, Facing.BACK)[middle] == (200, 0, 0)).all()


def test_left_and_right_are_mirror_images():
    for person in invent_people(20, colours=6, alike=1, rng=np.random.RandomState(0)):
        plain = dataclasses.replace(person, pattern=Pattern.PLAIN, bag="backpack")
        left, right = drawn(plain, Facing.LEFT), drawn(plain, Facing.RIGHT)
        assert (abs(left - right[:, ::-1]).max(axis=2) > 60).mean() < 0.02
