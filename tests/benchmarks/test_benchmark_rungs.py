"""Whole searches with early stopping on a made-up function: what it is, and that they repeat."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmarks.sampler.rungs import RECIPE, RUNGS, accuracy_after, arm_of, last_accuracy, regret_at, search
from search.layouts import LayoutSpace
from search.recipes import RecipeSpace
from search.sampling import Candidate, JointSpace


@pytest.fixture(scope="module")
def candidates() -> JointSpace:
    space = LayoutSpace(stages=(3,), blocks=(1, 4), min_params=200_000, max_params=400_000)
    return JointSpace(space, RecipeSpace.model_validate(RECIPE))


def drawn(candidates: JointSpace, n: int) -> list[Candidate]:
    generator = np.random.default_rng(0)
    return [found for _ in range(n) if (found := candidates.draw(generator, ())) is not None]


def test_accuracy_rises_with_the_epochs_to_that_of_the_last_rung_or_the_training_diverges(
    candidates: JointSpace,
) -> None:
    diverged = 0
    for candidate in drawn(candidates, 60):
        curve = [accuracy_after(candidate, epochs) for epochs in RUNGS]
        if last_accuracy(candidate) is None:
            assert curve == [None, None, None]
            diverged += 1
        else:
            values = [value for value in curve if value is not None]
            assert values == sorted(set(values))
            assert values[-1] == pytest.approx(last_accuracy(candidate))
    assert 0 < diverged < 30


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("arm", ["gp", "random"])
def test_a_search_repeats_and_counts_its_epochs(arm: str, workers: int, candidates: JointSpace) -> None:
    given: tuple[Any, ...] = (candidates, arm_of(arm), 1.0, 3, 14, workers)
    regrets = search(*given)
    assert regrets == search(*given)
    spent = [epochs for epochs, _ in regrets]
    assert spent == sorted(spent)
    assert 14 * RUNGS[0] <= spent[-1] <= 14 * RUNGS[-1]
    assert regret_at(regrets, 10**6) == 100 * regrets[-1][1]
    assert regret_at(regrets, 1) == 100 * regrets[0][1]
