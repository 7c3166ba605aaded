"""The places of a run's ranking: its trials, or the means over the trials that share a layout and a recipe."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import fmean
from typing import Any, NamedTuple

from results import TrialState
from results.ranking.ranking_rule import is_ranked, rule_key


class Standing(NamedTuple):
    """A place of the ranking."""

    trials: tuple[TrialState, ...]
    """The trials that share it: those at its last rung before the others, each part best first."""
    accuracy: float | None
    """Validation accuracy in [0, 1], a mean over the trials that reached its last rung."""
    seeds: int
    """The trials that reached its last rung."""


def has_rank(trial: TrialState) -> bool:
    """Whether the trial is within its run's limits, reached a rung and did not fail."""
    return trial.within_limits and is_ranked(trial.status, trial.rung)


def rank_key(trial: TrialState) -> tuple[Any, ...]:
    """The sort key of a ranked trial among those of its run; smaller is better."""
    return rule_key(trial.val_accuracy, trial.val_loss, trial.params), trial.trial


def standings_of(trials: Iterable[TrialState], by_mean: bool = False) -> list[Standing]:
    """The places of the ranked ones of `trials`, best first, as on the leaderboard of their run.

    With `by_mean` the trials of a layout and a recipe share a place: with several validation splits, the accuracies of
    single trials are of different images.
    """
    best_first = sorted(filter(has_rank, trials), key=rank_key)
    if not by_mean:
        return [Standing((trial,), trial.val_accuracy, 1) for trial in best_first]
    places: dict[tuple[str, str], list[TrialState]] = {}
    for trial in best_first:
        places.setdefault(candidate_key(trial), []).append(trial)
    found = []
    for sharing in places.values():
        last = max(trial.rung_epoch or 0 for trial in sharing)
        used = [trial for trial in sharing if trial.rung_epoch == last]
        accuracy, loss = _mean(trial.val_accuracy for trial in used), _mean(trial.val_loss for trial in used)
        others = sorted((trial for trial in sharing if trial.rung_epoch != last), key=rank_key)
        key = rule_key(accuracy, loss, used[0].params), min(trial.trial for trial in sharing)
        found.append((key, Standing((*used, *others), accuracy, len(used))))
    return [standing for _, standing in sorted(found, key=lambda pair: pair[0])]


def candidate_key(trial: TrialState) -> tuple[str, str]:
    """A key that is equal for the trials of one layout and recipe."""
    return trial.layout_id, repr(trial.settings)


def _mean(values: Iterable[float | None]) -> float | None:
    known = list(values)
    return None if None in known else fmean(value for value in known if value is not None)
