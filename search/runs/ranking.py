"""The trials of a running search in the order of the leaderboard, its best ones, and its counts and times."""

from __future__ import annotations

from bisect import insort
from collections import Counter
from typing import Any

from results import RunState, TrialState
from results.ranking.ranking_rule import is_ranked, rule_key
from results.record.events import TRIAL_ENDS
from results.record.trial_state import OPEN_STATUSES
from search.runs.confirmation import NO_CONFIRMATION, Confirmation


def ranked(state: RunState) -> list[TrialState]:
    """The ranked trials of one run, best first, by the leaderboard's rule on the live state and without pandas."""
    return sorted((trial for trial in state.trials.values() if has_rank(trial)), key=rank_key)


def has_rank(trial: TrialState) -> bool:
    """Whether the trial is within its run's limits, reached a rung and did not fail."""
    return trial.within_limits and is_ranked(trial.status, trial.rung)


def rank_key(trial: TrialState) -> tuple[Any, ...]:
    """The sort key of a ranked trial among those of its run; smaller is better."""
    return rule_key(trial.val_accuracy, trial.val_loss, trial.params), trial.trial


class Leaders:
    """The `size` best finished trials of a run and those that may be confirmed, updated with each trial that ends.

    The order of finished trials changes only when some are trained on, so an update costs the same after ten trials as
    after thousands.
    """

    def __init__(self, state: RunState, size: int, confirmation: Confirmation = NO_CONFIRMATION) -> None:
        self.state, self.size, self.confirmation = state, size, confirmation
        finished = [trial for trial in ranked(state) if trial.ended]
        self.trials = finished[:size]
        """The best, best first."""
        self.to_confirm = confirmation.candidates(state, finished)
        """Those that would be confirmed if all trials had ended, best first."""

    @property
    def kept(self) -> dict[int, TrialState]:
        """All of them by their numbers: the finished trials whose checkpoints are kept."""
        return {trial.trial: trial for trial in (*self.trials, *self.to_confirm)}

    def take(self, trial: TrialState) -> list[TrialState]:
        """Adds the finished `trial`; returns those of it and the earlier leaders that are no leaders now."""
        if not has_rank(trial):
            return [trial]
        before = {trial.trial: trial} | self.kept
        insort(self.trials, trial, key=rank_key)
        del self.trials[self.size :]
        near = {one.trial: one for one in (self.trials[0], *self.to_confirm, trial)}
        self.to_confirm = self.confirmation.candidates(self.state, sorted(near.values(), key=rank_key))
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
