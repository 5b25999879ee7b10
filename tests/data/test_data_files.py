"""A data set is named by the files that its opener reads: the two lists are one."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import pytest
import yaml

from scaledrelu.config.digest import label_parts
from scaledrelu.config.openers import OPENERS, data_parts
from scaledrelu.data.datasets import open_image_folder
from scaledrelu.data.reid import open_market1501, open_msmt17
from scaledrelu.data.sources import FolderSource
from scaledrelu.labels.maps import label_path

CONF = Path(__file__).parents[2] / "conf"


def paths_of(source: FolderSource) -> list[str]:
    return [source.path_of(index) for index in range(len(source))]


def named(opener: str, root: Path, **fields: object) -> list[list[str]]:
    build = {"_target_": f"scaledrelu.data.{opener}", **fields}
    return [[f"{part.root}/{name}" for name in part.names] for part in data_parts(build, root)]


def test_images_in_class_folders(image_folder) -> None:
    root = image_folder()
    (root / "train/cat/more").mkdir()
    for name in ("train/cat/more/9.PNG", "train/cat/.x.png", "train/dog/x.txt", "val/owl/8.webp"):
        (root / name).write_bytes(b"x")
    (root / "val/owl/link.jpg").symlink_to("/nowhere")
    splits = open_image_folder(root=str(root), train="train", val="val", image_size=8)
    found = named("datasets.open_image_folder", root, train="train", val="val")
    assert found == [paths_of(splits.train), paths_of(splits.val)]
    assert [len(paths) for paths in found] == [13, 8]


def test_people_of_market1501(market) -> None:
    (market / "query/Thumbs.db").write_bytes(b"x")
    fields = {"image_size": 8, "in_memory": False, "on_bad_image": "raise"}
    splits = open_market1501(root=str(market), expect=None, **fields)
    read = [paths_of(source) for source in (splits.train, splits.query, splits.gallery)]
    assert named("reid.open_market1501", market) == read
    assert named("reid.open_made", market) == read


@pytest.mark.parametrize("with_val", [True, False])
def test_people_of_msmt17(msmt, with_val: bool) -> None:
    fields = {"image_size": 8, "in_memory": False, "on_bad_image": "raise", "version": "v1"}
    splits = open_msmt17(root=str(msmt), expect=None, with_val=with_val, **fields)
    *trained, query, gallery = named(
        "reid.open_msmt17", msmt, version="v1", with_val=with_val, expect=None
    )
    assert [*chain.from_iterable(trained)] == paths_of(splits.train)
    assert [query, gallery] == [paths_of(splits.query), paths_of(splits.gallery)]


def test_label_maps_of_images(image_folder, tmp_path: Path) -> None:
    splits = open_image_folder(root=str(image_folder()), train="train", val="val", image_size=8)
    maps = [label_path(splits.train, index) for index in range(len(splits.train))]
    for name in (*maps, "cat/.0.pt", "cat/x.txt", "artifact.json"):
        path = tmp_path / "maps" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    (part,) = label_parts(tmp_path / "maps")
    assert list(part.names) == maps


@pytest.mark.parametrize(
    "path",
    sorted([*CONF.glob("data/*.yaml"), *CONF.glob("profile_data/*.yaml")]),
    ids=lambda path: f"{path.parent.name}/{path.stem}",
)
def test_the_files_of_every_opener_are_known(path: Path) -> None:
    option = yaml.safe_load(path.read_text()) or {}  # nothing but a comment: as the data set is
    build = option.get("data", option).get("build") or {}
    if target := build.get("_target_"):
        assert target.removeprefix("scaledrelu.data.") in OPENERS
