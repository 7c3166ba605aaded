"""Windows on figures of a layout other than its parameters: depth, FLOPs and activation memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from search.layouts.batch import Column, LayoutBatch


class Filter(NamedTuple):
    """A window on one figure of a layout."""

    name: str
    """depth, flops or activation_bytes."""
    least: int
    """Lowest value, inclusive."""
    most: int | None
    """Highest value, inclusive; None for no limit."""
    figure: Callable[[LayoutBatch], Column]
    """The figure of every layout of a batch, (N,)."""

    def accepts(self, batch: LayoutBatch) -> NDArray[np.bool_]:
        """Which layouts of `batch` are inside the window, (N,)."""
        values = self.figure(batch)
        inside: NDArray[np.bool_] = values >= self.least
        return inside if self.most is None else inside & (values <= self.most)
