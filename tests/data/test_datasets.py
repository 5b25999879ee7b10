"""Openers find the images and classes of a folder, and say what is wrong with it."""

import errno
import hashlib
import inspect
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from scaledrelu.data.datasets import open_digits, scan_folder, stratified_choice
from scaledrelu.errors import DataError
from scaledrelu.runs.create import locate
from tests.helpers.configs import composed
from tests.helpers.errors import one_line
from tests.helpers.image_folders import open_folder
from tests.helpers.options import GROUPS

CONF = Path(__file__).parents[2] / "conf" / "data"


def test_digits_are_as_many_as_their_conf_file_says():
    expect = yaml.safe_load((CONF / "digits.yaml").read_text())["build"]["expect"]
    splits = open_digits(image_size=16)
    found = {"train": len(splits.train), "val": len(splits.val), "classes": splits.num_classes}
    assert found == expect


def test_digits_are_split_1437_to_360_with_every_class_in_proportion():
    digits = open_digits(image_size=16)
    assert (len(digits.train), len(digits.val), digits.num_classes) == (1437, 360, 10)
    share = np.bincount(digits.val.targets) / (
        np.bincount(digits.train.targets) + np.bincount(digits.val.targets)
    )
    assert np.abs(share - 360 / 1797).max() < 0.005
    names = {source.name_of(i) for source in (digits.train, digits.val) for i in range(len(source))}
    assert len(names) == 1797


def test_digits_split_never_changes():
    val = open_digits(image_size=8).val
    names = "".join(val.name_of(i) for i in range(len(val)))
    assert hashlib.sha256(names.encode()).hexdigest()[:16] == "2c8a4911b1783307"


def test_digits_are_scikit_learns_in_three_equal_channels():
    from sklearn.datasets import load_digits

    digits = open_digits(image_size=8)
    theirs = load_digits()
    for i in (0, 100, 359):
        position = int(digits.val.name_of(i).split("/")[1])
        assert digits.val.targets[i] == theirs.target[position]
        expected = torch.from_numpy(theirs.images[position]) * 255 / 16
        for channel in digits.val.images[i]:
            assert (channel.double() - expected).abs().max() <= 0.5


def test_digits_have_the_size_asked_for_and_the_mean_of_the_training_split():
    pixels = open_digits(image_size=16).train.images
    assert pixels.shape == (1437, 3, 16, 16)
    assert pixels.dtype == torch.uint8
    assert (pixels.double() / 255).mean().item() == pytest.approx(0.305811, abs=1e-6)
    assert (pixels.double() / 255).std().item() == pytest.approx(0.319038, abs=1e-6)


def test_stratified_choice_keeps_the_total_exact_when_shares_do_not_divide():
    targets = np.repeat([0, 1, 2], [5, 7, 11])
    chosen = stratified_choice(targets, 8, seed=0)
    assert len(set(chosen.tolist())) == 8
    assert np.bincount(targets[chosen]).tolist() == [2, 2, 4]


def test_folder_is_read_in_the_order_of_torchvision(image_folder):
    from torchvision.datasets import ImageFolder

    root = image_folder({"train": 12, "val": 1})
    (root / "train" / "dog" / "more").mkdir()
    (root / "train" / "dog" / "5.jpg").rename(root / "train" / "dog" / "more" / "5.jpg")
    theirs = ImageFolder(root / "train")
    ours = open_folder(root).train
    assert [ours.path_of(i) for i in range(len(ours))] == [path for path, _ in theirs.samples]
    assert ours.targets.tolist() == theirs.targets
    assert list(ours.classes) == theirs.classes
    assert ours.load(3).tobytes() == theirs[3][0].tobytes()


def test_file_names_may_be_anything_the_system_allows(tmp_path):
    folder = os.fsencode(tmp_path) + b"/caf\xc3\xa9"
    os.mkdir(folder)
    for name in (b"\xff\xfe.png", b"\xe2\x82\xac 1.PNG", b"n\nl.png"):
        Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
        os.rename(tmp_path / "a.png", folder + b"/" + name)
    source = scan_folder(tmp_path)
    assert [source.load(i).size for i in range(len(source))] == [(4, 4)] * 3


def test_hidden_files_and_folders_are_no_images(image_folder):
    root = image_folder()
    image = (root / "train/cat/0.jpg").read_bytes()
    (root / "train/.git").mkdir()
    for name in ("cat/.ipynb_checkpoints/0.jpg", "cat/more/.x/0.jpg", "cat/._0.jpg", "cat/.#1.jpg"):
        (root / "train" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "train" / name).write_bytes(image)
    (root / "train/dog/Thumbs.db").write_bytes(b"x")
    train = open_folder(root).train
    assert (len(train), train.classes) == (12, ("cat", "dog", "owl"))


def test_link_to_a_folder_around_itself_is_passed_over_with_one_line(image_folder, caplog):
    root = image_folder()
    links = {"cat/up": "..", "cat/self": "self", "dog/root": "../..", "again": "."}
    for link, target in links.items():
        (root / "train" / link).symlink_to(target)
    with caplog.at_level(logging.WARNING):
        train = open_folder(root).train
    assert (len(train), train.classes) == (12, ("cat", "dog", "owl"))
    told = [record.getMessage() for record in caplog.records]
    for link in ("cat/up", "dog/root", "again"):
        assert (
            sum(
                f"train/{link}: skipped, since it is a link to one of its own parent" in line
                for line in told
            )
            == 1
        )


def test_link_to_another_folder_is_followed(image_folder, tmp_path):
    root = image_folder({"train": 2, "val": 1})
    (root / "train/cat").rename(tmp_path / "cats")
    (root / "train/cat").symlink_to(tmp_path / "cats")
    (root / "train/owl/dogs").symlink_to("../dog")
    train = open_folder(root).train
    assert [train.name_of(i) for i in (0, 4, 6)] == ["cat/0.jpg", "owl/0.jpg", "owl/dogs/0.jpg"]


def test_link_to_nowhere_is_an_error_or_skipped_as_bad_images_are(image_folder):
    root = image_folder()
    (root / "train/cat/9.jpg").symlink_to("/nowhere/9.jpg")
    with pytest.raises(DataError, match=r"9\.jpg: broken link") as error:
        open_folder(root).train.load(4)
    assert "data.on_bad_image=skip" in one_line(error)
    train = open_folder(root, on_bad_image="skip").train
    assert train.load(4).tobytes() == train.load(0).tobytes()
    whole = open_folder(root, in_memory=True, on_bad_image="skip").train
    assert whole.skipped == ["cat/9.jpg"]


def test_pipe_called_like_an_image_is_none(image_folder):
    root = image_folder()
    os.mkfifo(root / "train/cat/9.jpg")
    assert len(open_folder(root).train) == 12


def test_folder_that_may_not_be_read_is_one_line(image_folder, monkeypatch):
    root, scandir = image_folder(), os.scandir

    def forbidden(path):
        if str(path).endswith("cat"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", forbidden)
    with pytest.raises(DataError, match=r"cat: cannot be listed \(Permission denied") as error:
        open_folder(root)
    one_line(error)


def test_missing_root_is_named():
    with pytest.raises(DataError, match=r"no/where: no such folder; set data\.root") as error:
        open_folder("no/where")
    one_line(error)


def test_missing_split_says_what_was_found_and_the_nearest_name(image_folder):
    root = image_folder({"train": 1, "valid": 1})
    with pytest.raises(
        DataError, match=r"found in .*: train, valid; did you mean 'valid'"
    ) as error:
        open_folder(root)
    one_line(error)


def test_images_without_class_folders_are_named(image_folder):
    root = image_folder()
    for path in list((root / "val").glob("*/*.jpg")):
        path.rename(root / "val" / f"{path.parent.name}{path.name}")
    for path in (root / "val").iterdir():
        if path.is_dir():
            path.rmdir()
    with pytest.raises(DataError, match=r"val: holds no class folders \(found 6 images") as error:
        open_folder(root)
    one_line(error)


def test_empty_class_is_named(image_folder):
    root = image_folder()
    (root / "train" / "yak").mkdir()
    (root / "train" / "yak" / "notes.txt").write_text("none")
    with pytest.raises(DataError, match=r"yak: class folder without images") as error:
        open_folder(root)
    one_line(error)


def test_class_that_only_one_split_has_is_named(image_folder):
    root = image_folder()
    (root / "val" / "owl").rename(root / "val" / "auk")
    with pytest.raises(DataError, match=r"val: lacks 1 of .* \(owl\)") as error:
        open_folder(root)
    one_line(error)


def test_files_that_are_left_out_are_said_once_with_their_endings(image_folder, caplog):
    root = image_folder({"train": 4, "val": 2})
    (root / "train/dog/inner").mkdir()
    for name in ("cat/a.gif", "dog/b.GIF", "dog/inner/c.txt", "owl/README", "owl/.hidden.gif"):
        (root / "train" / name).touch()
    with caplog.at_level(logging.INFO):
        splits = open_folder(root)
    assert caplog.messages == [
        f"{root}/train: 4 files left out (.gif, .txt, without ending); images end in "
        ".jpg .jpeg .png .ppm .bmp .pgm .tif .tiff .webp"
    ]
    assert len(splits.train) == 12


def test_one_file_that_is_left_out_is_one(image_folder, caplog):
    root = image_folder({"val": 2})
    (root / "val/cat/a.gif").touch()
    with caplog.at_level(logging.INFO):
        scan_folder(root / "val")
    assert "val: 1 file left out (.gif); images end in .jpg" in caplog.text


def test_counts_other_than_the_published_ones_warn(image_folder, caplog):
    with caplog.at_level(logging.WARNING):
        open_folder(image_folder(), expect={"train": 1_281_167, "val": 6, "classes": 3})
    (warning,) = [record.getMessage() for record in caplog.records]
    assert "has 12 train images, but the published data set has 1,281,167" in warning


@pytest.mark.parametrize("mode", ["L", "LA", "P", "CMYK", "1", "I;16"])
def test_every_kind_of_pixel_comes_out_in_rgb(tmp_path, mode):
    (tmp_path / "c").mkdir()
    image = Image.new(mode, (4, 4))
    image.save(tmp_path / "c" / ("a.tif" if mode == "CMYK" else "a.png"))
    assert scan_folder(tmp_path).load(0).mode == "RGB"


def test_opening_image_files_imports_neither_torch_nor_timm(image_folder):
    root = image_folder({"train": 1, "val": 1})
    code = (
        "import sys; from scaledrelu.data.datasets import open_image_folder as o; "
        f"o(root={str(root)!r}, train='train', val='val', image_size=16).train.load(0); "
        "sys.exit(bool({'torch', 'timm', 'torchvision', 'sklearn'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("option", GROUPS["data"])
def test_every_option_names_an_opener_that_takes_its_fields(option):
    people = ["recipe=reid"] if option in ("market1501", "msmt17") else []
    fields = dict(composed(f"data={option}", "profile=paper", "launch=local", *people).data.build)
    opener = locate(fields.pop("_target_"))
    from_the_run = ("root", "image_size", "in_memory", "on_bad_image")
    inspect.signature(opener).bind(**fields, **dict.fromkeys(from_the_run))


def test_digits_option_has_the_mean_and_deviation_of_the_training_split():
    option = yaml.safe_load((CONF / "digits.yaml").read_text())
    pixels = open_digits(image_size=option["image_size"]).train.images.double() / 255
    assert option["mean"] == pytest.approx([pixels.mean().item()] * 3, abs=6e-4)
    assert option["std"] == pytest.approx([pixels.std().item()] * 3, abs=6e-4)
