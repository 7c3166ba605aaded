"""Replays of a search: asynchronous halving over trials of random quality, to know how many epochs it may take."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from search.config.views import Ladder
from search.runs.rungs import AshaRungs

MOST_TRIALS: Final = 2_000
"""Trials of a replay; a longer search takes as much more."""

FEWEST_REPLAYS: Final = 20
MOST_REPLAYS: Final = 200
REPLAYED_TRIALS: Final = 40_000
"""Trials of all replays together (half a second)."""

NOISE: Final = 0.5
"""Standard deviation of a trial's value at one rung around its quality, in standard deviations of the qualities."""

LOW: Final = 0.1
HIGH: Final = 0.9
"""The quantiles of the replays that a range has as its ends."""


@dataclass(frozen=True, slots=True)
class Amount:
    """A figure of the replays: its median, and the range in which eight of ten replays are."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> Amount:
        """The amount of the replays' `values`."""
        low, median, high = np.quantile(values, (LOW, 0.5, HIGH)).tolist()
        return cls(median, low, high)

    def scaled(self, factor: float, more: float = 0.0) -> Amount:
        """The amount times `factor`, and `more` on top."""
        return Amount(self.median * factor + more, self.low * factor + more, self.high * factor + more)


@dataclass(frozen=True, slots=True)
class Replays:
    """What the replays of a search took."""

    epochs: Amount
    """Epochs of all trials together."""
    work: Amount
    """The same in epochs of the mean layout."""
    time: Amount
    """From the first start to the last end, in the time of an epoch of the mean layout."""


def replayed(
    ladder: Ladder,
    trials: int,
    at_a_time: int,
    costs: NDArray[np.float64],
    seed: int,
    *,
    start: float = 0.0,
    ended: int = 0,
    budget: int | None = None,
) -> Replays:
    """What `trials` trials take, of which `at_a_time` train at once, after `ended` ones that have filled the rungs.

    An epoch of a trial takes one of `costs`, drawn at random, whose mean is about 1, and its process takes `start`
    more. `budget` is the most epochs of the search.
    """
    simulated, filled = min(trials, MOST_TRIALS), min(ended, MOST_TRIALS)
    generator = np.random.default_rng(seed)
    number = min(MOST_REPLAYS, max(FEWEST_REPLAYS, REPLAYED_TRIALS // max(1, simulated + filled)))
    rows = [_replay(ladder, simulated, at_a_time, costs, generator, start, filled) for _ in range(number)]
    epochs, work, time = np.array(rows).T * (trials / max(1, simulated))
    if budget is not None:
        share = np.minimum(1.0, budget / np.maximum(epochs, 1.0))
        epochs, work, time = epochs * share, work * share, time * share
    return Replays(Amount.of(epochs), Amount.of(work), Amount.of(time))


def _replay(
    ladder: Ladder,
    trials: int,
    at_a_time: int,
    costs: NDArray[np.float64],
    generator: np.random.Generator,
    start: float,
    ended: int,
) -> tuple[float, float, float]:
    """Epochs, work and time of one replay."""
    rungs = AshaRungs(ladder)
    quality = generator.normal(size=(ended + trials, 1))
    values = (quality + NOISE * generator.normal(size=(ended + trials, len(ladder.rungs)))).tolist()
    cost = generator.choice(costs, size=ended + trials).tolist()
    for trial in range(ended):
        for place, epoch in enumerate(ladder.rungs):
            if not rungs.goes_on(trial, epoch, values[trial][place]):
                break
    lengths = np.diff(ladder.rungs, prepend=0).tolist()
    epochs, work, time, waiting = 0, 0.0, 0.0, ended
    running: list[tuple[float, int, int]] = []  # when a trial reaches its next rung, its number, the rung's place
    while running or waiting < ended + trials:
        while len(running) < at_a_time and waiting < ended + trials:
            heapq.heappush(running, (time + start + lengths[0] * cost[waiting], waiting, 0))
            waiting += 1
        time, trial, place = heapq.heappop(running)
        epochs, work = epochs + lengths[place], work + lengths[place] * cost[trial]
        if rungs.goes_on(trial, ladder.rungs[place], values[trial][place]):
            heapq.heappush(running, (time + lengths[place + 1] * cost[trial], trial, place + 1))
    return epochs, work, time
