"""A pack is written whole or not at all, and what cannot be packed is refused in one line."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

from scaledrelu import countdown
from scaledrelu.data import packing
from scaledrelu.data.packing import check_pack, pack_folder
from scaledrelu.errors import DataError
from scaledrelu.inputs.pack import read_pack
from scripts import pack_images


def refused(*arguments: object) -> str:
    with pytest.raises(DataError) as error:
        pack_folder(*arguments)
    return str(error.value)


def test_a_pack_holds_the_files_one_after_the_other(image_folder, tmp_path: Path) -> None:
    root = image_folder({"train": 3})
    found = pack_folder(root / "train", tmp_path / "out")
    files = sorted((root / "train").rglob("*.jpg"))
    content = b"".join(path.read_bytes() for path in files)
    assert (found.images, found.classes, found.size) == (9, 3, len(content))
    assert content in found.path.read_bytes()
    pack = read_pack(found.path)
    assert list(pack.names) == [str(path.relative_to(root / "train")) for path in files]
    assert pack.counts == {"cat": 3, "dog": 3, "owl": 3}
    assert os.listdir(tmp_path / "out") == ["train.pack"]


def test_a_pack_that_was_interrupted_leaves_nothing(
    image_folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = image_folder({"train": 3})
    monkeypatch.setattr(packing, "_index", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        pack_folder(root / "train", tmp_path / "out")
    assert os.listdir(tmp_path / "out") == []


def test_what_a_kill_left_is_never_read_and_is_replaced(image_folder, tmp_path: Path) -> None:
    root, out = image_folder({"train": 3}), tmp_path / "out"
    out.mkdir()
    (out / ".train.pack.tmp").write_bytes(b"scaledrelu pack 1\n")
    assert pack_folder(root / "train", out).is_new
    assert os.listdir(out) == ["train.pack"]


def test_a_finished_pack_is_kept_and_one_of_other_images_is_refused(
    image_folder, tmp_path: Path
) -> None:
    root, out = image_folder({"train": 3}), tmp_path / "out"
    before = pack_folder(root / "train", out).path.stat()
    again = pack_folder(root / "train", out)
    assert (again.is_new, again.path.stat().st_mtime_ns) == (False, before.st_mtime_ns)
    (root / "train/cat/1.jpg").unlink()
    assert "train.pack: holds other images than" in refused(root / "train", out)


def test_what_cannot_be_packed_is_refused(
    image_folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = image_folder({"train": 2})
    assert f"{root}/no: no such folder" in refused(root / "no", tmp_path / "out")
    assert "this folder would be read in place of its pack" in refused(root / "train", root)
    assert "cannot be written (Not a directory)" in refused(
        root / "train", root / "train/cat/0.jpg/out"
    )
    (root / "train/owl/9.jpg").symlink_to("/nowhere")
    assert "owl/9.jpg: cannot be read (No such file" in refused(root / "train", tmp_path / "out")
    (root / "train/owl/9.jpg").unlink()
    (root / "train/empty").mkdir()
    assert "empty: class folder without images" in refused(root / "train", tmp_path / "out")
    (root / "train/empty").rmdir()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(9, 9, 9))
    assert "but 0.0 kB are free; make room" in refused(root / "train", tmp_path / "out")
    assert not (tmp_path / "out/train.pack").exists()


def test_a_check_reads_every_image(image_folder, tmp_path: Path) -> None:
    path = pack_folder(image_folder({"train": 3}) / "train", tmp_path).path
    assert check_pack(path).images == 9
    content = bytearray(path.read_bytes())
    content[read_first(path) + 5] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"train\.pack/owl/2\.jpg: damaged"):
        check_pack(path)


def test_a_pack_that_is_refused_says_what_writes_it_again(image_folder, tmp_path: Path) -> None:
    folder = image_folder({"train": 3}) / "train"
    path = pack_folder(folder, tmp_path).path
    whole = path.read_bytes()
    refused = "copy (it|the pack) again, or remove it and run scripts/pack_images.py"
    content = bytearray(whole)
    content[read_first(path) + 5] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=refused):
        check_pack(path)
    path.write_bytes(whole[:-7])
    with pytest.raises(DataError, match=refused):
        pack_folder(folder, tmp_path)
    path.unlink()
    assert pack_folder(folder, tmp_path).is_new
    assert path.read_bytes() == whole


def read_first(path: Path) -> int:
    """Return where the last image begins."""
    return int.from_bytes(read_pack(path).offsets[-16:-8], "little")


def test_the_script_packs_every_split_and_checks_them(image_folder, tmp_path: Path, capsys) -> None:
    root, out = image_folder({"train": 3, "test": 2}), str(tmp_path / "out")

    def call(*arguments: str) -> str:
        pack_images.main(pack_images.parse(list(arguments)))
        return capsys.readouterr().out

    pack = ("--data", str(root), "--splits", "train", "test", "--out", out)
    first = call(*pack).splitlines()
    for line, said in zip(first, ("train.pack: 9", "test.pack: 6"), strict=True):
        assert re.fullmatch(rf"{out}/{said} images in 3 classes, [1-9][\d.]* kB", line)
    assert [line.endswith(", there already") for line in call(*pack).splitlines()] == [True] * 2
    assert call("--check", out).count("as they were packed") == 2
    with pytest.raises(DataError, match="holds no packs"):
        call("--check", str(root))
    with pytest.raises(SystemExit):
        pack_images.parse(["--data", "x"])


def test_what_is_not_packed_is_said(image_folder, tmp_path: Path, caplog) -> None:
    root = image_folder({"train": 2})
    (root / "train/cat/a.gif").touch()
    with caplog.at_level("INFO"):
        assert pack_folder(root / "train", tmp_path / "out").images == 6
    assert caplog.text.count("left out (.gif)") == 1


def test_progress_says_how_much_is_left(
    image_folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog
) -> None:
    monkeypatch.setattr(countdown, "QUIET_S", 0.0)
    monkeypatch.setattr(countdown, "EVERY_S", 0.0)
    with caplog.at_level("INFO"):
        pack_folder(image_folder({"train": 2}) / "train", tmp_path)
    assert len(caplog.messages) == 6
    assert re.search(r": ([1-9][\d.]* kB) of \1, about 0s left$", caplog.messages[-1])
