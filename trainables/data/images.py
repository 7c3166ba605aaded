"""One image file to one square array of bytes."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from trainables.data.stored_arrays import Images


def is_grayscale(paths: Iterable[Path]) -> bool:
    """Return whether every readable image is grayscale, told from the headers alone."""
    from PIL import Image

    for path in paths:
        try:
            with Image.open(path) as image:
                if image.mode not in {"1", "L", "I;16", "I;16B", "I;16L"}:
                    return False
        except (OSError, ValueError, SyntaxError):
            continue  # named and counted when the folder is decoded
    return True


def decode(path: Path, shape: tuple[int, int, int]) -> Images:
    """Return the image upright, its shorter side resized to that of `shape` (H, W, C) and its centre cropped.

    Bilinear with antialiasing; 16-bit grayscale keeps its upper 8 bits. Raises OSError, ValueError or SyntaxError,
    which is what Pillow raises, for a file that is not a whole image.
    """
    from PIL import Image, ImageOps

    height, width, channels = shape
    with Image.open(path) as opened:
        image: Image.Image = ImageOps.exif_transpose(opened)
        if image.mode.startswith("I;16"):
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        elif image.mode == "P" and "transparency" in image.info:
            image = image.convert("RGBA")  # Pillow warns when a transparent palette goes to RGB at once
        image = image.convert("L" if channels == 1 else "RGB")
        # The largest centred square, then resized: the same view as resizing first, at less work for long pictures.
        fitted = ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR)
    return np.asarray(fitted).reshape(shape)
