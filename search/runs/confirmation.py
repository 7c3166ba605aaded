"""Which trials that were stopped early are trained to the end: those that noise may hide behind the best one."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from results import RunState, TrialState
from results.ranking.intervals import wilson_interval
from search.runs.standings import Standing, standings_of


@dataclass(frozen=True, slots=True)
class Confirmation:
    """The rule by which a run confirms trials."""

    places: int
    """Places of the ranking that are confirmed each time that all trials have ended."""
    images: int | None
    """Validation images of a trial; None in runs of versions that did not store it, which confirm none."""
    trials_per_place: int = 1
    """Trials that share a place: the replicates, if they are ranked by their mean over validation splits."""

    @property
    def by_mean(self) -> bool:
        """Whether places are means over several trials."""
        return self.trials_per_place > 1

    @property
    def trials(self) -> int:
        """The most trials that are confirmed each time that all trials have ended."""
        return self.places * self.trials_per_place

    def next_ones(self, state: RunState) -> list[TrialState]:
        """The trials to confirm now that all in `state` have ended."""
        return self.candidates(state, standings_of(state.trials.values(), self.by_mean))

    def candidates(self, state: RunState, standings: Iterable[Standing]) -> list[TrialState]:
        """The trials to confirm if all in `standings`, best first, had ended; those of the best may be among them.

        They were stopped early, and the 95% intervals of their place's accuracy and of the best one's overlap.
        """
        near: list[TrialState] = []
        least: float | None = None
        for standing in standings if self.images else ():
            accuracy = standing.accuracy
            if len(near) >= self.trials - state.confirmed or accuracy is None or math.isnan(accuracy):
                break
            low, high = wilson_interval(accuracy, (self.images or 0) * standing.seeds)
            least = low if least is None else least
            if high < least:
                break
            near += [trial for trial in standing.trials if can_continue(state, trial)]
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
