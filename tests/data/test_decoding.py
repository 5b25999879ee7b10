"""What comes out of one image file, by its depth, its kind of pixel and its size."""

from __future__ import annotations

import os
import pickle
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scaledrelu.data.decoding import MOST_PIXELS, BadImageError, decode
from scaledrelu.errors import DataError

RAMP = np.tile(np.linspace(0, 1, 64), (4, 1))  # black to white
GREY = np.round(RAMP * 255).astype(np.uint8)


def pgm(kind: str, top: int) -> bytes:
    values = np.round(RAMP * top).astype(int)
    body = values.astype(">u2").tobytes() if kind == "P5" else " ".join(map(str, values.flat))
    head = f"{kind}\n64 4\n{top}\n".encode()
    return head + (body if isinstance(body, bytes) else body.encode())


def tiff(values: np.ndarray, *, bits: int, kind: int = 1, white: int = 1) -> bytes:
    """Return a TIFF: kind 1 without sign, 2 with sign, 3 float; white 0 if white is 0."""
    data = values.tobytes()
    tags = [(256, 64), (257, 4), (258, bits), (259, 1), (262, white), (273, 8)]
    tags += [(277, 1), (278, 4), (279, len(data)), (339, kind)]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    head = b"II*\0" + struct.pack("<I", 8 + len(data))
    return head + data + struct.pack("<H", len(tags)) + entries + b"\0" * 4


def packed_12(values: np.ndarray) -> np.ndarray:
    pairs = values.reshape(-1, 2).astype(np.uint32)
    high, middle = pairs[:, 0] >> 4, (pairs[:, 0] & 15) << 4 | pairs[:, 1] >> 8
    return np.stack([high, middle, pairs[:, 1] & 255], axis=1).astype(np.uint8)


def of(top: int, kind: str = "<u2") -> np.ndarray:
    return np.round(RAMP * top).astype(kind)


def png_16(path: Path) -> None:
    Image.fromarray(of(65535, "uint16")).save(path)


DEEP = {
    "16.png": png_16,
    "16.tif": lambda path: path.write_bytes(tiff(of(65535), bits=16)),
    "16-white-is-0.tif": lambda path: path.write_bytes(tiff(of(65535)[:, ::-1], bits=16, white=0)),
    "16-big-endian.tif": lambda path: Image.frombytes(
        "I;16B", (64, 4), of(65535, ">u2").tobytes()
    ).save(path),
    "12.tif": lambda path: path.write_bytes(tiff(packed_12(of(4095)), bits=12)),
    "16.pgm": lambda path: path.write_bytes(pgm("P5", 65535)),
    "12.pgm": lambda path: path.write_bytes(pgm("P5", 4095)),
    "10-in-letters.pgm": lambda path: path.write_bytes(pgm("P2", 1023)),
}


@pytest.mark.parametrize("name", DEEP)
def test_deep_grey_keeps_its_picture(tmp_path: Path, name: str) -> None:
    DEEP[name](tmp_path / name)
    image = decode(str(tmp_path / name))
    assert image.mode == "RGB"
    for channel in np.moveaxis(np.asarray(image).astype(int), -1, 0):
        assert np.abs(channel - GREY).max() <= 1


UNKNOWN = {
    "float.tif": lambda path: path.write_bytes(tiff(of(1, "<f4"), bits=32, kind=3)),
    "32.tif": lambda path: path.write_bytes(tiff(of(70_000, "<u4"), bits=32)),
    "signed-8.tif": lambda path: path.write_bytes(tiff(of(127, "i1"), bits=8, kind=2)),
    "signed.tif": lambda path: path.write_bytes(tiff(of(32767, "<i2"), bits=16, kind=2)),
    "float.pgm": lambda path: path.write_bytes(b"Pf\n64 4\n-1.0\n" + of(1, "<f4").tobytes()),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_grey_of_unknown_range_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    UNKNOWN[name](tmp_path / name)
    with pytest.raises(
        BadImageError, match=r"unknown range .*convert it to unsigned 8 or 16 bits"
    ) as error:
        decode(str(tmp_path / name))
    assert str(tmp_path / name) in str(error.value)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_other_pixels_come_out_as_torchvision_reads_them(tmp_path: Path, mode: str) -> None:
    from torchvision.datasets.folder import default_loader

    noise = np.random.RandomState(0).randint(0, 256, (8, 8, 4), dtype=np.uint8)
    path = tmp_path / ("0.tif" if mode == "CMYK" else "0.png")
    image = Image.fromarray(noise, "RGBA").convert("RGB").convert(mode)
    if mode in ("LA", "RGBA"):
        image.putalpha(Image.fromarray(noise[..., 3]))
    image.save(path, **({"transparency": 3} if mode == "P" else {}))
    assert decode(str(path)).tobytes() == default_loader(str(path)).tobytes()


def huge_png(path: Path, side: int) -> Path:
    """Write some bytes that say they are a large image."""
    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b"")]
    parts = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    return path


def test_a_small_file_of_an_enormous_image_is_refused_for_what_it_is(tmp_path: Path) -> None:
    path = huge_png(tmp_path / "0.png", 13_500)
    with pytest.raises(BadImageError, match="has 182,250,000 pixels, above the limit") as error:
        decode(str(path))
    assert "damaged or incomplete image" not in str(error.value)
    assert f"{MOST_PIXELS:,}" in str(error.value)


def test_a_large_image_below_the_limit_is_read_without_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 150)
    Image.new("RGB", (16, 16)).save(tmp_path / "0.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert decode(str(tmp_path / "0.png")).size == (16, 16)


@pytest.mark.parametrize("target", ["/nowhere/0.png", "0.png"])
def test_a_link_to_nowhere_is_called_so(tmp_path: Path, target: str) -> None:
    (tmp_path / "0.png").symlink_to(target)
    with pytest.raises(BadImageError, match=r"0\.png: broken link"):
        decode(str(tmp_path / "0.png"))


def test_a_folder_called_like_an_image_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "0.png").mkdir()
    with pytest.raises(DataError, match="cannot be read"):
        decode(str(tmp_path / "0.png"))


def test_what_pillow_cannot_name_may_have_to_be_converted(tmp_path: Path) -> None:
    (tmp_path / "16-float.tif").write_bytes(tiff(of(1, "<f2"), bits=16, kind=3))
    with pytest.raises(BadImageError, match="not an image in a format that Pillow reads") as error:
        decode(str(tmp_path / "16-float.tif"))
    assert "restore the file, or convert it" in str(error.value)


def test_bytes_that_a_decoder_chokes_on_are_a_bad_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "0.png")
    for error in (KeyError(258), struct.error("unpack"), IndexError("x"), zlib.error("-3")):
        monkeypatch.setattr(Image.Image, "convert", _raising(error))
        with pytest.raises(BadImageError, match="damaged or incomplete image"):
            decode(str(tmp_path / "0.png"))


def _raising(error: Exception) -> object:
    def convert(*_: object) -> None:
        raise error

    return convert


def test_a_bad_images_line_survives_the_way_between_processes_and_any_name(tmp_path: Path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff\n.png")
    Path(path).write_bytes(b"")
    with pytest.raises(BadImageError) as error:
        decode(path)
    line = str(pickle.loads(pickle.dumps(error.value)))
    assert line == str(error.value)
    assert "\\udcff\\n.png: not an image in a format that Pillow reads" in line
    assert line.encode()
