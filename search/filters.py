"""Conditions on a layout beside its parameters: windows over a figure of the layout."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from search.batch import Column, LayoutBatch

if TYPE_CHECKING:
    from search.space import SearchSpace


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


def filters_of(space: SearchSpace) -> tuple[Filter, ...]:
    """The windows of `space` beside its parameter window that are not open on both sides."""
    size = space.image_size
    windows = (
        Filter("depth", space.min_depth, space.max_depth, lambda batch: batch.depth),
        Filter("flops", space.min_flops, space.max_flops, lambda batch: batch.flops(size)),
        Filter(
            "activation_bytes",
            space.min_activation_bytes,
            space.max_activation_bytes,
            lambda batch: batch.activation_bytes(size),
        ),
    )
    return tuple(window for window in windows if window.least > 0 or window.most is not None)
