"""Colour jitter: random changes of brightness, contrast, saturation and hue, for each image in an order of its own."""

from __future__ import annotations

from typing import Final

import numpy as np

from trainables.augmentation.policies import OPERATIONS, Drawn
from trainables.recipe import Recipe

JITTERS: Final = {
    "jitter_brightness": "Brightness",
    "jitter_contrast": "Contrast",
    "jitter_saturation": "Color",
    "jitter_hue": "Hue",
}
"""The fields of a recipe with the operations that they strengthen."""


def draw_jitter(recipe: Recipe, batch: int, draw: np.random.Generator) -> list[Drawn]:
    """The operations of a batch, in turn; none, and no draw, if the recipe does not jitter colours.

    Each image has all operations of the recipe. A factor is uniform within the strength around 1, but at least 0.
    Source: torchvision's ColorJitter.
    """
    strengths = {name: getattr(recipe, field) for field, name in JITTERS.items() if getattr(recipe, field)}
    if not strengths:
        return []
    strongest = np.array(list(strengths.values()))
    weakest = np.array([-most if name == "Hue" else max(-1.0, -most) for name, most in strengths.items()])
    magnitudes = weakest + (strongest - weakest) * draw.random((batch, len(strengths)))
    order = draw.random((batch, len(strengths))).argsort(1)
    operations = np.array([OPERATIONS.index(name) for name in strengths])[order]
    return [Drawn(*step) for step in zip(operations.T, np.take_along_axis(magnitudes, order, 1).T, strict=True)]
