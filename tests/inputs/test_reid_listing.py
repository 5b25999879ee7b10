"""A person re-identification run is named by the images and lists that its opener reads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers.data_folders import keep_times, settle, write

pytestmark = pytest.mark.usefixtures("short_wait")
MARKET = {"_target_": "scaledrelu.data.reid.open_market1501", "expect": None}
MSMT = {
    "_target_": "scaledrelu.data.reid.open_msmt17",
    "version": "v1",
    "with_val": True,
    "expect": None,
}


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
