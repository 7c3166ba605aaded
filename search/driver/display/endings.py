"""The trials that end while a search is shown, in the order of their ends, and the best one so far."""

from __future__ import annotations

import itertools

from results import RunState, TrialState
from search.runs.ranking import Leaders
from search.runs.standings import has_rank, rank_key


class Endings:
    """Finds what is new in a state that grows; an update costs the same after ten trials as after thousands."""

    def __init__(self, state: RunState) -> None:
        """Counts the finished trials of `state` as already shown."""
        self._begin(state)

    def _begin(self, state: RunState) -> None:
        self._open = {trial.trial: trial for trial in state.trials.values() if not trial.ended}
        self._seen = len(state.trials)
        self._confirmed, self._leaders = state.confirmed, Leaders(state, 1)
        self._finished = self._seen - len(self._open)

    def take(self, state: RunState) -> list[tuple[int, TrialState]]:
        """The trials that have ended since the last call, in the order of their ends, each with its number in it."""
        self._open |= {trial.trial: trial for trial in itertools.islice(state.trials.values(), self._seen, None)}
        self._seen = len(state.trials)
        ended = sorted((trial for trial in self._open.values() if trial.ended), key=lambda trial: trial.ended_s or 0.0)
        for trial in ended:
            del self._open[trial.trial]
            self._leaders.take(trial)
        numbered = list(enumerate(ended, start=self._finished + 1))
        self._finished += len(ended)
        if state.confirmed != self._confirmed:
            self._begin(state)  # trials that had ended are trained on
        return numbered

    @property
    def best(self) -> TrialState | None:
        """The best trial of the last state by the leaderboard's rule; None if none has a rank."""
        at_rungs = [trial for trial in self._open.values() if has_rank(trial)]
        return min([*self._leaders.trials, *at_rungs], key=rank_key, default=None)
