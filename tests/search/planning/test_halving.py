"""Replays of asynchronous halving: the epochs of every order of arrival, and what changes them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from search.config.views import Ladder
from search.planning.halving import MOST_TRIALS, replayed
from search.runs.rungs import AshaRungs

EQUAL = np.ones(1)


def epochs_of(ladder: Ladder, order: tuple[int, ...]) -> int:
    """Epochs of trials that arrive one after another with these qualities, by the rungs of a search."""
    rungs, total = AshaRungs(ladder), 0
    for trial, quality in enumerate(order):
        reached = next(epoch for epoch in ladder.rungs if not rungs.goes_on(trial, epoch, quality))
        total += reached
    return total


@pytest.mark.parametrize(("rungs", "factor"), [((1, 10), 2), ((2, 6, 18), 3)])
def test_the_range_is_that_of_all_orders_of_arrival(rungs: tuple[int, ...], factor: int) -> None:
    ladder = Ladder(rungs, factor)
    exact = np.array([epochs_of(ladder, order) for order in itertools.permutations(range(7))])
    found = replayed(ladder, 7, 1, EQUAL, 0).epochs
    for value, share in ((found.low, 0.1), (found.median, 0.5), (found.high, 0.9)):
        assert np.quantile(exact, share - 0.09) <= value <= np.quantile(exact, share + 0.09)


@pytest.mark.parametrize(("rungs", "factor"), [((1, 10), 2), ((2, 6, 18), 3), ((3, 9, 27), 4)])
def test_the_expected_epochs_of_few_trials_are_near_the_mean_of_all_orders_of_arrival(
    rungs: tuple[int, ...], factor: int
) -> None:
    ladder = Ladder(rungs, factor)
    exact = np.mean([epochs_of(ladder, order) for order in itertools.permutations(range(7))])
    assert ladder.expected_epochs(7) == pytest.approx(exact, rel=0.2)


def test_the_first_trials_pass_more_often_than_one_in_factor() -> None:
    ladder = Ladder((2, 6, 18), 3)
    assert ladder.expected_epochs(12) > 12 * 2 + 4 * 4 + 4 / 3 * 12
    assert replayed(ladder, 12, 2, EQUAL, 0, ended=200).epochs.median < replayed(ladder, 12, 2, EQUAL, 0).epochs.median


def test_without_a_decision_every_trial_is_whole() -> None:
    found = replayed(Ladder((5,), 3), 8, 3, EQUAL, 0, start=1.0)
    assert found.epochs.low == found.epochs.high == found.work.median == 40
    assert found.time.low == found.time.high == 3 * (5 + 1)  # 8 trials, 3 at a time, are three rounds


def test_what_runs_at_a_time_and_what_a_process_takes_count_in_the_time_alone() -> None:
    ladder, costs = Ladder((2, 6, 18), 3), np.array([0.5, 1.5])
    alone, four = (replayed(ladder, 20, at_a_time, costs, 0) for at_a_time in (1, 4))
    assert alone.time.median == pytest.approx(alone.work.median)
    assert four.work.median / 4 < four.time.median < alone.time.median
    slow = replayed(ladder, 20, 1, costs, 0, start=3.0)
    assert slow.time.median == pytest.approx(alone.time.median + 20 * 3.0)
    assert slow.epochs == alone.epochs


def test_a_budget_is_the_most() -> None:
    found = replayed(Ladder((2, 6, 18), 3), 100, 2, EQUAL, 0, budget=90)
    assert found.epochs.low == found.epochs.high == 90
    assert replayed(Ladder((2, 6, 18), 3), 0, 2, EQUAL, 0).epochs.high == 0


def test_a_long_search_is_as_much_longer_as_it_has_more_trials() -> None:
    ladder = Ladder((1, 3, 9), 3)
    once, ten = (replayed(ladder, MOST_TRIALS * times, 4, EQUAL, 0).epochs for times in (1, 10))
    assert ten.median == pytest.approx(10 * once.median)
    assert once.median == pytest.approx(ladder.expected_epochs(MOST_TRIALS), rel=0.05)


def test_a_seed_repeats_the_replays() -> None:
    ladder = Ladder((2, 6, 18), 3)
    assert replayed(ladder, 30, 2, EQUAL, 5) == replayed(ladder, 30, 2, EQUAL, 5)
    assert replayed(ladder, 30, 2, EQUAL, 5) != replayed(ladder, 30, 2, EQUAL, 6)
