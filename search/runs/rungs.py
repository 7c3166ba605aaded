"""ASHA (asynchronous successive halving) over a fixed ladder of rungs.

Ray's own ASHA keeps its rungs in memory only, so a resumed search would compare its trials with nothing. The rungs here
are those of the learning-rate schedule and are refilled from the record. Every decision is the same as Ray's: Ray
counts rungs by a rounded logarithm and may lose the last one, but that one stops every trial in any case.
Source: Li et al., arXiv 1810.05934.
"""

from __future__ import annotations

import math
from bisect import insort

from results import RunState
from results.ranking.rung_bar import bar
from search.config.views import Ladder


class AshaRungs:
    """The values that trials reached at each rung, and the decision on each trial there."""

    def __init__(self, ladder: Ladder) -> None:
        self.rungs, self.reduction_factor = ladder.rungs, ladder.reduction_factor
        self.values: dict[int, dict[int, float]] = {epochs: {} for epochs in self.rungs}
        """For each rung, by its epochs, the value of each trial."""
        # Sorted values and past answers: without them a decision took 0.12 ms with 100 trials and 1 ms with 5,000.
        self._ascending: dict[int, list[float]] = {epochs: [] for epochs in self.rungs}
        self._went_on: dict[int, dict[int, bool]] = {epochs: {} for epochs in self.rungs}
        self._confirmed: dict[int, int] = {}

    def goes_on(self, trial: int, epoch: int, value: float) -> bool:
        """Records `value` of `trial` after `epoch` epochs and returns whether the trial continues.

        At a rung, a trial continues unless it is below the 1 - 1/factor quantile of those that reached it earlier; a
        second call for the same rung repeats the first answer. The last rung is the full budget and stops every trial;
        before it, a confirmed trial always continues.
        """
        if epoch not in self.values:
            return epoch < self.rungs[-1]
        if trial not in self._went_on[epoch]:
            before = self._ascending[epoch]
            passes = not before or value >= bar(before, self.reduction_factor)
            self.values[epoch][trial] = value
            self._went_on[epoch][trial] = passes and epoch != self.rungs[-1]
            if not math.isnan(value):  # NaN has no order; Ray's own scheduler leaves it out as well
                insort(before, value)
        return self._went_on[epoch][trial] or epoch < min(self._confirmed.get(trial, 0), self.rungs[-1])

    def confirm(self, trial: int, epochs: int) -> None:
        """Lets `trial` continue at every rung before `epochs`, whatever its values."""
        self._confirmed[trial] = epochs

    def replay(self, state: RunState) -> dict[int, bool]:
        """Refills the rungs from a record, in its order; returns for each trial whether its last rung promoted it.

        Trials outside the run's present limits are left out.
        """
        self._confirmed = {n: trial.confirmed_epochs or 0 for n, trial in state.trials.items() if trial.confirmed}
        at_rungs = [
            (report.time_s, number, report.epoch, report.val_accuracy)
            for number, trial in state.trials.items()
            if trial.within_limits
            for report in state.rung_reports(number)
        ]
        return {trial: self.goes_on(trial, epoch, value) for _, trial, epoch, value in sorted(at_rungs)}
