"""Which trials that were stopped early are trained to the end: those that noise may hide behind the best one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from results import RunState, TrialState
from results.ranking.intervals import wilson_interval


@dataclass(frozen=True, slots=True)
class Confirmation:
    """The rule by which a run confirms trials."""

    trials: int
    """Trials that are confirmed each time that all trials have ended."""
    images: int | None
    """Validation images of the run; None in runs of versions that did not store it, which confirm none."""

    def candidates(self, state: RunState, best_first: Sequence[TrialState]) -> list[TrialState]:
        """The trials to confirm if `best_first`, those with a rank, had all ended; the best may be among them.

        They were stopped early, and the 95% intervals of their accuracies and of the best one's overlap.
        """
        if not self.images or not best_first:
            return []
        best = best_first[0].val_accuracy
        if best is None or math.isnan(best):
            return []
        least, _ = wilson_interval(best, self.images)
        near: list[TrialState] = []
        for trial in best_first:
            accuracy = trial.val_accuracy
            if len(near) >= self.trials - state.confirmed or accuracy is None or math.isnan(accuracy):
                break
            if wilson_interval(accuracy, self.images)[1] < least:
                break
            if can_continue(state, trial):
                near.append(trial)
        return near


NO_CONFIRMATION: Final = Confirmation(0, None)
"""Confirms no trial."""


def can_continue(state: RunState, trial: TrialState) -> bool:
    """Whether the trial, which has a rank, was stopped by a rung and not by the patience of its recipe."""
    if trial.status != "stopped":
        return False
    patience = trial.settings.get("patience_epochs") or 0
    accuracies = [report.val_accuracy for report in state.reports[trial.trial]]
    return not 0 < patience < len(accuracies) - accuracies.index(max(accuracies))
