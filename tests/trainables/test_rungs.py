"""Rungs: powers of the factor, exact zeros of the annealed rate at each, a cosine of its own between two."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.schedule_fixtures import STEPS, rates
from trainables.recipe import Recipe
from trainables.schedule import rung_epochs

LADDERS = st.tuples(st.integers(1, 12), st.integers(2, 5), st.integers(1, 60)).filter(
    lambda ladder: ladder[0] <= ladder[2]
)


@settings(deadline=None)
@given(ladder=LADDERS)
def test_rungs_are_grace_times_powers_of_the_factor_and_the_last_epoch(ladder: tuple[int, int, int]) -> None:
    grace, factor, epochs = ladder
    rungs = rung_epochs(grace, factor, epochs)
    assert set(rungs) == {e for e in range(1, epochs) if any(e == grace * factor**k for k in range(10))} | {epochs}
    assert list(rungs) == sorted(set(rungs))


def test_the_customary_ladders() -> None:
    assert rung_epochs(8, 3, 72) == (8, 24, 72)
    assert rung_epochs(1, 3, 27) == (1, 3, 9, 27)
    assert rung_epochs(5, 3, 5) == (5,)
    assert rung_epochs(1, 2, 6) == (1, 2, 4, 6)


@settings(deadline=None)
@given(ladder=LADDERS, steps=st.lists(st.integers(1, 200), max_size=4), data=st.data())
def test_a_ladder_that_is_lengthened_and_shortened_keeps_its_rungs(
    ladder: tuple[int, int, int], steps: list[int], data: st.DataObject
) -> None:
    grace, factor, epochs = ladder
    longest = rung_epochs(*ladder)
    earlier = [epochs]
    for step in steps:
        shorter = data.draw(st.sampled_from(longest))
        assert rung_epochs(grace, factor, shorter, earlier) == longest[: longest.index(shorter) + 1]
        longer = rung_epochs(grace, factor, longest[-1] + step, [*earlier, shorter])
        assert longer[: len(longest)] == longest
        assert longer == rung_epochs(grace, factor, longest[-1] + step, earlier)
        assert longer[-1] == longest[-1] + step
        assert all(b == a * factor for a, b in pairwise(longer[len(longest) - 1 : -1]))
        earlier, longest = [*earlier, shorter, longer[-1]], longer


def test_a_last_rung_that_was_no_power_stays_a_rung() -> None:
    assert rung_epochs(3, 3, 20) == (3, 9, 20)
    assert rung_epochs(3, 3, 60, (20,)) == (3, 9, 20, 60)
    assert rung_epochs(3, 3, 100, (20,)) == (3, 9, 20, 60, 100)
    assert rung_epochs(3, 3, 9, (20, 100)) == (3, 9)
    assert rung_epochs(3, 3, 81, (27,)) == rung_epochs(3, 3, 81)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 3, 9), r"grace_epochs: 0 given; use 1 to max_epochs \(9\)"),
        ((10, 3, 9), r"grace_epochs: 10 given; use 1 to max_epochs \(9\)"),
        ((1, 1, 9), "reduction_factor: 1 given; use at least 2"),
        ((3, 3, 9, (2, 20)), r"grace_epochs: 3 given; use 1 to max_epochs \(2\)"),
    ],
)
def test_impossible_ladders_are_refused(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rung_epochs(*arguments)


@settings(deadline=None)
@given(ladder=LADDERS, steps=STEPS, warmup=st.floats(0, 5), peak=st.floats(1e-6, 10))
def test_the_annealed_rate_is_zero_at_the_last_step_of_every_rung_and_nowhere_else(
    ladder: tuple[int, int, int], steps: int, warmup: float, peak: float
) -> None:
    recipe = Recipe(warmup_epochs=warmup, learning_rate=peak)
    rungs = rung_epochs(*ladder)
    found = rates(recipe, steps, *rungs)
    assert {step for step, rate in enumerate(found) if rate == 0.0} == {epochs * steps - 1 for epochs in rungs}
    assert all(0 <= rate <= peak for rate in found)


@settings(deadline=None)
@given(ladder=LADDERS, steps=STEPS, warmup=st.floats(0, 5))
def test_a_rung_warms_up_only_at_the_start_and_then_falls_like_a_cosine_of_its_own(
    ladder: tuple[int, int, int], steps: int, warmup: float
) -> None:
    recipe = Recipe(warmup_epochs=warmup, learning_rate=1.0)
    rungs = rung_epochs(*ladder)
    found = rates(recipe, steps, *rungs)
    rise = min(warmup * steps, rungs[0] * steps / 2)  # at least half of the first rung anneals
    for start, end in pairwise((0, *rungs)):
        length, rise_here = (end - start) * steps, rise if start == 0 else 0.0
        for done in range(1, length + 1):
            share = (done - rise_here) / (length - rise_here)
            expected = done / rise_here if done < rise_here else math.cos(math.pi / 2 * share) ** 2
            assert found[start * steps + done - 1] == pytest.approx(expected, rel=1e-9, abs=1e-15)


def test_each_rung_restarts_near_the_peak() -> None:
    found = rates(Recipe(warmup_epochs=0.5, learning_rate=0.1), 50, 1, 3, 9)
    assert found[0] == pytest.approx(0.1 / 25)
    assert max(found) == found[24] == 0.1
    assert [found[50 * rung - 1] for rung in (1, 3, 9)] == [0.0, 0.0, 0.0]
    assert all(found[50 * rung] > 0.0999 for rung in (1, 3))
