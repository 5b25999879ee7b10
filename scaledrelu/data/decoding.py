"""One image file to 8-bit RGB: what is scaled, what is refused, and what a bad image is."""

from __future__ import annotations

import errno
import os
import re
import warnings

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from scaledrelu.errors import DataError, printable

# Above it Pillow refuses to open a file: one of some kilobytes could fill the memory.
MOST_PIXELS = 2 * (Image.MAX_IMAGE_PIXELS or 89_478_485)
_MIN_IS_WHITE = 0  # of a TIFF's PhotometricInterpretation
_SIGNED = 2  # of a TIFF's SampleFormat
_BITS, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339  # tags of a TIFF


class BadImageError(DataError):
    """A file that is not, or not all of, an image that can be used.

    Args:
        path: of the file.
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
        super().__init__(path, reason, remedy, otherwise)  # travels between processes like this
        self.path, self.reason, self.remedy = path, reason, remedy

    def __str__(self) -> str:
        path, reason, remedy, otherwise = self.args
        return printable(f"{path}: {reason}: {remedy}{otherwise}")


def decode(path: str) -> Image.Image:
    """Decode a file to RGB.

    Grey values of 12 or 16 bits are scaled by their depth, not cut off.

    Raises:
        BadImageError: if the bytes are not a whole image, too large a one, or grey values of
            unknown range.
        DataError: if the file cannot be read at all.
    """
    ImageFile.LOAD_TRUNCATED_IMAGES = False  # other libraries set it; the rest would come out grey
    try:
        with warnings.catch_warnings():
            # Of half its limit Pillow warns; such images are read as any other.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(path)
        with image:
            return _to_rgb(path, image)
    except (DataError, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        raise _too_large(path, error) from None
    except Exception as error:  # decoders meet broken bytes with errors of every kind
        raise _unreadable(path, error) from None


def _to_rgb(path: str, image: Image.Image) -> Image.Image:
    is_wide = image.mode == "F" or image.mode.startswith("I")
    if not is_wide and not _is_signed(image):
        return image.convert("RGB")
    top = _top_of_range(image) if is_wide else None
    if top is None:
        raise BadImageError(
            path,
            f"grey values of unknown range ({image.format}, mode {image.mode})",
            "convert it to 8 or 16 bits without sign",
        )
    values = np.asarray(image).astype(np.int32)
    if image.format == "TIFF" and image.tag_v2.get(_PHOTOMETRIC) == _MIN_IS_WHITE:
        values = top - values  # Pillow turns 8 bits round, but not 16
    grey = (values * 255 + top // 2) // top
    return Image.fromarray(grey.astype(np.uint8)).convert("RGB")


def _is_signed(image: Image.Image) -> bool:
    """Say whether a TIFF holds numbers below zero, which Pillow takes for large ones."""
    return image.format == "TIFF" and _SIGNED in image.tag_v2.get(_SAMPLE_FORMAT, ())


def _top_of_range(image: Image.Image) -> int | None:
    """Return the value that stands for white, None if the file does not say."""
    if image.mode.startswith("I;16"):
        bits = image.tag_v2.get(_BITS, (16,))[0] if image.format == "TIFF" else 16
        return 2**bits - 1
    # Pillow scales a PGM of any depth to 16 bits, and once read PNGs of 16 bits so.
    return 2**16 - 1 if image.mode == "I" and image.format in ("PPM", "PNG") else None


def _too_large(path: str, error: Exception) -> BadImageError:
    found = re.search(r"\((\d+) pixels\)", str(error))
    pixels = f"{int(found[1]):,}" if found else "too many"
    return BadImageError(
        path,
        f"image of {pixels} pixels, above the limit of {MOST_PIXELS:,} (a small file that decodes "
        "to an enormous image is refused)",
        "make it smaller or remove it",
    )


def _unreadable(path: str, error: Exception) -> DataError:
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.ELOOP or (number == errno.ENOENT and os.path.islink(path)):
        return BadImageError(path, "a link to a file that is not there", "restore the file")
    if number is not None:
        return DataError(f"{path}: cannot be read ({os.strerror(number)}): restore the file")
    if isinstance(error, UnidentifiedImageError):
        reason = "not a whole image (in no format that Pillow reads)"
        return BadImageError(path, reason, "restore the file or convert it to PNG")
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return BadImageError(path, f"not a whole image ({reason})", "restore the file")
