import errno
import hashlib
import importlib
import inspect
import logging
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from scaledrelu.data import cifar, memory
from scaledrelu.data.datasets import (
    open_cifar10,
    open_digits,
    scan_folder,
    stratified_choice,
)
from scaledrelu.data.sources import subset
from scaledrelu.errors import ConfigError, DataError
from tests.helpers.image_folders import open_folder

CONF = Path(__file__).parents[2] / "conf" / "data"


def one_line(error):
    line = str(error.value)
    assert "\n" not in line
    return line


# --- digits


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


# --- image folders


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


def test_images_in_memory_are_the_same_images_fitted_to_their_size(image_folder):
    root = image_folder(pixels=(16, 16))
    files, whole = open_folder(root), open_folder(root, in_memory=True)
    again = open_folder(root, in_memory=True)
    assert whole.train.images.shape == (12, 3, 16, 16)
    for i in (0, 5, 11):
        assert whole.train.load(i).tobytes() == files.train.load(i).tobytes()
        assert whole.train.name_of(i) == files.train.name_of(i)
    assert torch.equal(whole.val.images, again.val.images)
    assert open_folder(root, in_memory=True, image_size=8).val.images.shape == (6, 3, 8, 8)


def test_cached_images_are_decoded_anew_when_a_file_changes(image_folder):
    root = image_folder(pixels=(16, 16))
    for name, grey in (("owl", 200), ("cat", 100)):  # as BMP, files of equal size
        (root / "train" / name / "0.jpg").unlink()
        Image.new("RGB", (16, 16), (grey,) * 3).save(root / "train" / name / "0.bmp")
    before = open_folder(root, in_memory=True).train.images
    source, target = root / "train" / "owl" / "0.bmp", root / "train" / "cat" / "0.bmp"
    target.write_bytes(source.read_bytes())
    after = open_folder(root, in_memory=True).train.images
    assert not torch.equal(before[0], after[0])
    assert torch.equal(after[0], after[8])


def test_cached_images_are_decoded_anew_when_a_file_changes_and_keeps_its_time(image_folder):
    root = image_folder(pixels=(16, 16))
    path = root / "train/cat/0.bmp"
    (root / "train/cat/0.jpg").unlink()
    for grey in (200, 100):
        before = path.stat() if path.exists() else None
        Image.new("RGB", (16, 16), (grey,) * 3).save(path)
        if before:
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert (open_folder(root, in_memory=True).train.images[0] == grey).all()


def test_files_that_change_while_they_are_decoded_are_not_cached(image_folder, monkeypatch):
    root = image_folder(pixels=(16, 16))
    path, decode = root / "train/cat/0.jpg", memory._pixels
    original = path.read_bytes()

    def change(*task):
        path.write_bytes((root / "train/owl/0.jpg").read_bytes())
        pixels = decode(*task)
        path.write_bytes((root / "train/dog/0.jpg").read_bytes())
        return pixels

    with monkeypatch.context() as patch:
        patch.setattr(memory, "_pixels", change)
        open_folder(root, in_memory=True)
    path.write_bytes(original)
    files, whole = open_folder(root).train, open_folder(root, in_memory=True).train
    assert whole.load(0).tobytes() == files.load(0).tobytes()


def test_images_are_in_memory_where_nobody_has_a_home(image_folder, monkeypatch):
    def nobody(uid):
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr("pwd.getpwuid", nobody)
    monkeypatch.delenv("HOME")
    monkeypatch.delenv("SCALEDRELU_CACHE")
    assert len(open_folder(image_folder(), in_memory=True).train.images) == 12


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


# --- bad images


def bad_files(folder, truncate):
    """Every kind of bad file, by name."""
    truncate(folder / "0.jpg")
    (folder / "1.jpg").write_bytes(b"")
    (folder / "2.jpg").write_text("<html>404</html>")
    data = (folder / "3.jpg").read_bytes()
    (folder / "3.jpg").write_bytes(data[:-40])
    return ["0.jpg", "1.jpg", "2.jpg", "3.jpg"]


def test_every_kind_of_bad_image_is_one_line_that_names_the_file(image_folder, truncate):
    root = image_folder({"train": 5, "val": 1})
    bad = bad_files(root / "train" / "dog", truncate)
    source = open_folder(root).train
    for i, name in enumerate(bad):
        with pytest.raises(DataError, match=rf"dog/{name}: (damaged or incom|not an im)") as error:
            source.load(5 + i)
        assert "data.on_bad_image=skip" in one_line(error)


def test_truncated_image_is_an_error_even_if_another_library_lets_it_pass(
    image_folder, monkeypatch
):
    from PIL import ImageFile

    root = image_folder()
    path = root / "train" / "cat" / "0.jpg"
    path.write_bytes(path.read_bytes()[:-40])
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(DataError, match="bytes not processed"):
        open_folder(root).train.load(0)


def test_file_that_vanished_is_an_error_even_when_skipping(image_folder):
    root = image_folder()
    source = open_folder(root, on_bad_image="skip").train
    (root / "train" / "cat" / "0.jpg").unlink()
    with pytest.raises(DataError, match=r"0\.jpg: cannot be read") as error:
        source.load(0)
    one_line(error)


def test_skipped_image_is_replaced_by_the_next_good_one_of_its_class_and_counted(
    image_folder, truncate
):
    root = image_folder()
    for i in (2, 3):
        truncate(root / "train" / "cat" / f"{i}.jpg")
    source = open_folder(root, on_bad_image="skip").train
    first = source.load(0).tobytes()
    assert source.load(3).tobytes() == first
    assert source.load(2).tobytes() == first
    assert source.load(2).tobytes() == first
    assert sorted(source.skipped) == ["cat/2.jpg", "cat/3.jpg"]
    assert len(source) == 12


def test_bad_images_are_skipped_and_counted_in_memory_too(image_folder, truncate):
    root = image_folder(pixels=(16, 16))
    truncate(root / "train" / "dog" / "1.jpg")
    for _ in range(2):
        whole = open_folder(root, in_memory=True, on_bad_image="skip").train
        assert whole.skipped == ["dog/1.jpg"]
        assert torch.equal(whole.images[5], whole.images[6])
    with pytest.raises(DataError, match=r"dog/1\.jpg"):
        open_folder(root, in_memory=True)


def test_class_without_a_readable_image_is_an_error_even_when_skipping(image_folder, truncate):
    root = image_folder({"train": 2, "val": 1})
    for path in (root / "train" / "owl").iterdir():
        truncate(path)
    source = open_folder(root, on_bad_image="skip").train
    with pytest.raises(DataError, match=r"class 'owl' has no readable image left") as error:
        source.load(4)
    one_line(error)


# --- CIFAR-10


def test_cifar10_opens_a_class_folder_copy(image_folder):
    root = image_folder({"train": 2, "test": 1}, pixels=(32, 32))
    splits = open_cifar10(root=str(root), train="train", val="test", image_size=32)
    assert splits.train.images.shape == (6, 3, 32, 32)


@pytest.fixture
def batches(tmp_path, monkeypatch):
    """A folder of small batches that count as the published ones, and their pixels."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    rng = np.random.RandomState(0)
    pixels = rng.randint(0, 256, (6, 2, 3072), dtype=np.uint8)
    content = {"batches.meta": {"label_names": ["plane", "car"]}}
    for i, name in enumerate([*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]):
        content[name] = {"data": pixels[i], "labels": [i % 2, 1], "filenames": [f"{i}a", f"{i}b"]}
    for name, batch in content.items():
        (folder / name).write_bytes(pickle.dumps(batch))
        found = hashlib.md5((folder / name).read_bytes()).hexdigest()
        monkeypatch.setitem(cifar.PUBLISHED_MD5, name, found)
    return folder, pixels


def open_batches(folder, **changes):
    return open_cifar10(root=str(folder.parent), train="train", val="test", **changes)


def test_cifar10_opens_python_batches(batches):
    folder, pixels = batches
    splits = open_batches(folder)
    assert splits.train.targets.tolist() == [0, 1, 1, 1, 0, 1, 1, 1, 0, 1]
    assert splits.val.classes == ("plane", "car")
    assert splits.val.name_of(1) == "test/5b"
    assert torch.equal(splits.train.images[2].flatten(), torch.from_numpy(pixels[1, 0]))
    with pytest.raises(ConfigError, match="32 pixels"):
        open_batches(folder, image_size=64)
    (folder / "data_batch_4").unlink()
    with pytest.raises(DataError, match="data_batch_4: missing or unreadable") as error:
        open_batches(folder)
    one_line(error)


class Trap:
    """An object that leaves a file where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("name", ["data_batch_3", "test_batch", "batches.meta"])
def test_cifar10_file_that_is_not_the_published_one_is_not_unpickled(batches, tmp_path, name):
    folder, _ = batches
    (folder / name).write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    with pytest.raises(DataError, match=f"{name}: damaged, or not the published") as error:
        open_batches(folder)
    one_line(error)
    assert not (tmp_path / "sprung").exists()
    pickle.loads((folder / name).read_bytes())
    assert (tmp_path / "sprung").exists(), "the trap works"


def test_published_checksums_of_cifar10_are_torchvisions():
    from torchvision.datasets import CIFAR10

    theirs = dict([*CIFAR10.train_list, *CIFAR10.test_list])
    assert theirs | {CIFAR10.meta["filename"]: CIFAR10.meta["md5"]} == cifar.PUBLISHED_MD5


def test_cifar10_on_disk_is_read_where_no_lock_can_be_taken(batches, tmp_path, monkeypatch):
    monkeypatch.setattr(cifar.tempfile, "gettempdir", lambda: str(tmp_path / "nowhere"))
    assert len(open_batches(batches[0]).train) == 10


def test_cifar10_lock_does_not_follow_a_link(batches, tmp_path, monkeypatch):
    monkeypatch.setattr(cifar.tempfile, "gettempdir", lambda: str(tmp_path))
    (tmp_path / f"scaledrelu-cifar10-{os.getuid()}.lock").symlink_to(tmp_path / "elsewhere")
    assert len(open_batches(batches[0]).train) == 10
    assert not (tmp_path / "elsewhere").exists()


def test_cifar10_that_cannot_be_downloaded_is_one_line(tmp_path, monkeypatch):
    def fail(root):
        raise OSError("no route to host\nsecond line")

    monkeypatch.setattr(cifar, "_download", fail)
    with pytest.raises(DataError, match=r"could not be downloaded \(no route to host\)") as error:
        open_cifar10(root=str(tmp_path / "cifar10"), train="train", val="test")
    one_line(error)


# --- fractions


def test_fractions_are_stratified_and_nested():
    train = open_digits(image_size=8).train
    sizes = np.bincount(train.targets)
    names = [set()]
    for fraction in (0.01, 0.1, 0.2, 0.5, 0.9):
        part = subset(train, fraction, seed=0)
        counts = np.bincount(part.targets)
        assert counts.tolist() == [max(1, round(fraction * n)) for n in sizes]
        names.append({part.name_of(i) for i in range(len(part))})
        assert names[-2] < names[-1]
    assert subset(train, 1.0, seed=0) is train


def test_fraction_keeps_every_class_and_image_together_with_its_label(image_folder):
    whole = open_folder(image_folder({"train": 6, "val": 1})).train
    part = subset(whole, 0.01, seed=1)
    assert part.targets.tolist() == [0, 1, 2]
    for i in range(3):
        assert part.name_of(i).startswith(part.classes[part.targets[i]])


def test_fraction_seed_changes_the_choice():
    train = open_digits(image_size=8).train
    first, second = (subset(train, 0.1, seed=seed) for seed in (0, 1))
    assert [first.name_of(i) for i in range(9)] != [second.name_of(i) for i in range(9)]


def test_fraction_outside_its_range_is_refused():
    with pytest.raises(ConfigError, match=r"data\.fraction=1\.5"):
        subset(open_digits(image_size=8).train, 1.5, seed=0)


# --- start-up


def test_opening_image_files_imports_neither_torch_nor_timm(image_folder):
    root = image_folder({"train": 1, "val": 1})
    code = (
        "import sys; from scaledrelu.data.datasets import open_image_folder as o; "
        f"o(root={str(root)!r}, train='train', val='val', image_size=16).train.load(0); "
        "sys.exit(bool({'torch', 'timm', 'torchvision', 'sklearn'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.real_data
def test_cifar10_folder_has_its_published_counts(real_data, caplog):
    root = real_data / "cifar10"
    with caplog.at_level(logging.WARNING):
        train, val = scan_folder(root / "train"), scan_folder(root / "test")
    assert (len(train), len(val), len(train.classes)) == (50_000, 10_000, 10)
    assert train.load(0).size == (32, 32)


# --- options of conf/data


@pytest.mark.parametrize("path", sorted(CONF.glob("[!_]*.yaml")), ids=lambda path: path.stem)
def test_every_option_names_an_opener_that_takes_its_fields(path):
    option = yaml.safe_load(path.read_text())
    base = yaml.safe_load((CONF / "imagenet1k.yaml").read_text())["build"]
    inherits = "imagenet1k" in option.get("defaults", [])
    fields = (base if inherits else {}) | option.get("build", {})
    module, _, name = fields.pop("_target_").rpartition(".")
    opener = getattr(importlib.import_module(module), name)
    from_the_run = ("root", "image_size", "in_memory", "on_bad_image")
    inspect.signature(opener).bind(**fields, **dict.fromkeys(from_the_run))


def test_digits_option_has_the_mean_and_deviation_of_the_training_split():
    option = yaml.safe_load((CONF / "digits.yaml").read_text())
    pixels = open_digits(image_size=option["image_size"]).train.images.double() / 255
    assert option["mean"] == pytest.approx([pixels.mean().item()] * 3, abs=6e-4)
    assert option["std"] == pytest.approx([pixels.std().item()] * 3, abs=6e-4)
