"""A run is named by what its data set's opener reads: these files, all of them, no others."""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scaledrelu import countdown
from scaledrelu.config import digest, hashes
from scaledrelu.config.digest import label_digest, pin_data_digest, pin_init_digest
from scaledrelu.config.run import RunConfig
from scaledrelu.errors import ConfigError
from tests.helpers.configs import composed, with_values

FOLDERS = {
    "_target_": "scaledrelu.data.datasets.open_image_folder",
    "train": "train",
    "val": "val",
    "expect": None,
}
MARKET = {"_target_": "scaledrelu.data.reid.open_market1501", "expect": None}
MSMT = {
    "_target_": "scaledrelu.data.reid.open_msmt17",
    "version": "v1",
    "with_val": True,
    "expect": None,
}


@pytest.fixture(autouse=True)
def short_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Believe times soon: two ticks of the clock of the file systems that tests run on."""
    monkeypatch.setattr(hashes, "RACY_NS", 20 * 10**6)


def settle() -> None:
    """Wait until what was written is old enough to be believed."""
    time.sleep(0.03)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Two splits of two classes with two small files each, all of one size."""
    root = tmp_path / "images"
    for split in ("train", "val"):
        for name in ("a", "b"):
            for i in range(2):
                write(root / split / name / f"{i}.png", f"{split} {name} {i}".encode().ljust(16))
    settle()
    return root


def made(results: Path, changes: dict[str, Any]) -> RunConfig:
    return with_values(composed("recipe=deit"), {"paths.results": str(results), **changes})


@pytest.fixture
def named(tmp_path: Path) -> Callable[..., str | None]:
    """A function that gives the digest of a data set as one more command would."""

    def name(root: Path, build: dict[str, Any] = FOLDERS, **changes: Any) -> str | None:
        config = made(
            tmp_path / "results", {"data.root": str(root), "data.build": {**build, **changes}}
        )
        return pin_data_digest(config).data.digest

    return name


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that are read, and not only looked at, by their order."""
    seen: list[str] = []
    read = hashes._read_one

    def note(files: Any, index: int) -> Any:
        seen.append(files.paths[index])
        return read(files, index)

    monkeypatch.setattr(hashes, "_read_one", note)
    return seen


def write(path: Path, content: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def keep_times(path: Path, content: bytes) -> None:
    """Overwrite a file and put its time back, as ``touch -r`` does."""
    before = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


# --- what changes the name


def other_bytes(root: Path) -> None:
    (root / "train/a/0.png").write_bytes(b"others".ljust(16))


def other_bytes_at_the_same_time(root: Path) -> None:
    keep_times(root / "train/a/0.png", b"others".ljust(16))


def another_file_in_its_place(root: Path) -> None:
    new = write(root.parent / "new", b"others".ljust(16))
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
    keep_times(images / "train/a/more250.png", b"others".ljust(16))
    assert named(images) != before


def test_splits_that_change_roles_are_another_data_set(
    images: Path, named: Callable[..., str | None]
) -> None:
    assert named(images) != named(images, train="val", val="train")
    assert named(images, val="train") not in (named(images), None)


# --- what does not


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


# --- person re-identification and label maps


def market(root: Path) -> Path:
    for name in (
        "bounding_box_train/0002_c1s1_000451_03.jpg",
        "query/0001_c2s1_000051_00.jpg",
        "bounding_box_test/-1_c1s1_000401_03.jpg",
        "bounding_box_test/0001_c1s1_001051_03.jpg",
    ):
        write(root / name, name[-16:].encode())
    settle()
    return root


def test_market1501_is_named_by_its_people(
    named: Callable[..., str | None], tmp_path: Path
) -> None:
    root = market(tmp_path / "market")
    before = named(root, MARKET)
    for stray in ("gt_bbox/x.jpg", "query/Thumbs.db", "readme.txt"):
        write(root / stray)
    write(root / "bounding_box_test/-1_c1s1_000401_03.jpg", b"junk is not read")
    assert named(root, MARKET) == before is not None
    keep_times(root / "query/0001_c2s1_000051_00.jpg", b"16 other letters")
    assert named(root, MARKET) != before


def test_msmt17_is_named_by_its_lists_and_what_they_name(
    named: Callable[..., str | None], tmp_path: Path
) -> None:
    lists = {"train": ("train", 0), "val": ("train", 1), "query": ("test", 0)}
    lists["gallery"] = ("test", 1)
    for name, (folder, first) in lists.items():
        lines = [f"000{p}/000{p}_00{first}_01_x.jpg {p}" for p in range(2)]
        for line in lines:
            write(tmp_path / "msmt" / folder / line.split()[0])
        write(tmp_path / f"msmt/list_{name}.txt", "\n".join(lines).encode())
    root, path = tmp_path / "msmt", tmp_path / "msmt/list_train.txt"
    before = named(root, MSMT)
    assert named(root, MSMT, with_val=False) not in (before, None)
    write(root / "train/0000/0000_009_01_x.jpg")  # in no list
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n") + b"\n\n")
    assert named(root, MSMT) == before is not None, "other ends of lines, the same images"
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    keep_times(path, "\n".join(sorted(filter(None, lines), reverse=True)).encode())
    assert named(root, MSMT) not in (before, None)
    path.write_bytes(b"\xff\xfe")
    assert named(root, MSMT) is None


def test_other_label_maps_of_the_same_size_have_another_name(tmp_path: Path) -> None:
    path = write(tmp_path / "maps/a/0.pt", b"one")
    settle()
    labels = {"augment.mixup": 0.0, "augment.cutmix": 0.0}
    config = made(tmp_path, labels | {"data.token_labels": str(tmp_path / "maps")})
    before = label_digest(config)
    for stray in ("a/.DS_Store", "artifact.json", "a/notes.txt"):
        write(tmp_path / "maps" / stray)
    assert label_digest(config) == before is not None
    keep_times(path, b"two")
    assert label_digest(config) != before
    config = with_values(config, {"data.token_labels": str(tmp_path / "nowhere")})
    assert label_digest(config) is None


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


# --- what is remembered


def test_files_are_read_once_and_again_only_where_they_changed(
    images: Path, named: Callable[..., str | None], reads: list[str]
) -> None:
    named(images)
    assert len(reads) == 8
    reads.clear()
    named(images)
    assert reads == []
    other_bytes(images)
    settle()
    named(images)
    assert reads == [str(images / "train/a/0.png")]


def test_a_file_that_was_just_written_is_not_believed_twice(
    images: Path,
    named: Callable[..., str | None],
    reads: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hashes, "RACY_NS", 10**15)
    first = named(images)
    reads.clear()
    assert named(images) == first
    assert len(reads) == 8


@pytest.mark.parametrize("place", [5, 100, -5])
def test_a_damaged_store_is_ignored_with_one_line(
    images: Path,
    named: Callable[..., str | None],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    place: int,
) -> None:
    before = named(images)
    (store,) = (tmp_path / "results/.cache/digests").iterdir()
    content = bytearray(store.read_bytes())
    content[place] ^= 1
    store.write_bytes(content)
    other_bytes(images)
    with caplog.at_level(logging.WARNING):
        after = named(images)
    assert [r.getMessage().count("\n") for r in caplog.records] == [0]
    assert f"{store}: damaged or unreadable" in caplog.text
    shutil.rmtree(store.parent)
    assert after == named(images) != before


@pytest.mark.parametrize("content", [b"", b"\0" * 400, b"{}\n{}\n", b"not a store"])
def test_a_store_that_is_none_costs_time_only(
    images: Path, named: Callable[..., str | None], tmp_path: Path, content: bytes
) -> None:
    before = named(images)
    (store,) = (tmp_path / "results/.cache/digests").iterdir()
    store.write_bytes(content)
    assert named(images) == before


def test_a_results_folder_that_cannot_be_written_costs_time_only(
    images: Path, named: Callable[..., str | None], tmp_path: Path
) -> None:
    (tmp_path / "results").write_text("a file where the folder should be")
    first = named(images)
    assert named(images) == first is not None
    other_bytes(images)
    assert named(images) != first


def test_what_was_read_before_a_stop_is_not_read_again(
    images: Path, named: Callable[..., str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    read, done = hashes._read_one, []

    def stop(files: Any, index: int) -> Any:
        if len(done) == 5:
            raise KeyboardInterrupt
        done.append(index)
        return read(files, index)

    monkeypatch.setattr(hashes, "_read_one", stop)
    with pytest.raises(KeyboardInterrupt):
        named(images)
    done[:] = []
    assert named(images) is not None
    assert len(done) == 3


def test_a_long_reading_says_how_long(
    images: Path,
    named: Callable[..., str | None],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(countdown, "QUIET_S", 0.0)
    monkeypatch.setattr(countdown, "EVERY_S", 1e9)
    with caplog.at_level(logging.WARNING):
        named(images)
    (line,) = [record.getMessage() for record in caplog.records]
    assert "hashing 8 data files once, for the run ids: 0.0 MB of 0.0 MB, about" in line


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
