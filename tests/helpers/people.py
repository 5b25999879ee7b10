"""A tiny data set of invented people, and a reader that knows nothing but file names."""

import re

from scaledrelu.data.people.cameras import Variation
from scaledrelu.data.people.sightings import Preset

NAME = re.compile(r"(-1|\d{4})_c(\d)s(\d)_(\d{6})_(\d{2})\.jpg")
TINY = Preset(
    name="tiny",
    train_ids=3,
    test_ids=4,
    lonely_ids=1,
    cameras=4,
    views=3,
    train_shots=2,
    gallery_shots=1,
    distractors=4,
    junk=2,
    colours=6,
    alike=2,
    strength=0.2,
    variation=Variation(brightness=0.1, misplaced=3.0, occluded=0.5),
)


def people_of(folder, split):
    """List (name, identity, camera) as a reader with nothing but the names would."""
    found = [(p.name, NAME.fullmatch(p.name)) for p in sorted((folder / split).iterdir())]
    return [(name, int(match[1]), int(match[2])) for name, match in found]
