"""Progressive resizing: the sizes of the images over a training, in closed form.

Source: the idea is that of fast.ai (Howard, 2018) and of EfficientNetV2, arXiv 2104.00298; the steps are ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Final

Size = tuple[int, int]
"""Height and width in pixels."""

MULTIPLE: Final = 4
"""Sides between the first and the full one are multiples of this, so that two strides of 2 divide them."""
MOST_SMALL: Final = 4
"""Most sizes below the full one: kernels are chosen and blocks compiled once per size."""


def sizes_of_training(first: int, share: float, full: Size) -> tuple[tuple[Size, float], ...]:
    """The sizes of a training's images, from the smallest to `full`, each with its share of the steps.

    `first` is the shorter side of the smallest, below that of `full`; 0 stands for `full` alone. `share` of the steps
    are divided evenly among the sizes below `full`, all of which keep its aspect ratio up to whole pixels.
    """
    if not first:
        return ((full, 1.0),)
    shorter = min(full)
    sides = [first, *range(first // MULTIPLE * MULTIPLE + MULTIPLE, shorter, MULTIPLE)]
    count = min(MOST_SMALL, len(sides))
    sides = [sides[i * len(sides) // count] for i in range(count)]
    small = [(_scaled(full[0], side, shorter), _scaled(full[1], side, shorter)) for side in sides]
    return (*((size, share / count) for size in small), (full, 1 - share))


def size_at(sizes: Sequence[tuple[Size, float]], progress: float) -> Size:
    """The size after `progress` in [0, 1) of a training that takes `sizes` in turn, each for its share of the steps."""
    ends = accumulate(share for _, share in sizes[:-1])
    return next((size for (size, _), end in zip(sizes, ends, strict=False) if progress < end), sizes[-1][0])


def _scaled(length: int, side: int, shorter: int) -> int:
    return round(length * side / shorter)
