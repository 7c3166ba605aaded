"""Asynchronous successive halving over a fixed ladder of rungs, and its adapter to Ray Tune.

Stock ASHA keeps its rungs in memory only, so a resumed search compares with nothing. These rungs are those of the
learning-rate schedule and are refilled from the record. Decisions are those of the stock scheduler on every ladder:
it finds the number of rungs by a rounded logarithm, but what that loses is the last rung, which stops everyone.
Source: Li et al., arXiv 1810.05934.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Sequence

from results import RunState
from search.config.views import Ladder


class AshaRungs:
    """The values trials reached at each rung, and who goes on."""

    def __init__(self, ladder: Ladder) -> None:
        self.rungs, self.reduction_factor = ladder.rungs, ladder.reduction_factor
        self.values: dict[int, dict[int, float]] = {epochs: {} for epochs in self.rungs}
        """Value by trial, by the rung's epochs."""
        # A sorted list and the answers given: 0.12 ms a decision among 100 trials had become 1 ms among 5,000.
        self._ascending: dict[int, list[float]] = {epochs: [] for epochs in self.rungs}
        self._went_on: dict[int, dict[int, bool]] = {epochs: {} for epochs in self.rungs}

    def goes_on(self, trial: int, epoch: int, value: float) -> bool:
        """Records `value` of `trial` after `epoch` epochs; False when the trial should stop here.

        At a rung a trial goes on unless it is below the 1 - 1/factor quantile of those that came before it; asked
        again, the answer is the first one. The last rung is the full budget and stops everyone.
        """
        if epoch not in self.values:
            return epoch < self.rungs[-1]
        if trial not in self._went_on[epoch]:
            before = self._ascending[epoch]
            passes = not before or value >= quantile(before, 1 - 1 / self.reduction_factor)
            self.values[epoch][trial] = value
            self._went_on[epoch][trial] = passes and epoch != self.rungs[-1]
            if not math.isnan(value):  # compares with nothing; the stock scheduler leaves it out as well
                insort(before, value)
        return self._went_on[epoch][trial]

    def replay(self, state: RunState) -> dict[int, bool]:
        """Refills the rungs from a record, in its order; gives for each trial whether it went on at its last rung.

        Trials outside the run's present limits are compared with nobody.
        """
        at_rungs = [
            (report.time_s, number, report.epoch, report.val_accuracy)
            for number, trial in state.trials.items()
            if trial.within_limits
            for report in state.rung_reports(number)
        ]
        return {trial: self.goes_on(trial, epoch, value) for _, trial, epoch, value in sorted(at_rungs)}


def quantile(ascending: Sequence[float], q: float) -> float:
    """The `q` quantile of numbers in ascending order, interpolated linearly as NumPy does, to the last bit."""
    place = q * (len(ascending) - 1)
    low = int(place)
    share = place - low
    lower, upper = ascending[low], ascending[min(low + 1, len(ascending) - 1)]
    return lower + (upper - lower) * share if share < 0.5 else upper - (upper - lower) * (1 - share)
