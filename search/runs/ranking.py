"""The trials of a running search in the order of the leaderboard, its best ones, and its counts and times."""

from __future__ import annotations

from bisect import insort
from collections import Counter

from results import RunState, TrialState
from results.record.events import TRIAL_ENDS
from results.record.trial_state import OPEN_STATUSES
from search.runs.confirmation import NO_CONFIRMATION, Confirmation
from search.runs.standings import candidate_key, has_rank, rank_key, standings_of


def ranked(state: RunState, by_mean: bool = False) -> list[TrialState]:
    """The ranked trials of one run, best first, by the leaderboard's rule on the live state and without pandas.

    With `by_mean` those of a layout and a recipe share a place and follow each other.
    """
    return [trial for standing in standings_of(state.trials.values(), by_mean) for trial in standing.trials]


class Leaders:
    """The `size` best finished trials of a run and those that may be confirmed, updated with each trial that ends.

    The order of finished trials changes only when some are trained on, so an update costs the same after ten trials as
    after thousands.
    """

    def __init__(self, state: RunState, size: int, confirmation: Confirmation = NO_CONFIRMATION) -> None:
        self.state, self.size, self.confirmation = state, size, confirmation
        self.trials: list[TrialState] = []
        """The best, best first. Of several that share a place it is the best one, and all until the place is full."""
        self.to_confirm: list[TrialState] = []
        """Those that would be confirmed if all trials had ended, best first."""
        self._look()

    def _look(self) -> None:
        ended = [trial for trial in self.state.trials.values() if trial.ended]
        standings = standings_of(ended, self.confirmation.by_mean)
        self.to_confirm = self.confirmation.candidates(self.state, standings)
        counts = Counter(map(candidate_key, ended)) if self.confirmation.by_mean else None
        full: list[TrialState] = []
        parts: list[TrialState] = []
        for (best, *others), *_ in standings:
            if counts is None or counts[candidate_key(best)] >= self.confirmation.trials_per_place:
                full.append(best)
            else:
                parts += [best, *others]
        self.trials = full[: self.size] + parts

    @property
    def kept(self) -> dict[int, TrialState]:
        """All of them by their numbers: the finished trials whose checkpoints are kept."""
        return {trial.trial: trial for trial in (*self.trials, *self.to_confirm)}

    def take(self, trial: TrialState) -> list[TrialState]:
        """Adds the finished `trial`; returns those of it and the earlier leaders that are no leaders now."""
        before = {trial.trial: trial} | self.kept
        if self.confirmation.by_mean:
            self._look()  # the mean of a place changes with each of its trials
        elif has_rank(trial):
            insort(self.trials, trial, key=rank_key)
            del self.trials[self.size :]
            if self.confirmation.places:
                near = {one.trial: one for one in (self.trials[0], *self.to_confirm, trial)}
                self.to_confirm = self.confirmation.candidates(self.state, standings_of(near.values()))
        return [before[number] for number in before.keys() - self.kept.keys()]


def status_counts(state: RunState) -> dict[str, int]:
    """How many trials have each status, in the order in which a trial may have them."""
    counts = Counter(trial.status for trial in state.trials.values())
    return {status: counts[status] for status in (*OPEN_STATUSES, *TRIAL_ENDS) if counts[status]}


def rung_counts(state: RunState, rungs: int) -> list[int]:
    """How many trials within the run's limits reached each of the `rungs` rungs."""
    inside = [trial for trial in state.trials.values() if trial.within_limits]
    return [sum(trial.rung >= rung for trial in inside) for rung in range(1, rungs + 1)]


def training_time_s(state: RunState) -> float:
    """Seconds of training and validation of all trials."""
    return sum(trial.train_time_s + trial.eval_time_s for trial in state.trials.values())


def session_training_time_s(state: RunState, session: int) -> float:
    """Seconds of training and validation reported in one session; reused results do not count."""
    reports = (report for of_trial in state.reports.values() for report in of_trial)
    return sum(r.train_time_s + r.eval_time_s for r in reports if r.session == session and r.reused is None)
