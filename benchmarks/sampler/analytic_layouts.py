"""An accuracy-like function of layouts that costs nothing to evaluate and whose optimum is known by enumeration."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def analytic_accuracy(blocks: NDArray[Any], channels: NDArray[Any], params: NDArray[Any]) -> Floats:
    """The accuracy of layouts that all have S stages, in [0, 1], (N,); `blocks` and `channels` are (N, S).

    No term depends on a single dimension: the best number of blocks of a stage depends on its width, its best width on
    the stage before, and the best total depth on the last width. A ripple over the depth makes local optima. The
    weights are set by hand to the spread that the literature reports for layouts under one budget, a point or two.
    """
    depth = np.log2(blocks.astype(np.float64))
    width = np.log2(channels.astype(np.float64))
    wanted = np.log2(1 + 6 * np.exp(-(((width - 6.5) / 1.25) ** 2)))
    stage = ((depth - wanted) ** 2).mean(axis=1)
    growth = ((np.diff(width, axis=1) - 1) ** 2).mean(axis=1)
    total = blocks.sum(axis=1)
    balance = (np.log2(total) + width[:, -1] - 11.5) ** 2
    early = np.maximum(0, depth[:, 0] - depth[:, 1:].max(axis=1)) * np.maximum(0, width[:, 0] - 5)
    ripple = 1 - np.cos(2 * np.pi * total / 5)
    size = np.log2(params / 5e6)
    accuracy: Floats = (
        0.96
        - 0.003 * stage
        - 0.004 * growth
        - 0.003 * balance
        - 0.002 * early
        - 0.0005 * ripple
        + 0.004 * size
        - 0.001 * abs(blocks.shape[1] - 4)
    )
    return np.clip(accuracy, 0, 1)
