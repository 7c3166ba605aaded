"""Four layouts whose learning curves are short enough to follow by hand."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.early_stopping.curves import SETUPS
from benchmarks.early_stopping.replays import Pool
from trainables.recipe import Schedule

HAND = {0: [0.1, 0.2, 0.3, 0.5], 1: [0.2, 0.1, 0.3, 0.9], 2: [0.3, 0.4, 0.5, 0.6], 3: [0.0, 0.1, 0.2, 0.7]}
"""Four layouts, four epochs; rungs at 1, 2 and 4 with factor 2 compare with the median."""

HAND_SETUP = replace(SETUPS["digits"], rungs=(1, 2, 4), reduction_factor=2)


def hand_pool() -> Pool:
    """The curves of `HAND` as rung-annealed ones, and reversed layouts as cosine ones."""
    reversed_layouts = dict(zip(HAND, reversed(HAND.values()), strict=True))
    held_out: dict[Schedule, dict[int, float]] = {
        "rung-annealed": {0: 0.4, 1: 0.8, 2: 0.6, 3: 0.6},
        "cosine": {0: 0.6, 1: 0.6, 2: 0.8, 3: 0.4},
    }
    return Pool({"rung-annealed": HAND, "cosine": reversed_layouts}, held_out)


def shifted(pool: Pool, by: int) -> Pool:
    """The pool with other numbers of layouts."""
    curves = {s: {number + by: curve for number, curve in of.items()} for s, of in pool.curves.items()}
    return Pool(curves, {s: {number + by: value for number, value in of.items()} for s, of in pool.held_out.items()})
