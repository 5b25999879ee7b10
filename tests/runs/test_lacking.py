"""What a run lacks is found by a look at folders, for every opener; nothing else is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from scaledrelu.config import first_look
from scaledrelu.config.compose import compose_unpinned
from scaledrelu.config.data import OWN_OPENERS, UNLABELLED
from scaledrelu.config.openers import OPENERS, look_at_data
from scaledrelu.config.options import options_of
from scaledrelu.config.places import CONF_DIR
from scaledrelu.config.run import plain
from scaledrelu.data.packing import pack_folder
from scaledrelu.errors import ConfigError, DataError
from scaledrelu.inputs import listing
from scaledrelu.runs import lacking
from scaledrelu.runs.lacking import lacking_download, lacking_files, lacking_here
from tests.helpers.configs import composed, with_values

BUILD = {"train": "train", "val": "val", "test": "test", "version": "v1", "with_val": True}


@pytest.mark.parametrize("opener", sorted(OPENERS.keys() - {"datasets.open_digits"}))
def test_every_opener_of_files_is_looked_at(opener: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError) as refused:
        look_at_data({**BUILD, "_target_": OWN_OPENERS + opener}, tmp_path / "file" / "root")
    assert str(refused.value).startswith(f"{tmp_path / 'file' / 'root'}: ")
    assert "set data.root to a folder with" in str(refused.value)


@pytest.mark.parametrize("data", ["cifar10", "imagenet1k"])
def test_half_a_copy_in_class_folders_is_not_completed_by_a_download(
    tmp_path: Path, data: str
) -> None:
    (tmp_path / "train").mkdir()
    config = composed(f"data={data}", "profile=cifar", f"data.root={tmp_path}")
    (line,) = lacking_files(config, made=True, known={})
    assert line.startswith(f"{tmp_path / 'test'}: no such folder (found in {tmp_path}: train)")
    assert lacking_download(config) == []
    (tmp_path / "test").mkdir()
    (line,) = lacking_here(config)
    assert line.startswith(f"{tmp_path / 'train'}: holds no class folders (found 0 images directly")
    made_folders(tmp_path, images=512, train="ab", test="ab")
    assert lacking_here(config) == []


def made_folders(root: Path, *, images: int = 1, **splits: str) -> Path:
    """Make class folders named by letters, with some files in each."""
    for split, names in splits.items():
        for name in names:
            (root / split / name).mkdir(parents=True)
            for number in range(images):
                (root / split / name / f"{number}.jpg").write_bytes(name.encode())
    return root


def folders_or_packs(place: Path, *, is_packed: bool, images: int, classes: str) -> Path:
    """Make both splits with the same classes, as folders of images or packed."""
    root = made_folders(place / "a", images=images, train=classes, val=classes)
    return packed(root, place / "packed", "train", "val") if is_packed else root


def packed(root: Path, out: Path, *splits: str) -> Path:
    for split in splits:
        pack_folder(root / split, out)
    return out


@pytest.mark.parametrize("data", ["imagefolder", "cifar10", "imagenet1k"])
def test_class_folders_of_one_split_alone_are_found_by_their_names(
    tmp_path: Path, data: str
) -> None:
    test = "val" if data == "imagefolder" else "test"
    root = made_folders(tmp_path / "a", train="abc", **{test: "abd"})
    chosen = [f"data={data}", "profile=cifar"]
    for place in (root, packed(root, tmp_path / "packed", "train", test)):
        (line,) = lacking_here(composed(*chosen, f"data.root={place}"))
        suffix = "" if place == root else ".pack"
        assert line == (
            f"{place}/{test}{suffix}: lacks 1 of the class folders of {place}/train{suffix} (c); "
            "give both splits the same class folders"
        )
    (root / test / "d").rename(root / test / "c")
    found = lacking_here(composed(*chosen, f"data.root={root}"))
    assert not [line for line in found if "class folders" in line]


@pytest.mark.parametrize("damage", ["cut", "index"])
def test_a_damaged_pack_is_found_before_the_run(tmp_path: Path, damage: str) -> None:
    root = made_folders(tmp_path / "a", images=32, train="ab", val="ab")
    place = packed(root, tmp_path / "packed", "train", "val")
    content = bytearray((place / "val.pack").read_bytes())
    content[-80] ^= 1
    whole, chosen = bytes(content[:-80]), ["data=imagefolder", f"data.root={place}"]
    assert lacking_here(composed(*chosen)) == []
    (place / "val.pack").write_bytes(content if damage == "index" else whole)
    (line,) = lacking_here(composed(*chosen))
    assert line.startswith(f"{place}/val.pack: {'damaged' if damage == 'index' else 'incomplete'}")
    assert "remove it and run scripts/pack_images.py" in line


@pytest.mark.parametrize("is_packed", [False, True])
def test_fewer_images_than_one_update_needs_are_found_before_the_run(
    tmp_path: Path, is_packed: bool
) -> None:
    place = folders_or_packs(tmp_path, is_packed=is_packed, images=33, classes="ab")
    chosen = ["data=imagefolder", f"data.root={place}"]
    assert lacking_here(composed(*chosen)) == []
    for more, number in ((["data.fraction=0.5"], 32), (["batch.total=2048"], 66)):
        (line,) = lacking_here(composed(*chosen, *more))
        assert line.startswith(f"{number} training images: one update needs ")


@pytest.mark.parametrize(
    ("more", "advice"),
    [
        ([], "set batch.total=256 batch.group=16, or use more images"),
        (["launch.nproc=2"], "set batch.total=256 batch.group=8, or use more images"),
        (["augment.repeats=3"], "set augment.repeats=1, or use more images"),
        (
            ["data.fraction=0.5"],
            "set batch.total=128 batch.group=8, or raise data.fraction, or use more images",
        ),
    ],
)
def test_what_is_advised_for_too_few_images_can_be_followed(
    tmp_path: Path, more: list[str], advice: str
) -> None:
    root = made_folders(tmp_path, images=10, train="ab", val="ab")
    chosen = ["data=imagefolder", f"data.root={root}", "batch.group=32", *more]
    (line,) = lacking_here(composed(*chosen))
    assert line.endswith(f"; {advice}")
    settings = [word.rstrip(",") for word in advice.split() if "=" in word]
    changed = {word.partition("=")[0] for word in settings}
    kept = [word for word in chosen if word.partition("=")[0] not in changed]
    if "augment.repeats=1" not in settings:
        assert lacking_here(composed(*kept, *settings)) == []


def test_updates_of_other_sizes_are_looked_at_each(tmp_path: Path) -> None:
    root = made_folders(tmp_path, images=20, train="ab", val="ab")
    chosen, known = ["data=imagefolder", f"data.root={root}", "batch.group=32"], {}
    found = [
        lacking_files(
            composed(*chosen, "batch.total=1024", f"profile.batch_scale={scale}"),
            made=False,
            known=known,
        )
        for scale in (1, 0.03125)
    ]
    assert [len(lines) for lines in found] == [1, 0]


@pytest.mark.parametrize("is_packed", [False, True])
def test_one_class_is_refused_where_classes_are_told_apart_and_nowhere_else(
    tmp_path: Path, is_packed: bool
) -> None:
    place = folders_or_packs(tmp_path, is_packed=is_packed, images=400, classes="a")
    suffix = ".pack" if is_packed else ""
    # Recipes that begin with _ are parts of others; reid has people in folders of their own.
    recipes = {name for name in options_of(CONF_DIR, "recipe") if name[0] != "_"} - {"reid"}
    judged = {}
    for recipe in recipes:
        chosen = [f"recipe={recipe}", "data=imagefolder", f"data.root={place}"]
        chosen += [*UNLABELLED.split(), "init=scratch"] if recipe != "dino" else []
        judged[recipe] = lacking_files(composed(*chosen), made=False, known={})
    line = (
        f"{place}/train{suffix}: holds one class only (a), of which top-1 is always 100; "
        "classes are the folders directly in it: arrange folders so, or set data.root, or "
        "data.build.train and data.build.val, to where they are"
    )
    assert judged.pop("dino") == []
    assert {"deit", "linear_probe", "volo"} <= judged.keys()
    assert list(judged.values()) == [[line]] * len(judged)


def test_one_class_that_serves_one_run_is_refused_to_the_next(tmp_path: Path) -> None:
    root = made_folders(tmp_path, images=400, train="a", val="a")
    judged, known = composed("data=imagefolder", f"data.root={root}"), {}
    knn = plain(composed("recipe=dino").evaluation)["build"]
    runs = [with_values(judged, {"evaluation.build": knn}), judged]
    found = [lacking_files(run, made=False, known=known) for run in runs]
    assert [len(lines) for lines in found] == [0, 1]


@pytest.mark.parametrize("split", ["train", "val"])
def test_an_empty_class_folder_is_found_before_the_run(tmp_path: Path, split: str) -> None:
    root = made_folders(tmp_path, images=200, train="abcdef", val="abcdef")
    for one in ("train", "val"):
        (root / one / "zebra" / "more").mkdir(parents=True)
        (root / one / "zebra" / "more" / "0.jpg").touch()
    chosen = ["data=imagefolder", f"data.root={root}"]
    assert lacking_here(composed(*chosen)) == []
    (root / split / "zebra" / "more" / "0.jpg").rename(root / split / "zebra" / "more" / "0.txt")
    (line,) = lacking_here(composed(*chosen))
    assert line.startswith(f"{root}/{split}/zebra: class folder without images; add images")


def test_no_more_images_are_listed_than_an_update_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = made_folders(tmp_path, images=200, train="abcdef", val="abcdef")
    listed, walk = [], listing._walk
    monkeypatch.setattr(
        listing, "_walk", lambda top, name: (listed.append(name), walk(top, name))[1]
    )
    assert lacking_here(composed("data=imagefolder", f"data.root={root}")) == []
    assert listed == ["a", "b"]


def test_a_plan_looks_at_the_images_of_many_runs_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = made_folders(tmp_path, train="ab", val="a")
    runs = [composed("data=imagefolder", f"data.root={root}", f"seed={n}") for n in range(3)]
    looks, look = [], lacking.look_at_data
    monkeypatch.setattr(lacking, "look_at_data", lambda *a: (looks.append(a), look(*a)))
    known = {}
    lines = [lacking_files(run, made=False, known=known) for run in runs]
    assert len(looks) == 1
    assert lines == [lines[0]] * 3
    assert "lacks 1 of the class folders" in lines[0][0]


def test_a_folder_that_can_be_made_for_a_download_lacks_nothing_yet(tmp_path: Path) -> None:
    config = composed("data=cifar10", "profile=cifar", f"data.root={tmp_path / 'a' / 'b'}")
    assert lacking_here(config) == []
    (line,) = lacking_download(config)
    assert line.startswith(f"{tmp_path / 'a' / 'b'}: CIFAR-10 is not there; ")
    (tmp_path / "a" / "b" / first_look.CIFAR10_BATCHES).mkdir(parents=True)
    assert lacking_download(config) == []


def test_what_a_plan_makes_lacks_only_a_run_by_itself(tmp_path: Path) -> None:
    config = with_values(composed("recipe=reid"), {"paths.results": str(tmp_path)})
    assert lacking_files(config, made=False, known={}) == []
    (line,) = lacking_files(config, made=True, known={})
    assert "data.root=made, but the data set has not been generated" in line


def test_label_maps_are_looked_for_in_the_folder_and_one_is_enough(tmp_path: Path) -> None:
    volo = composed("profile=smoke", "recipe=volo", "model=volo_d1")
    config = with_values(volo, {"data.token_labels": str(tmp_path)})
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "0.jpg").touch()
    (tmp_path / "0.pt").touch()
    (line,) = lacking_here(config)
    assert line.startswith(f"{tmp_path}: holds no label map (<class>/<image>.pt); set data.token_")
    (tmp_path / "a" / "0.pt").touch()
    assert lacking_here(config) == []


def test_the_run_that_a_plan_trains_first_lacks_only_a_run_by_itself(tmp_path: Path) -> None:
    start = {"init.kind": "run", "init.run": "dino-0123456789ab", "init.head_scale": 1.0}
    config = with_values(composed("profile=smoke"), start | {"paths.results": str(tmp_path)})
    assert lacking_files(config, made=False, known={}) == []
    (line,) = lacking_files(config, made=True, known={})
    assert line.startswith(f"{tmp_path / 'runs' / 'dino-0123456789ab'}: no such run (")


def test_an_opener_from_elsewhere_may_read_anything() -> None:
    other = {"data.build._target_": "mine.open_stream", "data.root": "s3://bucket/images"}
    assert lacking_here(with_values(composed("data=imagefolder"), other)) == []


def test_a_folder_that_may_not_be_entered_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(folder: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(first_look, "is_image_folder", closed)
    (line,) = lacking_here(composed("data=imagefolder", "data.root=/closed"))
    assert line.startswith("/closed/train: cannot be looked at (Permission denied)")


@pytest.mark.parametrize("profile", options_of(CONF_DIR, "profile"))
def test_digits_stand_in_for_imagenet_where_the_refusal_of_a_root_says_so(profile: str) -> None:
    chosen = f"profile={profile}"
    stands_in = composed(chosen).data.name == "digits"
    assert stands_in == (profile in ("mini", "smoke"))
    if stands_in:
        with pytest.raises(ConfigError, match=r"at mini and smoke they stand in for imagenet1k"):
            compose_unpinned([chosen, "data.root=/photos"])
    else:
        assert compose_unpinned([chosen, "data.root=/photos"]).data.root == "/photos"


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            ["data.fraction=0.001"],
            "at most 11 training images: one update needs 1 group x 64 = 64; set batch.total=128 "
            "batch.group=8, or raise data.fraction, or use more images",
        ),
        (
            ["profile.batch_scale=1e9"],  # no total is small enough
            "at most 154 training images: one update needs 16000000000 groups x 64 = "
            "1024000000000; raise data.fraction, or use more images",
        ),
        (
            ["data.fraction=1", "batch.total=25600"],
            "1437 training images: one update needs 25 groups x 64 = 1600; set batch.total=1024 "
            "batch.group=64, or use more images",
        ),
    ],
)
def test_too_few_images_are_found_before_a_run_where_a_library_brings_them(
    changes: list[str], line: str
) -> None:
    assert lacking_here(composed("profile=smoke", *changes)) == [line]
    assert lacking_here(composed("profile=smoke")) == []
