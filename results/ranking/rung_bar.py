"""The value that a trial has to reach at a rung to be trained further."""

from __future__ import annotations

from collections.abc import Sequence


def bar(before: Sequence[float], reduction_factor: int) -> float:
    """The least value that passes a rung which trials with the values `before`, ascending, have reached earlier.

    It is their 1 - 1/`reduction_factor` quantile by linear interpolation, equal to NumPy's to the last bit.
    """
    place = (1 - 1 / reduction_factor) * (len(before) - 1)
    low = int(place)
    share = place - low
    lower, upper = before[low], before[min(low + 1, len(before) - 1)]
    return lower + (upper - lower) * share if share < 0.5 else upper - (upper - lower) * (1 - share)
