"""No two photographs of a person are the same."""

import numpy as np

from scaledrelu.data.people.cameras import HEIGHT, WIDTH, Variation, invent_cameras, photograph
from scaledrelu.data.people.pedestrians import invent_people


def test_two_images_of_one_person_by_one_camera_show_two_poses():
    (person,) = invent_people(1, colours=6, alike=1, rng=np.random.RandomState(0))
    (camera,) = invent_cameras(1, strength=0.1, rng=np.random.RandomState(1))
    still = Variation(brightness=0.0, misplaced=0.0, occluded=0.0)
    one, two = (
        photograph(person, camera, still, rng=np.random.RandomState(i)).astype(int) for i in (2, 3)
    )
    assert one.shape == (HEIGHT, WIDTH, 3)
    assert (abs(one - two).max(axis=2) > 40).mean() > 0.03


def test_things_before_a_person_change_the_image_where_asked():
    (person,) = invent_people(1, colours=6, alike=1, rng=np.random.RandomState(0))
    (camera,) = invent_cameras(1, strength=0.1, rng=np.random.RandomState(1))
    free, hidden = (Variation(brightness=0.0, misplaced=0.0, occluded=o) for o in (0.0, 1.0))
    changed = [
        abs(
            photograph(person, camera, free, rng=np.random.RandomState(seed)).astype(int)
            - photograph(person, camera, hidden, rng=np.random.RandomState(seed))
        ).max()
        for seed in range(5)
    ]
    assert min(changed) > 40
