"""Who is seen by which camera in the small person re-identification data sets.

Decides names, too (those of Market-1501); draws nothing and writes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scaledrelu.data.people.cameras import Variation
from scaledrelu.inputs.reid_listing import DISTRACTOR, JUNK, MARKET_FOLDERS
from scaledrelu.randomness import derive_seed

SPLITS = TRAIN, QUERY, GALLERY = MARKET_FOLDERS


@dataclass(frozen=True, slots=True)
class Preset:
    """How large and how hard a data set is.

    A training identity is seen ``train_shots`` times by each of ``views`` cameras. A test identity
    is seen by as many: once as a query, ``gallery_shots`` times in the gallery. Lonely identities
    are test identities that one camera alone has seen: their query has no match to find.
    """

    name: str
    train_ids: int
    test_ids: int
    lonely_ids: int
    cameras: int
    views: int
    train_shots: int
    gallery_shots: int
    distractors: int  # half of them strangers, half of them scenery
    junk: int
    colours: int  # of clothes
    alike: int  # people who share the colours and the pattern of their clothes
    strength: float  # of the cameras' differences
    variation: Variation

    def __post_init__(self) -> None:
        if self.cameras > 9:  # readers of Market-1501 look at one digit
            raise ValueError(
                f"{self.name}: {self.cameras} cameras; at most 9, a file name has one digit for it"
            )


_PRESETS = (
    Preset(
        name="market",
        train_ids=32,
        test_ids=32,
        lonely_ids=2,
        cameras=6,
        views=4,
        train_shots=2,
        gallery_shots=2,
        distractors=48,
        junk=16,
        colours=9,
        alike=4,
        strength=0.1,
        variation=Variation(brightness=0.05, misplaced=4.0, occluded=0.0),
    ),
    Preset(
        name="msmt",
        train_ids=48,
        test_ids=48,
        lonely_ids=3,
        cameras=9,
        views=4,
        train_shots=2,
        gallery_shots=2,
        distractors=96,
        junk=24,
        colours=6,
        alike=6,
        strength=0.2,
        variation=Variation(brightness=0.12, misplaced=4.0, occluded=0.35),
    ),
)
PRESETS = {preset.name: preset for preset in _PRESETS}


@dataclass(frozen=True, slots=True)
class Shot:
    """One image to make: where it is filed and who is on it."""

    folder: str
    identity: int  # DISTRACTOR and JUNK are special
    person: int | None  # position among the people; None = nobody
    camera: int  # from 1
    number: int  # distinguishes the shots of one identity by one camera

    @property
    def name(self) -> str:
        """The file name: PPPP_cCsS_FFFFFF_BB.jpg (junk: -1 instead of PPPP)."""
        identity = "-1" if self.identity == JUNK else f"{self.identity:04d}"
        frame = 25 * self.number + 1 + 997 * max(self.identity, 0) % 90_000
        box = 1 + (self.identity + self.number) % 4
        return f"{identity}_c{self.camera}s{1 + self.camera % 3}_{frame:06d}_{box:02d}.jpg"

    @property
    def path(self) -> str:
        """Where it is filed, relative to the root of the data set."""
        return f"{self.folder}/{self.name}"


def plan_shots(preset: Preset, *, seed: int) -> list[Shot]:
    """Return every image of a data set; the first people are for training, the last are strangers.

    Args:
        preset: size of the data set.
        seed: the data set's seed.
    """
    rng = keyed_rng(preset, seed, "plan")
    known = preset.train_ids + preset.test_ids
    names = 1 + rng.permutation(known * 3 // 2)[:known]  # numbers with gaps, as the real ones
    shots: list[Shot] = []
    for person, identity in enumerate(names.tolist()):
        lonely = person >= known - preset.lonely_ids
        seen_by = 1 + rng.permutation(preset.cameras)[: 1 if lonely else preset.views]
        train = person < preset.train_ids
        for camera in np.sort(seen_by).tolist():
            count = preset.train_shots if train else 1 + preset.gallery_shots
            for number in range(count):
                folder = TRAIN if train else GALLERY if number else QUERY
                shots.append(Shot(folder, identity, person, camera, number))
    return shots + _false_alarms(preset, rng)


def queries_without_match(shots: list[Shot]) -> list[str]:
    """Return the sorted names of queries whose person the gallery has from no other camera."""
    seen = {(shot.identity, shot.camera) for shot in shots if shot.folder == GALLERY}
    queries = [shot for shot in shots if shot.folder == QUERY]
    return sorted(
        query.name
        for query in queries
        if not any(who == query.identity and camera != query.camera for who, camera in seen)
    )


def keyed_rng(preset: Preset, seed: int, what: str) -> np.random.RandomState:
    """Return the generator of one purpose, independent of what else is drawn.

    Args:
        preset: size and difficulty of the data set.
        seed: the data set's seed.
        what: the purpose.
    """
    return np.random.RandomState(derive_seed("mini_reid", preset.name, seed, what) % 2**32)


def _false_alarms(preset: Preset, rng: np.random.RandomState) -> list[Shot]:
    """Return strangers and empty scenery (distractors), then fragments of test people (junk)."""
    known = preset.train_ids + preset.test_ids
    strangers: list[int | None] = list(range(known, known + preset.distractors // 2))
    nobody: list[int | None] = [None] * (preset.distractors - len(strangers))
    parts = rng.randint(preset.train_ids, known, size=preset.junk).tolist()
    seen = [(DISTRACTOR, person) for person in strangers + nobody]
    seen += [(JUNK, person) for person in parts]
    return [
        Shot(GALLERY, identity, person, 1 + number % preset.cameras, number)
        for number, (identity, person) in enumerate(seen)
    ]
