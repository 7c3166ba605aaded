"""Conditions on a layout beside its parameters: windows over a figure of the layout."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from search.layouts.batch import Column, LayoutBatch


class Filter(NamedTuple):
    """A window over one figure of a layout."""

    name: str
    """depth, flops or activation_bytes."""
    least: int
    """Lowest value, inclusive."""
    most: int | None
    """Highest value, inclusive; None is no limit."""
    figure: Callable[[LayoutBatch], Column]
    """The figure of every layout of a batch, (N,)."""

    def accepts(self, batch: LayoutBatch) -> NDArray[np.bool_]:
        """Which layouts of `batch` lie in the window, (N,)."""
        values = self.figure(batch)
        inside: NDArray[np.bool_] = values >= self.least
        return inside if self.most is None else inside & (values <= self.most)
