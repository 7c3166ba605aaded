"""Image folders of six drawn shapes at random places, with noise: small data that a small network learns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

SIDE = 40
SHAPES = ("bar", "circle", "cross", "ring", "square", "triangle")


def write_shapes(folder: Path, per_class: int, seed: int = 0) -> None:
    """Write `per_class` images of each shape into a class folder of its name."""
    draw = np.random.default_rng(seed)
    for name in SHAPES:
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i in range(per_class):
            shape = np.asarray(_drawn(name, draw), dtype=float) / 255
            noisy = shape * draw.integers(120, 220) + 40 + draw.normal(0, 30, shape.shape)
            Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / name / f"{i:04}.png")


def _drawn(name: str, draw: np.random.Generator) -> Image.Image:
    image = Image.new("L", (SIDE, SIDE))
    pen = ImageDraw.Draw(image)
    r = int(draw.integers(SIDE // 6, SIDE // 4))
    x, y = (int(value) for value in draw.integers(r + 1, SIDE - r - 1, 2))
    box, thin = (x - r, y - r, x + r, y + r), max(1, r // 4)
    if name == "circle":
        pen.ellipse(box, fill=255)
    elif name == "ring":
        pen.ellipse(box, outline=255, width=max(2, r // 3))
    elif name == "square":
        pen.rectangle(box, fill=255)
    elif name == "triangle":
        pen.polygon([(x, y - r), (x - r, y + r), (x + r, y + r)], fill=255)
    else:
        pen.rectangle((x - thin, y - r, x + thin, y + r), fill=255)
        if name == "cross":
            pen.rectangle((x - r, y - thin, x + r, y + thin), fill=255)
    return image
