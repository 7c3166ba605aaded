"""Decodes an image file to an array of bytes of a given shape."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from trainables.data.file_names import shown
from trainables.data.stored_arrays import Images
from trainables.errors import DatasetError

if TYPE_CHECKING:
    from PIL import Image

GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "F"})
SIXTEEN_BITS = 65535
BYTE = 255


@dataclass(frozen=True)
class ImageFacts:
    """What the scale and the channels of a data set depend on in one of its images."""

    grey: bool
    brightest: float | None = None
    """The largest value of a grey image above 8 bits; None for other images."""
    whole_numbers: bool = True
    """Whether such an image holds integers."""


def is_grayscale(paths: Iterable[Path]) -> bool:
    """Return whether every readable image is grayscale according to its header."""
    from PIL import Image

    with quiet_pillow():
        for path in paths:
            try:
                with Image.open(path) as image:
                    if not _is_grey(image.mode):
                        return False
            except MemoryError:
                raise
            except Exception:
                continue  # reported and counted when the folder is decoded
    return True


def image_facts(path: Path) -> ImageFacts:
    """Return the facts of an image, from its header unless it is a grey image above 8 bits.

    Raises whatever Pillow raises for a file that it cannot read, and ValueError for values that no scale covers.
    """
    from PIL import Image

    with Image.open(path) as opened:
        if not _is_above_8_bits(opened.mode):
            return ImageFacts(_is_grey(opened.mode))
        values, _ = _grey_values(opened)
        return ImageFacts(True, float(values.max()), opened.mode != "F")


def common_grey_scale(facts: Iterable[ImageFacts]) -> float | None:
    """Return the value that becomes 255 in all grey images above 8 bits, or None if there are none.

    It is the largest number of the fewest bits that hold every image: 4,095 for values of 12 bits in files of 16. For
    images between 0 and 1 it is the next power of two. Raises DatasetError for images of both kinds.
    """
    deep = [fact for fact in facts if fact.brightest is not None]
    if not deep:
        return None
    whole = [fact.brightest or 0.0 for fact in deep if fact.whole_numbers]
    floats = [fact.brightest or 0.0 for fact in deep if not fact.whole_numbers]
    if whole and floats and max(floats) <= 1 < max(whole):
        raise DatasetError(
            f"grey images with values up to {max(whole):,.0f} and others with fractions up to {max(floats):g} have no "
            "common scale; convert them all to 8 or 16 bits"
        )
    brightest = max(whole + floats)
    if whole:
        return float((1 << max(8, math.ceil(brightest).bit_length())) - 1)
    if brightest > 1:
        return float((1 << math.ceil(brightest).bit_length()) - 1)
    return 2.0 ** math.ceil(math.log2(brightest)) if brightest > 0 else 1.0


def decode(path: Path, shape: tuple[int, int, int], grey_scale: float | None = None) -> Images:
    """Return the image turned upright, cropped to its centre and resized to `shape` (H, W, C).

    Resizing is bilinear with antialiasing. In grey images above 8 bits, `grey_scale` becomes 255, and brighter values
    too; without it that is the largest value of the file's type. Raises whatever Pillow raises (not only OSError) for a
    file that is not a complete image, and ValueError for values that no scale covers.
    """
    from PIL import Image, ImageOps

    height, width, channels = shape
    with Image.open(path) as opened:
        if _is_above_8_bits(opened.mode):
            values, limit = _grey_values(opened)
            scale = grey_scale or limit
            if not scale or (grey_scale is None and values.max() > scale):
                raise ValueError(f"grey values up to {values.max():g} without a scale; convert it to 8 or 16 bits")
            scaled = np.rint(np.minimum(values / scale, 1.0) * BYTE).astype(np.uint8)
            image: Image.Image = Image.fromarray(scaled)
        else:
            opened.load()
            image = _upright(opened)
        if image.mode == "P" and "transparency" in image.info:
            image = image.convert("RGBA")  # Pillow warns if a transparent palette is converted directly to RGB
        image = image.convert("L" if channels == 1 else "RGB")
        # Cropping the largest centred square before resizing shows the same and is less work for elongated images.
        fitted = ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR)
    return np.asarray(fitted).reshape(shape)


@contextlib.contextmanager
def quiet_pillow() -> Iterator[None]:
    """Silence the warnings about large images and odd metadata; enter it in one thread, around a pool of them."""
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        warnings.simplefilter("ignore", UserWarning)
        yield


def problem_of(error: Exception) -> str:
    """Return the words of an exception of Pillow on one line."""
    return shown(" ".join(str(error).split())) or type(error).__name__


def _is_above_8_bits(mode: str) -> bool:
    return mode == "F" or mode.startswith("I")


def _is_grey(mode: str) -> bool:
    return mode in GREY_MODES or _is_above_8_bits(mode)


def _grey_values(opened: Image.Image) -> tuple[npt.NDArray[np.float64], float | None]:
    """Return the values (H, W), turned upright, and the largest that the file's type can have, if that is known."""
    declared = _declared_maximum(opened)  # known only before the pixels are loaded
    opened.load()
    values = np.asarray(_upright(opened)).astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError("values that are NaN or infinite have no scale; replace them")
    if values.min() < 0:
        raise ValueError(f"negative values, down to {values.min():g}, have no scale; shift them to 0 and above")
    if declared is not None:  # Pillow has multiplied these up to 65535
        return np.rint(values * (declared / SIXTEEN_BITS)), float(declared)
    return values, None if opened.mode == "F" else float(SIXTEEN_BITS)


def _declared_maximum(opened: Image.Image) -> int | None:
    """Return the maximal value that a PGM file of more than 8 bits names in its header."""
    tiles: list[Any] = getattr(opened, "tile", None) or []
    if opened.format != "PPM" or opened.mode == "F" or not tiles or not isinstance(tiles[0][3], tuple):
        return None
    maximum = tiles[0][3][-1]
    return maximum if isinstance(maximum, int) and BYTE < maximum <= SIXTEEN_BITS else None


def _upright(image: Image.Image) -> Image.Image:
    """Return `image` turned as its EXIF says, or as it is if that cannot be read."""
    from PIL import ImageOps

    try:
        return ImageOps.exif_transpose(image)
    except MemoryError:
        raise
    except Exception:  # Pillow raises whatever the first wrong byte leads to
        return image
