"""How far a search is: the epochs that are still to be trained, the time they take, and what a start waits for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from results import RunState
from search.config.views import Budgets, Ladder

PACE_EPOCHS = 2
"""Epochs per slot after which a session's pace is known; before that the time left would be a guess."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """What is still to be trained, on average."""

    epochs: float
    """Epochs of all trials that have not ended."""
    longest: float
    """Epochs of the trial that has the most left, which only one slot can train."""


def expected(state: RunState, ladder: Ladder, budgets: Budgets) -> Expectation:
    """What is left of a search that ends after `budgets.trials` trials or `budgets.epochs` epochs."""
    trials = state.trials.values()
    at_work = [trial.epochs for trial in trials if not trial.ended]
    coming, epochs, before = float(max(0, budgets.trials - len(trials))), 0.0, 0
    starts = [*at_work, *([0] if coming else [])]
    shares = []
    for rung in ladder.rungs:
        inside = [trained for trained in at_work if before <= trained < rung]
        epochs += coming * (rung - before) + sum(rung - trained for trained in inside)
        arriving = coming + len(inside)
        coming = ladder.passing(sum(trial.epochs >= rung for trial in trials), arriving)
        shares.append(coming / arriving if arriving else 0.0)
        before = rung
    longest = max((_left(trained, ladder, shares) for trained in starts), default=0.0)
    if budgets.epochs is not None:
        within = float(max(0, budgets.epochs - state.epochs))
        epochs, longest = min(epochs, within), min(longest, within)
    return Expectation(epochs, longest)


def _left(epochs: int, ladder: Ladder, shares: Sequence[float]) -> float:
    """Epochs that a trial still trains after `epochs` epochs on average if these `shares` pass the rungs."""
    left, alive = 0.0, 1.0
    for rung, share in zip(ladder.rungs, shares, strict=True):
        if rung > epochs:
            left, epochs, alive = left + alive * (rung - epochs), rung, alive * share
    return left


class Pace:
    """How fast a session trains, measured from the start of its first epoch."""

    def __init__(self, state: RunState, concurrency: int) -> None:
        """`state` is the one with which the session starts."""
        self._before, self._slots = state.epochs, concurrency
        self._began_s: float | None = None

    def left_s(self, state: RunState, left: Expectation, now_s: float) -> float | None:
        """Seconds that `left` takes from the Unix time `now_s` on; None while too few epochs have been trained."""
        trained = state.epochs - self._before
        if trained < PACE_EPOCHS * self._slots:
            return None
        if self._began_s is None:
            self._began_s = training_began_s(state, max(state.sessions))
        if self._began_s is None:
            return None
        epoch_s = max(0.0, now_s - self._began_s) / trained
        return epoch_s * max(left.epochs, left.longest * self._slots)


def training_began_s(state: RunState, session: int) -> float | None:
    """The Unix time at which the session's first reported epoch began; None if it has reported none."""
    reports = (report for of_trial in state.reports.values() for report in of_trial)
    ours = (report for report in reports if report.session == session and report.reused is None)
    return min((report.time_s - report.train_time_s - report.eval_time_s for report in ours), default=None)


def awaited(state: RunState, epochs: int) -> str | None:
    """What a session that started after `epochs` epochs of its run waits for until its first epoch ends, then None."""
    if state.epochs > epochs or all(trial.ended for trial in state.trials.values()):
        return None
    begun = any(trial.status == "running" for trial in state.trials.values())
    return "the first epoch" if begun else "the workers to import torch"
