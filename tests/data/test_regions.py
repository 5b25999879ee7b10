"""A box of a JPEG that is decoded alone has the pixels of the whole image."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from scaledrelu.data import regions
from scaledrelu.data.crops import RandomCrop
from scaledrelu.data.datasets import scan_folder
from scaledrelu.data.pixels import decode_pixels
from scaledrelu.data.regions import Encoded, open_regions
from tests.data.test_pixels import FILES, NOT_BY_PILLOW, outcome, picture, refuse_cut_files

simplejpeg = pytest.importorskip("simplejpeg")
pytestmark = pytest.mark.skipif(
    regions._library() is None, reason="nvImageCodec is not installed (Linux only)"
)
SIZES = [(75, 58), (64, 64), (17, 33), (1, 1), (129, 8), (8, 129)]
KINDS = {
    "4:2:0": {"subsampling": "4:2:0"},
    "4:2:2": {"subsampling": "4:2:2"},
    "4:4:4": {"subsampling": "4:4:4"},
    "progressive": {"progressive": True},
    "optimised": {"optimize": True, "quality": 100},
    "restarts": {"restart_marker_blocks": 3},
    "RGB": {"keep_rgb": True},
    "grey": {"mode": "L"},
}


def boxes(height: int, width: int, count: int = 12) -> list[tuple[int, int, int, int]]:
    """Return the whole image, its corners and its edges, and boxes at random."""
    draw = random.Random(f"{height}x{width}")
    found = [(0, 0, height, width), (0, 0, 1, 1), (height - 1, width - 1, 1, 1)]
    for _ in range(count):
        tall, wide = draw.randint(1, height), draw.randint(1, width)
        top, left = draw.randint(0, height - tall), draw.randint(0, width - wide)
        found += [(top, left, tall, wide), (height - tall, width - wide, tall, wide)]
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_every_box_is_that_of_the_whole_image(tmp_path: Path, kind: str, size) -> None:
    path, options = tmp_path / "0.jpg", dict(KINDS[kind])
    picture(options.pop("mode", "RGB"), *size).save(path, **options)
    whole, opened = decode_pixels(str(path)), open_regions(str(path))
    assert isinstance(opened, Encoded)
    assert opened.outline.shape == whole.shape
    for top, left, height, width in boxes(*whole.shape[1:]):
        box = opened.crop(top, left, height, width)
        assert torch.equal(box, whole[:, top : top + height, left : left + width])
        assert box.stride(0) == 1


@pytest.mark.parametrize("kind", ["440", "411"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_so_it_is_with_subsamplings_that_pillow_does_not_write(
    tmp_path: Path, kind: str, size
) -> None:
    encoded = simplejpeg.encode_jpeg(np.asarray(picture("RGB", *size)), colorsubsampling=kind)
    (tmp_path / "0.jpg").write_bytes(encoded)
    whole, opened = (read(str(tmp_path / "0.jpg")) for read in (decode_pixels, open_regions))
    for top, left, height, width in boxes(*whole.shape[1:]):
        box = opened.crop(top, left, height, width)
        assert torch.equal(box, whole[:, top : top + height, left : left + width])


@pytest.mark.parametrize("name", FILES)
def test_what_is_no_ordinary_jpeg_is_decoded_at_once(tmp_path: Path, name: str) -> None:
    FILES[name](tmp_path / name)
    opened, whole = (read(str(tmp_path / name)) for read in (open_regions, decode_pixels))
    # Bytes after the end may be a second picture, or what is left of a cut one.
    alone = name in NOT_BY_PILLOW and name != "bytes-after-the-end.jpg"
    assert isinstance(opened, Encoded) == (alone or name == "two-pictures.jpg")
    box = opened.crop(5, 7, 11, 13) if isinstance(opened, Encoded) else opened[:, 5:16, 7:20]
    assert torch.equal(box, whole[:, 5:16, 7:20])


def test_a_file_cut_anywhere_is_refused_when_it_is_opened(tmp_path: Path) -> None:
    refuse_cut_files(open_regions, tmp_path / "0.jpg")


def test_damaged_bytes_give_what_pillow_makes_of_them(tmp_path: Path) -> None:
    path = tmp_path / "0.jpg"
    picture().save(path)
    whole, draw, outcomes = path.read_bytes(), random.Random(0), []
    for _ in range(60):
        damaged = bytearray(whole)
        for _ in range(3):
            damaged[draw.randrange(2, len(whole) - 2)] = draw.randrange(256)
        path.write_bytes(damaged)
        ours, theirs = (outcome(read, path) for read in (everything, decode_pixels))
        assert ours == theirs
        outcomes.append(type(ours))
    assert set(outcomes) == {str, list}


def everything(path: str) -> torch.Tensor:
    opened = open_regions(path)
    is_open = isinstance(opened, Encoded)
    return opened.crop(0, 0, *opened.outline.shape[1:]) if is_open else opened


def test_a_random_crop_is_that_of_the_decoded_image(tmp_path: Path) -> None:
    picture("RGB", 300, 200).save(tmp_path / "0.jpg")
    cut = RandomCrop(64, scale=(0.08, 1.0), ratio=(0.75, 1.3333), interpolation="bicubic")
    found = []
    for read in (open_regions, decode_pixels):
        random.seed(3)
        found.append([cut(read(str(tmp_path / "0.jpg"))) for _ in range(10)])
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(*found, strict=True))


def test_without_the_library_images_are_decoded_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture().save(tmp_path / "0.jpg")
    monkeypatch.setattr(regions, "_library", lambda: None)
    opened = open_regions(str(tmp_path / "0.jpg"))
    assert torch.equal(opened, decode_pixels(str(tmp_path / "0.jpg")))


PROGRAM = """
import os, sys
import scaledrelu.data.regions as regions
opened = regions.open_regions(sys.argv[1])
box = opened.crop(0, 0, 8, 8).clone()
child = os.fork()
if child == 0:
    os._exit(not (opened.crop(0, 0, 8, 8) == box).all())
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
mapped = open("/proc/self/maps").read()
assert "libjpeg_turbo_ext" in mapped
assert "nvjpeg" not in mapped and "libcuda.so" not in mapped
assert os.environ.get("NVIMGCODEC_EXTENSIONS_PATH") == sys.argv[2]
"""


def test_it_is_quiet_leaves_the_gpu_alone_and_works_in_a_forked_process(tmp_path: Path) -> None:
    picture().save(tmp_path / "0.jpg")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "0.jpg"), "/elsewhere"],
        env={**os.environ, "NVIMGCODEC_EXTENSIONS_PATH": "/elsewhere"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


BESIDE_A_GPU = """
import os, sys, torch
torch.zeros(1, device="cuda")
from scaledrelu.data import regions
opened = regions.open_regions(sys.argv[1])
child = os.fork()
if child == 0:
    os._exit(regions._decode(opened._content, (0, 0, 20, 30)) is None)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_process_forked_from_one_that_uses_a_gpu_decodes_boxes(tmp_path: Path) -> None:
    picture().save(tmp_path / "0.jpg")
    # Python warns that a process with threads forks: this one means to.
    quiet = ["-W", "ignore:This process:DeprecationWarning"]
    command = [sys.executable, *quiet, "-c", BESIDE_A_GPU, str(tmp_path / "0.jpg")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.real_data
def test_boxes_of_200_imagenet_files_are_those_of_the_whole_images(real_data: Path) -> None:
    source = scan_folder(real_data / "imagenet-sample")
    for index in range(len(source)):
        whole = decode_pixels(source.path_of(index))
        opened = open_regions(source.path_of(index))
        assert isinstance(opened, Encoded)
        for top, left, height, width in boxes(*whole.shape[1:], count=3):
            box = opened.crop(top, left, height, width)
            assert torch.equal(box, whole[:, top : top + height, left : left + width])
