"""A tensor of bytes holds what Pillow reads, and errors are the same, whoever decodes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg
import torch
from PIL import Image

from scaledrelu.data import pixels as module
from scaledrelu.data.datasets import scan_folder
from scaledrelu.data.decoding import BadImageError, decode
from scaledrelu.data.pixels import decode_pixels, to_pixels
from scaledrelu.errors import DataError


def picture(mode: str = "RGB", width: int = 75, height: int = 58) -> Image.Image:
    noise = np.random.RandomState(0).randint(0, 256, (9, 9, 3), dtype=np.uint8)
    smooth = Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)
    return smooth.convert(mode)


def turned(path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6  # a viewer turns it by 90 degrees
    picture().save(path, exif=exif)


FILES = {
    "rgb.jpg": lambda path: picture().save(path, quality=90),
    "no-subsampling.jpg": lambda path: picture().save(path, subsampling=0, quality=95),
    "progressive.jpg": lambda path: picture().save(path, progressive=True),
    "keeps-rgb.jpg": lambda path: picture().save(path, keep_rgb=True),
    "grey.jpg": lambda path: picture("L").save(path),
    "cmyk.jpg": lambda path: picture("CMYK").save(path),
    "exif.jpg": turned,
    "jpeg-called.png": lambda path: picture().save(path, format="JPEG"),
    "png-called.jpg": lambda path: picture().save(path, format="PNG"),
    "two-pictures.jpg": lambda path: picture().save(
        path, format="MPO", save_all=True, append_images=[picture()]
    ),
    "palette.png": lambda path: picture("P").save(path),
    "alpha.png": lambda path: picture("RGBA").save(path),
    "16-bits.png": lambda path: Image.fromarray(
        np.linspace(0, 65535, 600).astype("uint16").reshape(20, 30)
    ).save(path),
    "bytes-after-the-end.jpg": lambda path: _with_tail(path, b"\0\0"),
}
NOT_BY_PILLOW = ["rgb.jpg", "no-subsampling.jpg", "progressive.jpg", "keeps-rgb.jpg", "grey.jpg",
                  "exif.jpg", "jpeg-called.png", "bytes-after-the-end.jpg",
                  "two-pictures.jpg"]  # fmt: skip


def _with_tail(path: Path, tail: bytes) -> None:
    picture().save(path)
    path.write_bytes(path.read_bytes() + tail)


def pillow(path: Path) -> torch.Tensor:
    return torch.from_numpy(np.array(decode(str(path)))).permute(2, 0, 1)


@pytest.fixture(params=["simplejpeg", "Pillow"])
def decoder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "Pillow":
        monkeypatch.setattr(module, "_simplejpeg", lambda: None)
    return request.param


@pytest.mark.parametrize("name", FILES)
def test_the_pixels_are_pillows(tmp_path: Path, name: str) -> None:
    FILES[name](tmp_path / name)
    found = decode_pixels(str(tmp_path / name))
    assert found.dtype == torch.uint8
    assert torch.equal(found, pillow(tmp_path / name))
    assert found.permute(1, 2, 0).is_contiguous()


@pytest.mark.parametrize("name", FILES)
def test_ordinary_jpegs_and_nothing_else_are_decoded_by_others_than_pillow(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    FILES[name](tmp_path / name)
    seen, real = [], simplejpeg.decode_jpeg
    monkeypatch.setattr(simplejpeg, "decode_jpeg", lambda *a, **k: seen.append(a) or real(*a, **k))
    decode_pixels(str(tmp_path / name))
    assert bool(seen) == (name in NOT_BY_PILLOW)


def test_a_file_cut_anywhere_is_refused_with_pillows_words(tmp_path: Path, decoder: str) -> None:
    refuse_cut_files(decode_pixels, tmp_path / "0.jpg")


def refuse_cut_files(read: Callable[[str], Any], path: Path) -> None:
    """Check that a reader refuses a JPEG that is cut anywhere, as Pillow does."""
    picture().save(path)
    whole = path.read_bytes()
    for length in [0, 2, 30, 400, len(whole) // 2, len(whole) - 20, len(whole) - 2, len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(BadImageError) as theirs:
            decode(str(path))
        with pytest.raises(BadImageError) as ours:
            read(str(path))
        assert str(ours.value) == str(theirs.value)


def test_damaged_bytes_give_what_pillow_makes_of_them(tmp_path: Path, decoder: str) -> None:
    path = tmp_path / "0.jpg"
    picture().save(path)
    whole, draw = path.read_bytes(), np.random.RandomState(0)
    outcomes = []
    for _ in range(60):
        damaged = bytearray(whole)
        for at in draw.randint(2, len(whole) - 2, 3):
            damaged[at] = draw.randint(256)
        path.write_bytes(damaged)
        ours, theirs = (outcome(read, path) for read in (decode_pixels, decode))
        assert ours == theirs
        outcomes.append(type(ours))
    assert set(outcomes) == {str, list}


def outcome(read: Callable[[str], Any], path: Path) -> str | list[Any]:
    try:
        return to_pixels(read(str(path))).tolist()
    except DataError as error:
        return f"{type(error).__name__}: {error}"


def test_an_enormous_jpeg_is_refused_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decoder: str
) -> None:
    picture().save(tmp_path / "0.jpg")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 150)
    monkeypatch.setattr(simplejpeg, "decode_jpeg", None)
    with pytest.raises(BadImageError, match="has 4,350 pixels, above the limit"):
        decode_pixels(str(tmp_path / "0.jpg"))


def test_an_image_of_pillow_becomes_the_same_tensor() -> None:
    image = picture()
    found = to_pixels(image)
    assert np.array_equal(found.permute(1, 2, 0).numpy(), np.asarray(image))
    assert to_pixels(found) is found


def test_a_source_of_tensors_replaces_and_notes_bad_images(image_folder, truncate, decoder) -> None:
    source = scan_folder(image_folder({"train": 3}) / "train", on_bad_image="skip")
    truncate(Path(source.path_of(1)))
    read = source.decoded_by(decode_pixels)
    assert torch.equal(read.load(1), to_pixels(source.load(2)))
    assert source.skipped == read.skipped == [source.name_of(1)]
    assert source.position_of(1) == read.position_of(1) == 2
    part = read.select(np.arange(2, 4))
    assert torch.equal(part.load(0), read.load(2))
    assert isinstance(source.load(0), Image.Image)
