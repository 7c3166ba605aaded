"""How sure an accuracy is: its 95% interval, and whether two networks differ by more than noise."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final

QUANTILE: Final = 1.959963984540054
"""The 97.5% quantile of the standard normal distribution: intervals cover 95%."""

INTERVALS: Final = "± is half of the 95% interval, in points."
"""What a column with intervals means, in words."""

SIGNIFICANCE: Final = 0.05
"""Two networks differ if their answers would differ as much by chance with less than this probability."""


@lru_cache(maxsize=4096)  # a leaderboard has few different accuracies
def wilson_interval(accuracy: float, images: int) -> tuple[float, float]:
    """The 95% interval, in [0, 1], of an accuracy measured on `images` images.

    Source: Wilson, Probable Inference, the Law of Succession, and Statistical Inference, JASA 22, 1927.

    Raises:
        ValueError: there are no images, or the accuracy is outside [0, 1].
    """
    if images < 1 or not 0 <= accuracy <= 1:
        raise ValueError(f"an accuracy of {accuracy} on {images} images has no interval; use [0, 1] and at least 1")
    spread = QUANTILE**2 / images
    centre = (accuracy + spread / 2) / (1 + spread)
    half = math.sqrt(accuracy * (1 - accuracy) * spread + spread**2 / 4) / (1 + spread)
    return max(0.0, centre - half), min(1.0, centre + half)


def interval_text(accuracy: float, images: int | None) -> str:
    """An accuracy with its 95% interval, `95.83% [92.1, 97.8]`; without the interval if the images are unknown."""
    if not images or math.isnan(accuracy):
        return f"{accuracy:.2%}"
    low, high = wilson_interval(accuracy, images)
    return f"{accuracy:.2%} [{100 * low:.1f}, {100 * high:.1f}]"


def mcnemar_p(only_first: int, only_second: int) -> float:
    """The probability, if two networks are equally good, that their answers differ at least as unevenly as they do.

    `only_first` images are classified correctly by the first network alone, `only_second` by the second alone. Exact
    and two-sided. Source: McNemar, Psychometrika 12, 1947.
    """
    differing = only_first + only_second
    term, tail = 1, 0
    for k in range(min(only_first, only_second) + 1):
        tail += term
        term = term * (differing - k) // (k + 1)
    return min(1.0, 2 * tail / (1 << differing))
