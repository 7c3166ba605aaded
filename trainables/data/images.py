"""Decodes an image file to an array of bytes of a given shape."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from trainables.data.stored_arrays import Images


def is_grayscale(paths: Iterable[Path]) -> bool:
    """Return whether every readable image is grayscale according to its header."""
    from PIL import Image

    for path in paths:
        try:
            with Image.open(path) as image:
                if image.mode not in {"1", "L", "I;16", "I;16B", "I;16L"}:
                    return False
        except (OSError, ValueError, SyntaxError):
            continue  # reported and counted when the folder is decoded
    return True


def decode(path: Path, shape: tuple[int, int, int]) -> Images:
    """Return the image turned upright, cropped to its centre and resized to `shape` (H, W, C).

    Resizing is bilinear with antialiasing; 16-bit grayscale keeps its upper 8 bits. Raises what Pillow raises (OSError,
    ValueError or SyntaxError) for a file that is not a complete image.
    """
    from PIL import Image, ImageOps

    height, width, channels = shape
    with Image.open(path) as opened:
        image: Image.Image = ImageOps.exif_transpose(opened)
        if image.mode.startswith("I;16"):
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        elif image.mode == "P" and "transparency" in image.info:
            image = image.convert("RGBA")  # Pillow warns if a transparent palette is converted directly to RGB
        image = image.convert("L" if channels == 1 else "RGB")
        # Cropping the largest centred square before resizing shows the same and is less work for elongated images.
        fitted = ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR)
    return np.asarray(fitted).reshape(shape)
