import re

import numpy as np
import pytest
import torch

from scaledrelu.data.pixels import decode_pixels
from scaledrelu.data.reid import open_market1501, open_msmt17
from scaledrelu.errors import ConfigError, DataError
from tests.helpers.reid_folders import (
    GALLERY_LIST,
    MARKET,
    QUERY_LIST,
    TRAIN_LIST,
    VAL_LIST,
    write_image,
    write_msmt,
)


def common(changes):
    fields = {"expect": None, "image_size": (16, 8), "in_memory": False, "on_bad_image": "raise"}
    return {**fields, **changes}


def open_market(root, **changes):
    return open_market1501(root=str(root), **common(changes))


def open_msmt(root, version="v1", with_val=True, **changes):
    return open_msmt17(root=str(root), version=version, with_val=with_val, **common(changes))


def names_of(source):
    return [source.name_of(i).split("/", 1)[1] for i in range(len(source))]


def refused(ask, *args, kind=DataError, **changes):
    with pytest.raises(kind) as error:
        ask(*args, **changes)
    line = str(error.value)
    assert "\n" not in line
    return line


def test_market_keeps_distractors_and_drops_junk_in_the_order_of_names(market):
    splits = open_market(market)
    assert names_of(splits.train) == sorted(MARKET["bounding_box_train"])
    assert names_of(splits.query) == sorted(MARKET["query"])
    assert names_of(splits.gallery) == sorted(MARKET["bounding_box_test"])[1:]
    assert 0 in splits.gallery_ids
    assert -1 not in splits.gallery_ids


def test_market_persons_and_cameras_are_those_of_the_file_names(market):
    splits = open_market(market)
    for source, ids, cameras in (
        (splits.query, splits.query_ids, splits.query_cameras),
        (splits.gallery, splits.gallery_ids, splits.gallery_cameras),
    ):
        # The pattern of the official readers, with more than one digit for the camera.
        read = [re.match(r"([-\d]+)_c(\d+)", name).groups() for name in names_of(source)]
        assert ids.tolist() == [int(person) for person, _ in read]
        assert cameras.tolist() == [int(camera) for _, camera in read]
        assert ids.dtype == cameras.dtype == np.int64
        assert [int(source.classes[t]) for t in source.targets] == ids.tolist()
    assert splits.query.classes == splits.gallery.classes


def test_training_persons_are_numbered_from_zero_in_their_order(market):
    splits = open_market(market)
    assert splits.train.targets.tolist() == [0, 0, 1, 2]
    assert splits.train.classes == ("0002", "0007", "0030")
    assert splits.num_classes == 3


def test_market_may_lie_in_the_folder_of_its_archive(market):
    inner = market.parent / "data" / "Market-1501-v15.09.15"
    inner.parent.mkdir()
    market.rename(inner)
    splits = open_market(inner.parent)
    assert splits.gallery.load(0).size == (6, 12)


def test_hidden_files_and_files_that_are_no_images_are_passed_over(market):
    for name in ("Thumbs.db", "._0002_c3s1_000451_03.jpg", "readme.txt"):
        (market / "bounding_box_train" / name).write_bytes(b"x")
    assert len(open_market(market).train) == 4


@pytest.mark.parametrize(
    "name",
    [
        "0002_c1s2_000451_03 (1).jpg",
        "0002_c1s2_000451_03.jpg.jpg",
        "002_c1s2_000451_03.jpg",
        "0002_c0s2_000451_03.jpg",
        "0002_c1_000451_03.jpg",
        "0002_c1s2_000451_03.png",
        "-2_c1s2_000451_03.jpg",
    ],
)
def test_wrong_file_name_is_named_with_the_rule(market, name):
    write_image(market / "bounding_box_train" / name)
    line = refused(open_market, market)
    assert f"bounding_box_train: wrong file names: {name}; allowed: PPPP_cCsS" in line


def test_many_wrong_names_are_counted_after_the_first_three(market):
    for i in range(5):
        write_image(market / "query" / f"{i}.jpg")
    assert "0.jpg, 1.jpg, 2.jpg and 2 more" in refused(open_market, market)


@pytest.mark.parametrize("folder", ["bounding_box_train", "query"])
def test_distractor_outside_the_gallery_is_refused(market, folder):
    write_image(market / folder / "0000_c1s1_000001_01.jpg")
    line = refused(open_market, market)
    assert f"{folder}/0000_c1s1_000001_01.jpg; move them to bounding_box_test" in line


@pytest.mark.parametrize("folder", ["query", "bounding_box_test"])
def test_person_who_is_trained_on_and_looked_for_is_refused(market, folder):
    write_image(market / folder / "0030_c5s1_000009_01.jpg")
    assert f"{folder}/0030_c5s1_000009_01.jpg" in refused(open_market, market)


def test_image_in_two_folders_is_refused_with_both_places(market):
    name = MARKET["query"][0]
    write_image(market / "bounding_box_test" / name)
    assert f"bounding_box_test/{name} (also query/{name})" in refused(open_market, market)


def test_folder_without_people_is_refused(market):
    for name in MARKET["bounding_box_test"][1:]:
        (market / "bounding_box_test" / name).unlink()
    assert "bounding_box_test: holds no image of a person" in refused(open_market, market)


def test_missing_folder_is_named_with_what_was_found(market, tmp_path):
    (market / "query").rename(market / "queries")
    line = refused(open_market, market)
    found = "query missing (found: bounding_box_test, bounding_box_train, queries)"
    assert f"{found}; set data.root to a folder in the layout of Market-1501" in line
    assert "no such folder; set data.root" in refused(open_market, tmp_path / "nowhere")


def test_counts_other_than_published_are_refused_all_in_one_line(market):
    true = {"train": 4, "query": 2, "gallery": 4, "train_ids": 3, "query_ids": 2, "cameras": 5}
    assert len(open_market(market, expect=true).train) == 4
    line = refused(open_market, market, expect={**true, "train": 12936, "cameras": 6})
    assert "train 4 instead of 12,936, cameras 5 instead of 6; restore its files" in line
    for key in true:
        assert f"{key} {true[key]} instead" in refused(
            open_market, market, expect={**true, key: true[key] + 1}
        )


def test_unknown_count_is_refused_with_the_nearest_name(market):
    line = refused(open_market, market, expect={"querys": 2}, kind=ConfigError)
    assert "data.build.expect.querys" in line
    assert "did you mean 'query'" in line


MSMT_COUNTS = {"train": 2, "val": 1, "query": 1, "gallery": 2}
MSMT_COUNTS |= {"train_ids": 2, "query_ids": 1, "cameras": 5}


def test_msmt_counts_other_than_published_are_refused(msmt):
    assert len(open_msmt(msmt, expect=MSMT_COUNTS).train) == 3
    for key, count in MSMT_COUNTS.items():
        line = refused(open_msmt, msmt, expect={**MSMT_COUNTS, key: count + 1})
        assert f"not the published data set: {key} {count} instead of {count + 1}" in line


def test_msmt_without_its_validation_list_has_the_other_published_counts(msmt):
    fewer = {**MSMT_COUNTS, "cameras": 4}  # the validation image is the only one of its camera
    assert len(open_msmt(msmt, with_val=False, expect=fewer).train) == 2
    line = refused(open_msmt, msmt, with_val=False, expect={**fewer, "train": 3})
    assert "train 2 instead of 3; restore" in line


def test_empty_file_is_named_before_anything_is_decoded(market):
    (market / "bounding_box_test" / "0001_c2s1_000076_01.jpg").write_bytes(b"")
    assert "empty files: bounding_box_test/0001_c2s1_000076_01.jpg" in refused(open_market, market)


def test_broken_training_image_is_an_error_or_replaced_by_the_same_person(market, truncate):
    broken, other = sorted(MARKET["bounding_box_train"])[:2]
    truncate(market / "bounding_box_train" / broken)
    assert broken in refused(open_market(market).train.load, 0)
    train = open_market(market, on_bad_image="skip").train
    assert train.load(0).tobytes() == train.load(1).tobytes()
    assert train.skipped == [f"bounding_box_train/{broken}"]
    (market / "bounding_box_train" / broken).write_bytes(b"")
    memory = open_market(market, on_bad_image="skip", in_memory=True).train
    assert memory.name_of(0) == f"bounding_box_train/{other}"
    assert memory.skipped == [f"bounding_box_train/{broken}"]


@pytest.mark.parametrize("in_memory", [False, True])
@pytest.mark.parametrize("folder", ["query", "bounding_box_test"])
def test_broken_image_that_is_measured_is_never_replaced(market, truncate, folder, in_memory):
    name = "0001_c2s1_000076_01.jpg" if folder == "bounding_box_test" else MARKET["query"][1]
    truncate(market / folder / name)

    def load_all():
        splits = open_market(market, on_bad_image="skip", in_memory=in_memory)
        for source in (splits.query, splits.gallery):
            [source.load(i) for i in range(len(source))]

    line = refused(load_all)
    assert f"{folder}/{name}: damaged or incomplete image (" in line
    assert line.endswith("(data.on_bad_image=skip replaces training images only)")


@pytest.mark.parametrize("split", ["train", "query", "gallery"])
def test_every_split_is_decoded_as_the_run_says(market, split):
    source = getattr(open_market(market), split)
    assert torch.is_tensor(source.decoded_by(decode_pixels).load(0))


def test_images_in_memory_are_resized_as_the_official_transforms_do(market):
    from torchvision.transforms import InterpolationMode, Resize

    files, memory = open_market(market), open_market(market, in_memory=True, image_size=[16, 8])
    for split, mode in (("train", "BICUBIC"), ("query", "BILINEAR"), ("gallery", "BILINEAR")):
        resize = Resize((16, 8), interpolation=InterpolationMode[mode])
        file, kept = getattr(files, split), getattr(memory, split)
        assert kept.images.shape == (len(file), 3, 16, 8)
        assert kept.images.dtype == torch.uint8
        for i in range(len(file)):
            assert kept.load(i).tobytes() == resize(file.load(i)).tobytes()
            assert kept.name_of(i) == file.name_of(i)
        assert kept.targets.tolist() == file.targets.tolist()


def test_msmt_is_read_in_the_order_of_its_lists(msmt):
    splits = open_msmt(msmt)
    listed = [line.split()[0] for line in TRAIN_LIST + VAL_LIST]
    assert names_of(splits.train) == listed
    assert splits.train.targets.tolist() == [1, 0, 1]
    assert splits.gallery_ids.tolist() == [2, 0]
    assert [int(name.split("_")[2]) for name in names_of(splits.gallery)] == [1, 15]
    assert splits.gallery_cameras.tolist() == [1, 15]
    assert (splits.query_ids.tolist(), splits.query_cameras.tolist()) == ([0], [5])
    assert splits.query.load(0).size == (6, 12)


def test_msmt_validation_list_is_trained_on_only_when_asked(msmt):
    assert len(open_msmt(msmt, with_val=True).train) == 3
    (msmt / "list_val.txt").unlink()
    assert len(open_msmt(msmt, with_val=False).train) == 2
    assert "list_val.txt missing" in refused(open_msmt, msmt, with_val=True)


@pytest.mark.parametrize(("version", "inner"), [("v1", "MSMT17_V1"), ("v2", "MSMT17_V2")])
def test_msmt_may_lie_in_the_folder_of_its_version(tmp_path, version, inner):
    write_msmt(tmp_path / inner, version)
    splits = open_msmt(tmp_path, version)
    assert splits.train.load(0).size == splits.gallery.load(1).size == (6, 12)


def test_other_version_of_msmt_is_refused_with_the_field_to_change(msmt):
    line = refused(open_msmt, msmt, "v2")
    assert "mask_train_v2, mask_test_v2 missing" in line
    assert "data.build.version (now v2)" in line
    line = refused(open_msmt, msmt, "v3", kind=ConfigError)
    assert "data.build.version=v3: no such version; allowed: v1, v2" in line


@pytest.mark.parametrize(
    "line",
    [
        "0000/0000_004_15_0303morning_0028_0.jpg",
        "0000/0000_004_15_0303morning_0028_0.jpg 5",
        "0000/0000_004_0303morning.jpg 0",
    ],
)
def test_wrong_line_of_a_list_is_named_by_its_number(msmt, line):
    with (msmt / "list_gallery.txt").open("a") as file:
        file.write(f"{line}\n{GALLERY_LIST[0]}\n")
    assert f"list_gallery.txt: wrong lines: line 3 '{line}'; allowed" in refused(open_msmt, msmt)


@pytest.mark.parametrize(
    "left",
    [
        lambda text: b"\xef\xbb\xbf" + text,
        lambda text: text + b"\n\n",
        lambda text: text.replace(b"\n", b"\r\n"),
    ],
    ids=["byte order mark", "empty last lines", "Windows ends of lines"],
)
def test_what_an_editor_leaves_in_a_list_means_nothing(msmt, left):
    before = open_msmt(msmt)
    for path in msmt.glob("list_*.txt"):
        path.write_bytes(left(path.read_bytes()))
    after = open_msmt(msmt)
    for split in ("train", "query", "gallery"):
        one, other = getattr(before, split), getattr(after, split)
        assert [one.name_of(i) for i in range(len(one))] == [
            other.name_of(i) for i in range(len(other))
        ]


def test_list_that_is_not_utf_8_is_one_line(msmt):
    (msmt / "list_query.txt").write_bytes(QUERY_LIST[0].encode("utf-16"))
    assert "list_query.txt: not UTF-8 text" in refused(open_msmt, msmt)


def test_empty_list_is_refused(msmt):
    (msmt / "list_query.txt").write_text("")
    assert "list_query.txt: wrong lines: none there" in refused(open_msmt, msmt)


def test_image_that_is_listed_twice_is_refused(msmt):
    (msmt / "list_val.txt").write_text(f"{TRAIN_LIST[0]}\n")
    name = TRAIN_LIST[0].split()[0]
    assert f"twice: train/{name} (also train/{name})" in refused(open_msmt, msmt)


def test_equal_names_under_train_and_test_are_different_images(msmt):
    line = "0001/0001_000_05_0303morning_0008_0.jpg 1"
    write_image(msmt / "test" / line.split()[0])
    (msmt / "list_query.txt").write_text(f"{line}\n")
    assert open_msmt(msmt).query_ids.tolist() == [1]


def test_listed_image_that_is_missing_is_named(msmt):
    name = GALLERY_LIST[1].split()[0]
    (msmt / "test" / name).unlink()
    assert f"missing or unreadable: test/{name}" in refused(open_msmt, msmt)


def test_real_market_has_the_published_counts(real_data):
    expect = {"train": 12936, "query": 3368, "gallery": 15913}
    expect |= {"train_ids": 751, "query_ids": 750, "cameras": 6}
    assert open_market(real_data / "market1501", expect=expect).num_classes == 751


def test_real_msmt_has_the_published_counts(real_data):
    expect = {"train": 30248, "val": 2373, "query": 11659, "gallery": 82161}
    expect |= {"train_ids": 1041, "query_ids": 3060, "cameras": 15}
    assert open_msmt(real_data / "msmt17", expect=expect).num_classes == 1041
