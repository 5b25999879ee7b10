"""One image file to a tensor of bytes: an ordinary JPEG by the fastest decoder, others by Pillow.

simplejpeg (``pip install -e '.[jpeg]'``) where it is installed, else torchvision. All decode
with libjpeg-turbo, so the bytes are the same; only the time differs. Pillow still reads every
header and has the last word on files that are not as they should be.
"""

from __future__ import annotations

import warnings
from functools import cache
from types import ModuleType

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from scaledrelu.data.decoding import read_image, to_rgb


def decode_pixels(path: str) -> Tensor:
    """Decode a file to 3 x H x W, uint8, RGB, the three values of a pixel side by side in memory.

    The pixels, and the errors, are those of ``decoding.decode``.

    Raises:
        DataError, BadImageError: as ``decoding.decode``.
    """
    return read_image(path, _decoded)


def to_pixels(image: Image.Image | Tensor) -> Tensor:
    """Return an image in RGB as ``decode_pixels`` does; a tensor as it is."""
    if isinstance(image, Tensor):
        return image
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def _decoded(path: str, image: Image.Image) -> Tensor:
    # Pillow turns CMYK into RGB by a formula of its own.
    if image.format == "JPEG" and image.mode in ("L", "RGB"):
        pixels = _decoded_jpeg(image)
        if pixels is not None:
            return pixels
    return to_pixels(to_rgb(path, image))


def _decoded_jpeg(image: Image.Image) -> Tensor | None:
    """Return the pixels of an open JPEG; None if Pillow has to read it."""
    image.fp.seek(0)
    content = image.fp.read()
    return _by_torchvision(content) if _simplejpeg() is None else _by_simplejpeg(content)


def jpeg_decoder() -> str:
    """Return the library that decodes ordinary JPEGs."""
    return "torchvision" if _simplejpeg() is None else "simplejpeg"


@cache
def _simplejpeg() -> ModuleType | None:
    """Return simplejpeg where it is installed."""
    try:
        import simplejpeg
    except ImportError:
        return None
    return simplejpeg


def _by_simplejpeg(content: bytes) -> Tensor | None:
    try:
        pixels = _simplejpeg().decode_jpeg(content, colorspace="RGB")
    except ValueError:  # bytes that it refuses, or would only decode with a warning
        return None
    return torch.from_numpy(pixels).permute(2, 0, 1)


def _by_torchvision(content: bytes) -> Tensor | None:
    try:
        with warnings.catch_warnings():
            # torchvision 0.29 announces that its decoders will go, in favour of TorchCodec.
            warnings.simplefilter("ignore", DeprecationWarning)
            from torchvision.io import ImageReadMode, decode_jpeg

            pixels = torch.from_numpy(np.frombuffer(bytearray(content), dtype=np.uint8))
            return decode_jpeg(pixels, mode=ImageReadMode.RGB)
    except (ImportError, RuntimeError):  # no such decoder, or bytes that it refuses
        return None
