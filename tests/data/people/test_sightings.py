"""Every image of a plan has a name of its own."""

import dataclasses

import pytest

from scaledrelu.data.people.sightings import PRESETS, plan_shots
from tests.helpers.people import TINY


def test_a_camera_number_of_two_digits_is_refused():
    with pytest.raises(ValueError, match="one digit"):
        dataclasses.replace(TINY, cameras=10)


def test_the_plan_has_no_two_images_of_one_name():
    for preset in PRESETS.values():
        for seed in range(3):
            paths = [shot.path for shot in plan_shots(preset, seed=seed)]
            assert len(paths) == len(set(paths))
