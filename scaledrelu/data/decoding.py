"""One image file to 8-bit RGB: what is scaled, what is refused, and which images are bad."""

from __future__ import annotations

import errno
import io
import os
import re
import warnings
from collections.abc import Callable
from typing import TypeVar

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from scaledrelu.errors import DataError, printable

Decoded = TypeVar("Decoded")

# Pillow refuses larger images: a file of a few kilobytes could fill the memory.
MOST_PIXELS = 2 * (Image.MAX_IMAGE_PIXELS or 89_478_485)
_MIN_IS_WHITE = 0  # a value of TIFF's PhotometricInterpretation
_SIGNED = 2  # a value of TIFF's SampleFormat
_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339  # TIFF tags


class BadImageError(DataError):
    """A file that is not an image, or not one that can be used.

    Args:
        path: the file.
        reason: what is wrong with it.
        remedy: what to do about it.
        otherwise: what else can be done.
    """

    def __init__(
        self,
        path: str,
        reason: str,
        remedy: str,
        otherwise: str = (
            ", or set data.on_bad_image=skip to replace it by the next image of its class"
        ),
    ):
        super().__init__(path, reason, remedy, otherwise)  # so that it can be pickled
        self.path, self.reason, self.remedy = path, reason, remedy

    def __str__(self) -> str:
        path, reason, remedy, otherwise = self.args
        return printable(f"{path}: {reason}; {remedy}{otherwise}")


def decode(path: str, content: bytes | None = None) -> Image.Image:
    """Decode a file to RGB.

    Grey values of 12 or 16 bits are scaled by their depth, not cut off.

    Args:
        path: the file.
        content: its bytes, where they are at hand; the path is then only for messages.

    Raises:
        BadImageError: if the bytes are not a whole image, too large a one, or grey values of
            unknown range.
        DataError: if the file cannot be read at all.
    """
    return read_image(path, to_rgb, content)


def read_image(
    path: str, decoded: Callable[[str, Image.Image], Decoded], content: bytes | None = None
) -> Decoded:
    """Open a file with Pillow, which reads its header, and return what ``decoded`` makes of it.

    Args:
        path: the file.
        decoded: gets the path and the open image; may raise anything.
        content: the bytes of the file, where they are at hand.

    Raises:
        DataError, BadImageError: as ``decode``.
    """
    ImageFile.LOAD_TRUNCATED_IMAGES = False  # other libraries set it; missing rows would be grey
    try:
        with warnings.catch_warnings():
            # Pillow warns from half its limit on; such images are read like any other.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(path if content is None else io.BytesIO(content))
        with image:
            return decoded(path, image)
    except (DataError, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        raise _too_large(path, error) from None
    except Exception as error:  # decoders raise every kind of error on broken bytes
        raise _unreadable(path, error) from None


def to_rgb(path: str, image: Image.Image) -> Image.Image:
    """Return an open image in RGB.

    Args:
        path: its file, for messages.
        image: Pillow's open image.

    Raises:
        BadImageError: grey values of unknown range; decoders raise errors of their own.
    """
    is_wide = image.mode == "F" or image.mode.startswith("I")
    if not is_wide and not _is_signed(image):
        return image.convert("RGB")
    top = _top_of_range(image) if is_wide else None
    if top is None:
        raise BadImageError(
            path,
            f"grey values of unknown range ({image.format}, mode {image.mode})",
            "convert it to unsigned 8 or 16 bits",
        )
    values = np.asarray(image).astype(np.int32)
    if image.format == "TIFF" and image.tag_v2.get(_PHOTOMETRIC) == _MIN_IS_WHITE:
        values = top - values  # Pillow inverts 8-bit images, but not 16-bit ones
    grey = (values * 255 + top // 2) // top
    return Image.fromarray(grey.astype(np.uint8)).convert("RGB")


def _is_signed(image: Image.Image) -> bool:
    """Say whether a TIFF holds negative numbers, which Pillow reads as large ones."""
    return image.format == "TIFF" and _SIGNED in image.tag_v2.get(_SAMPLE_FORMAT, ())


def _top_of_range(image: Image.Image) -> int | None:
    """Return the value that stands for white, None if the file does not say."""
    if image.mode.startswith("I;16"):
        bits = image.tag_v2.get(_BITS, (16,))[0] if image.format == "TIFF" else 16
        return 2**bits - 1
    # Pillow scales a PGM of any depth to 16 bits; older versions did so with 16-bit PNGs.
    return 2**16 - 1 if image.mode == "I" and image.format in ("PPM", "PNG") else None


def _too_large(path: str, error: Exception) -> BadImageError:
    found = re.search(r"\((\d+) pixels\)", str(error))
    pixels = f"{int(found[1]):,}" if found else "too many"
    return BadImageError(
        path,
        f"has {pixels} pixels, above the limit of {MOST_PIXELS:,} (a protection against small "
        "files that decode to enormous images)",
        "make it smaller, or remove it",
    )


def _unreadable(path: str, error: Exception) -> DataError:
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.ELOOP or (number == errno.ENOENT and os.path.islink(path)):
        return BadImageError(path, "broken link", "restore the file")
    if number is not None:
        return DataError(f"{path}: cannot be read ({os.strerror(number)}); restore the file")
    if isinstance(error, UnidentifiedImageError):
        reason = "not an image in a format that Pillow reads"
        return BadImageError(path, reason, "restore the file, or convert it to PNG")
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return BadImageError(path, f"damaged or incomplete image ({reason})", "restore the file")
