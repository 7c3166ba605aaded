"""The strategies of the stopping benchmark: by hand, by brute force, and within their budgets."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.early_stopping.strategies import full_trainings, halving, short_then_top
from tests.support.early_stopping_fixtures import HAND
from trainables.schedule import rung_epochs


@st.composite
def searches(draw: st.DrawFn) -> tuple[dict[int, list[float]], list[int], tuple[int, ...], int]:
    """Curves with equal values among them, an order of arrival, a ladder and its factor."""
    grace, factor, more = draw(st.tuples(st.integers(1, 3), st.integers(2, 4), st.integers(0, 9)))
    rungs = rung_epochs(grace, factor, grace + more)
    value = st.integers(0, 9).map(lambda tenths: tenths / 10)
    count = draw(st.integers(1, 7))
    curves = {n: draw(st.lists(value, min_size=rungs[-1], max_size=rungs[-1])) for n in range(count)}
    return curves, draw(st.permutations(range(count))), rungs, factor


def one_worker(
    curves: dict[int, list[float]], order: list[int], rungs: tuple[int, ...], factor: int
) -> tuple[int, int]:
    """Asynchronous halving with one layout after the other, written out: the pick and the epochs."""
    seen: dict[int, list[tuple[float, int]]] = {rung: [] for rung in rungs}
    spent = 0
    for layout in order:
        for before, rung in itertools.pairwise((0, *rungs)):
            spent += rung - before
            value = curves[layout][rung - 1]
            others = [other for other, _ in seen[rung]]
            seen[rung].append((value, layout))
            if others and value < np.quantile(others, 1 - 1 / factor):
                break
    last = [seen[rung] for rung in rungs if seen[rung]][-1]
    best = max(value for value, _ in last)
    return next(layout for value, layout in last if value == best), spent


def test_halving_by_hand_stops_below_the_median_and_picks_the_best_that_went_to_the_end() -> None:
    # 0 goes to the end alone; 1 is above it after one epoch and below it after two; 2 is above both; 3 stops first.
    assert halving(HAND, [0, 1, 2, 3], (1, 2, 4), 2, 100) == (2, 4 + 2 + 4 + 1)


def test_a_budget_that_ends_early_leaves_the_best_at_the_furthest_rung() -> None:
    assert halving(HAND, [1, 0, 2, 3], (1, 2, 4), 2, 3) == (1, 3)
    assert halving(HAND, [1, 0, 2, 3], (1, 2, 4), 2, 5) == (1, 5)
    assert halving(HAND, [0, 1, 2, 3], (1, 2, 4), 2, 8) == (0, 8)


def test_two_workers_train_an_epoch_each_in_turn() -> None:
    # After the first epochs 0 goes on as the first and 1 as the better. At the second 0 goes on and 1, below it, stops;
    # 2 takes the free place, and the budget ends in its second epoch, in which 0 has its fourth.
    assert halving(HAND, [0, 1, 2, 3], (1, 2, 4), 2, 4, workers=2) == (0, 4)
    assert halving(HAND, [0, 1, 2, 3], (1, 2, 4), 2, 8, workers=2) == (0, 8)
    assert halving(HAND, [0, 1, 2, 3], (1, 2, 4), 2, 100, workers=2) == (2, 11)


def test_full_trainings_by_hand() -> None:
    assert full_trainings(HAND, [0, 2, 1, 3], 11) == (2, 8)
    assert full_trainings(HAND, [0, 2, 1, 3], 12) == (1, 12)
    assert full_trainings(HAND, [0, 2, 1, 3], 100) == (1, 16)


def test_short_trainings_then_the_top_by_hand() -> None:
    short = {number: curve[:1] for number, curve in HAND.items()}
    # Of 6 and of 8 epochs one full training is kept, which leaves room for two and for four short ones.
    assert short_then_top(short, HAND, [3, 0, 1, 2], 6) == (0, 6)
    assert short_then_top(short, HAND, [0, 1, 2, 3], 8) == (2, 8)
    # All four are tried, and what is left holds two, of which the better is not the one that led after one epoch.
    assert short_then_top(short, HAND, [0, 1, 2, 3], 12) == (1, 12)
    assert short_then_top(short, HAND, [0, 1, 2, 3], 15) == (1, 12)


@given(searches())
def test_halving_with_one_worker_is_layout_after_layout(
    search: tuple[dict[int, list[float]], list[int], tuple[int, ...], int],
) -> None:
    curves, order, rungs, factor = search
    assert halving(curves, order, rungs, factor, 10**6) == one_worker(curves, order, rungs, factor)


@given(searches(), st.integers(0, 60), st.integers(1, 5))
def test_halving_keeps_to_its_budget_and_every_worker_reaches_a_rung(
    search: tuple[dict[int, list[float]], list[int], tuple[int, ...], int], more: int, workers: int
) -> None:
    curves, order, rungs, factor = search
    budget = workers * rungs[0] + more
    pick, spent = halving(curves, order, rungs, factor, budget, workers)
    assert min(workers, len(order)) * rungs[0] <= spent <= min(budget, rungs[-1] * len(order))
    assert pick in order


@given(searches(), st.integers(0, 60))
def test_full_trainings_are_as_many_as_the_budget_holds_and_the_best_is_picked(
    search: tuple[dict[int, list[float]], list[int], tuple[int, ...], int], more: int
) -> None:
    curves, order, rungs, _ = search
    length, budget = rungs[-1], rungs[-1] + more
    pick, spent = full_trainings(curves, order, budget)
    tried = order[: spent // length]
    assert len(tried) == min(len(order), budget // length)
    assert spent == len(tried) * length
    assert pick in tried
    assert curves[pick][-1] == max(curves[number][-1] for number in tried)


@given(searches(), st.integers(0, 60))
def test_short_trainings_spend_what_the_top_leaves_and_one_of_the_top_is_picked(
    search: tuple[dict[int, list[float]], list[int], tuple[int, ...], int], more: int
) -> None:
    curves, order, rungs, _ = search
    short = {number: curve[: rungs[0]] for number, curve in curves.items()}
    length, budget = rungs[-1], rungs[-1] + rungs[0] + more
    pick, spent = short_then_top(short, curves, order, budget)
    assert spent <= budget
    kept = max(1, budget // 2 // length) * length
    tried = order[: min(len(order), (budget - kept) // rungs[0])]
    top = min(len(tried), (budget - len(tried) * rungs[0]) // length)
    worst_first = sorted(short[number][-1] for number in tried)[-top:]
    assert pick in tried
    assert short[pick][-1] >= worst_first[0]
    surely_in_the_top = [number for number in tried if short[number][-1] > worst_first[0]]
    assert all(curves[pick][-1] >= curves[number][-1] for number in surely_in_the_top)
    assert spent == len(tried) * rungs[0] + top * length


def test_budgets_that_hold_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="3 epochs given, but the first rung is later; use at least 4"):
        halving(HAND, [0, 1], (4,), 2, 3)
    with pytest.raises(ValueError, match="3 epochs given, but a full training has 4; raise it"):
        full_trainings(HAND, [0, 1], 3)
    with pytest.raises(ValueError, match="4 epochs given, but a short and a full training have 5; raise it"):
        short_then_top({number: curve[:1] for number, curve in HAND.items()}, HAND, [0, 1], 4)
