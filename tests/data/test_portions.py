"""Part of CIFAR-10: which images are trained on, chosen on and reported on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scaledrelu.config.compose import compose_unpinned
from scaledrelu.config.openers import data_parts
from scaledrelu.data.portions import open_cifar10_portion
from scaledrelu.errors import ConfigError

TARGET = "scaledrelu.data.portions.open_cifar10_portion"
SMALL: dict[str, Any] = {
    "train": "train",
    "val": "test",
    "test": "test",
    "train_files": [0, 4],
    "held_out_files": [4, 6],
    "test_files": [0, 2],
    "train_images": 6,
}


@pytest.fixture
def root(image_folder) -> Path:
    return image_folder({"train": 7, "test": 3}, pixels=(32, 32))


def names(source) -> list[str]:
    return [source.name_of(i) for i in range(len(source))]


def opened(root: Path, **changes: Any):
    return open_cifar10_portion(root=str(root), **({"in_memory": False} | SMALL | changes))


def places(source, root: Path, split: str) -> list[int]:
    """Where the images of a source stand among the sorted files of their classes."""
    found = []
    for name in names(source):
        folder = root / split / Path(name).parent
        found.append(sorted(file.name for file in folder.iterdir()).index(Path(name).name))
    return found


def test_training_images_come_from_the_first_files_of_each_class_alike(root) -> None:
    splits = opened(root)
    assert np.bincount(splits.train.targets).tolist() == [2, 2, 2]
    assert max(places(splits.train, root, "train")) < 4
    assert names(splits.train) == names(opened(root).train)


def test_reports_and_choices_see_other_images_and_neither_is_trained_on(root) -> None:
    test, held_out = opened(root).val, opened(root, val="held_out").val
    assert places(test, root, "test") == [0, 1] * 3
    assert places(held_out, root, "train") == [4, 5] * 3
    train = set(names(opened(root, train_images=12).train))
    assert len(train) == 12
    assert train.isdisjoint(names(held_out))


def test_images_in_memory_are_those_of_the_files(root) -> None:
    filed, decoded = opened(root), opened(root, in_memory=True)
    assert names(filed.train) == names(decoded.train)
    for i in range(len(filed.val)):
        assert np.array_equal(
            np.asarray(filed.val.load(i)), decoded.val.images[i].permute(1, 2, 0).numpy()
        )


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"val": "validation"}, "data.build.val=validation: is neither of the words"),
    ({"val": "heldout"}, "did you mean 'held_out'?; allowed: test, held_out"),
    ({"val": None}, "data.build.val=null: is neither"),
    ({"train_files": [4, 0]}, "two whole numbers"),
    ({"train_files": [0.5, 4]}, "data.build.train_files=[0.5,4]: must be [first,end]"),
    ({"test_files": [3]}, "two whole numbers"),
    ({"test_files": 3}, "data.build.test_files=3: must be"),
    ({"held_out_files": None}, "data.build.held_out_files=null: must be"),
    ({"held_out_files": [3, 6]}, "[3,6]: overlaps with train_files=[0,4]"),
    ({"train_images": 0}, "data.build.train_images=0: must be a whole number of at least 1"),
    ({"train_images": 0.5}, "data.build.train_images=0.5: must be"),
]
WITH_THESE_FILES = [
    ({"train_files": [0, 8], "held_out_files": [8, 9]}, "a class has 7 images only"),
    ({"train_images": 13}, "must lie in [1, 12]"),
]


@pytest.mark.parametrize(("changes", "message"), WRONG + WITH_THESE_FILES)
def test_what_cannot_be_is_one_line(root, changes, message) -> None:
    with pytest.raises(ConfigError) as refused:
        opened(root, **changes)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("changes", "message"), WRONG)
def test_what_no_files_could_make_right_is_refused_before_a_run_starts(
    tmp_path, changes, message
) -> None:
    """A run is named by its files before it is started: ``data_parts`` is asked for them."""
    with pytest.raises(ConfigError) as refused:
        data_parts(SMALL | {"_target_": TARGET} | changes, tmp_path / "no folder")
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_both_folders_are_in_the_digest_whatever_a_run_is_judged_on(root) -> None:
    by_words = [
        data_parts(SMALL | {"_target_": TARGET, "val": word}, root) for word in ("test", "held_out")
    ]
    assert by_words[0] == by_words[1]
    assert [Path(part.root).name for part in by_words[0]] == ["train", "test"]


def test_the_profile_leaves_the_portions_of_table_7_alone() -> None:
    data = compose_unpinned(["profile=cifar"]).data
    assert (data.fraction, data.build["train_images"]) == (1.0, 10_000)
    assert data.build["val"] == "test"
    assert data.build["held_out_files"][0] == data.build["train_files"][1]


@pytest.mark.real_data
def test_the_portion_of_the_profile_has_its_counts(real_data) -> None:
    build = dict(compose_unpinned(["profile=cifar"]).data.build)
    build.pop("_target_")
    root = str(real_data / "cifar10")
    splits = open_cifar10_portion(root=root, in_memory=False, **build)
    assert (len(splits.train), len(splits.val)) == (10_000, 3_000)
    assert set(np.bincount(splits.train.targets)) == {1_000}
    held_out = open_cifar10_portion(root=root, in_memory=False, **build | {"val": "held_out"}).val
    assert len(held_out) == 3_000
    assert set(names(held_out)).isdisjoint(names(splits.train))
