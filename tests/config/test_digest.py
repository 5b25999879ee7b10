"""A run is named by what its data set's opener reads: these files, all of them, no others."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from scaledrelu.config import digest
from scaledrelu.config.digest import label_digest, pin_data_digest, pin_init_digest
from scaledrelu.errors import ConfigError
from tests.helpers.configs import with_values
from tests.helpers.data_folders import FOLDERS, OTHERS, keep_times, made, settle, write

pytestmark = pytest.mark.usefixtures("short_wait")


def other_bytes(root: Path) -> None:
    (root / "train/a/0.png").write_bytes(OTHERS)


def other_bytes_at_the_same_time(root: Path) -> None:
    keep_times(root / "train/a/0.png", OTHERS)


def another_file_in_its_place(root: Path) -> None:
    new = write(root.parent / "new", OTHERS)
    shutil.copystat(root / "val/b/1.png", new)
    new.replace(root / "val/b/1.png")


def two_classes_change_places(root: Path) -> None:
    for split in ("train", "val"):
        (root / split / "a").rename(root / split / "c")
        (root / split / "b").rename(root / split / "a")
        (root / split / "c").rename(root / split / "b")


def an_image_moves_to_the_other_class(root: Path) -> None:
    (root / "train/a/1.png").rename(root / "train/b/2.png")


def an_image_moves_to_the_other_split(root: Path) -> None:
    (root / "train/a/1.png").rename(root / "val/a/2.png")


def an_image_is_renamed(root: Path) -> None:
    (root / "train/a/0.png").rename(root / "train/a/2.png")


def an_image_is_added_in_capitals(root: Path) -> None:
    write(root / "val/a/3.JPEG")


def an_image_is_added_below_its_class(root: Path) -> None:
    write(root / "train/a/more/3.png")


def an_image_is_missing_behind_its_link(root: Path) -> None:
    (root / "train/a/1.png").unlink()
    (root / "train/a/1.png").symlink_to("/nowhere/1.png")


OTHER_DATA = [
    other_bytes,
    other_bytes_at_the_same_time,
    another_file_in_its_place,
    two_classes_change_places,
    an_image_moves_to_the_other_class,
    an_image_moves_to_the_other_split,
    an_image_is_renamed,
    an_image_is_added_in_capitals,
    an_image_is_added_below_its_class,
    an_image_is_missing_behind_its_link,
]


@pytest.mark.parametrize("change", OTHER_DATA, ids=lambda change: change.__name__)
def test_other_data_has_another_name(
    images: Path, named: Callable[..., str | None], change: Callable[[Path], None]
) -> None:
    before = named(images)
    assert named(images) == before is not None
    change(images)
    assert named(images) != before


def test_one_of_many_files_rewritten_in_place_is_seen(
    images: Path, named: Callable[..., str | None]
) -> None:
    for i in range(300):
        write(images / "train/a" / f"more{i}.png", b"%16d" % i)
    settle()
    before = named(images)
    assert named(images) == before
    keep_times(images / "train/a/more250.png", OTHERS)
    assert named(images) != before


def test_splits_that_change_roles_are_another_data_set(
    images: Path, named: Callable[..., str | None]
) -> None:
    assert named(images) != named(images, train="val", val="train")
    assert named(images, val="train") not in (named(images), None)


@pytest.mark.parametrize(
    "stray",
    [
        "train/a/.DS_Store",
        "train/Thumbs.db",
        "val/b/notes.txt",
        "train/a/._0.png",
        "train/.hidden/0.png",
        "val/a/.ipynb_checkpoints/0-checkpoint.png",
        "other/a/0.png",
        "README.md",
        ".cache/digests/x.png",
    ],
)
def test_a_file_that_is_not_read_changes_no_name(
    images: Path, named: Callable[..., str | None], stray: str
) -> None:
    before = named(images)
    write(images / stray)
    assert named(images) == before


def test_an_editors_lock_link_changes_no_name(
    images: Path, named: Callable[..., str | None]
) -> None:
    before = named(images)
    (images / "train/a/.#0.png").symlink_to("me@host.1:2")
    assert named(images) == before


def test_the_same_files_have_one_name_wherever_and_whenever_they_lie(
    images: Path, named: Callable[..., str | None], tmp_path: Path
) -> None:
    before = named(images)
    shutil.copytree(images, tmp_path / "copy")
    assert named(tmp_path / "copy") == before
    (tmp_path / "copy/val").rename(tmp_path / "copy/test")
    assert named(tmp_path / "copy", val="test") == before
    os.utime(images / "train/a/0.png", (0, 0))
    assert named(images) == before
    (tmp_path / "linked").symlink_to(images)
    assert named(tmp_path / "linked") == before
    for path in list((tmp_path / "copy/train").glob("*/*")):
        path.unlink()
        os.link(images / "train" / path.relative_to(tmp_path / "copy/train"), path)
    assert named(tmp_path / "copy", val="test") == before


def test_names_that_are_not_utf_8_have_a_name(
    images: Path, named: Callable[..., str | None]
) -> None:
    before = named(images)
    os.rename(images / "train/a/0.png", os.fsencode(images) + b"/train/a/\xff.png")
    after = named(images)
    assert after not in (before, None)
    assert named(images) == after


def test_data_that_is_absent_or_of_no_use_has_no_digest(
    images: Path, named: Callable[..., str | None], tmp_path: Path
) -> None:
    assert named(tmp_path / "nowhere") is None
    assert named(images, val="test") is None
    digits = {"_target_": "scaledrelu.data.datasets.open_digits", "train": None, "val": None}
    assert named(images, digits) is None
    with pytest.raises(ConfigError, match=r"data\.build\.val=None: must be the name of a folder"):
        named(images, val=None)


def test_an_opener_from_elsewhere_is_named_by_all_files(
    images: Path, named: Callable[..., str | None]
) -> None:
    other = {"_target_": "their.package.open_set"}
    before = named(images, other)
    write(images / ".hidden")
    assert named(images, other) == before
    write(images / "index.csv")
    assert named(images, other) not in (before, None)


def test_cifar10_is_named_in_class_folders_and_not_as_published(
    images: Path, named: Callable[..., str | None], tmp_path: Path
) -> None:
    cifar = FOLDERS | {"_target_": "scaledrelu.data.datasets.open_cifar10"}
    assert named(images, cifar) == named(images)
    write(tmp_path / "cifar/cifar-10-batches-py/test_batch")
    assert named(tmp_path / "cifar", cifar) is None


def test_links_in_a_circle_end(images: Path, named: Callable[..., str | None]) -> None:
    before = named(images)
    for link, target in (("a/up", ".."), ("a/self", "self"), ("top", "../.."), ("b/here", ".")):
        (images / "train" / link).symlink_to(target)
    assert named(images) == before


def test_links_between_two_folders_end(images: Path, named: Callable[..., str | None]) -> None:
    (images / "train/a/other").symlink_to("../b")
    (images / "train/b/other").symlink_to("../a")
    assert named(images) is not None


def test_other_label_maps_of_the_same_size_have_another_name(tmp_path: Path) -> None:
    path = write(tmp_path / "maps/a/0.pt", b"one")
    settle()
    labels = {"augment.mixup": 0.0, "augment.cutmix": 0.0}
    config = made(tmp_path, labels | {"data.token_labels": str(tmp_path / "maps")})
    before = label_digest(config, known={})
    for stray in ("a/.DS_Store", "artifact.json", "a/notes.txt"):
        write(tmp_path / "maps" / stray)
    assert label_digest(config, known={}) == before is not None
    keep_times(path, b"two")
    assert label_digest(config, known={}) != before
    config = with_values(config, {"data.token_labels": str(tmp_path / "nowhere")})
    assert label_digest(config, known={}) is None


def test_other_weights_of_the_same_size_and_time_have_another_digest(tmp_path: Path) -> None:
    path = write(tmp_path / "weights.pth", b"one")
    settle()
    found = []
    for content in (b"one", b"one", b"two"):
        if path.read_bytes() != content:
            keep_times(path, content)
        config = made(tmp_path, {"init.kind": "checkpoint", "init.path": str(path)})
        found.append(pin_init_digest(config).init.sha256)
    assert found[0] == found[1] != found[2]


def test_a_data_set_is_looked_at_once_for_all_runs_of_a_plan(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []
    look = digest.data_parts
    monkeypatch.setattr(digest, "data_parts", lambda *of: looks.append(of) or look(*of))
    known: digest.Known = {}
    for build in (FOLDERS, FOLDERS, FOLDERS | {"val": "train"}):
        config = made(tmp_path, {"data.root": str(images), "data.build": build})
        pin_data_digest(config, known=known)
    assert len(looks) == 2
