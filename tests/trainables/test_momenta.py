"""Momenta: torch's one-cycle as the oracle, and that every other schedule leaves them alone."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.optim.lr_scheduler import OneCycleLR

from trainables.recipe import Recipe, Schedule
from trainables.schedule import learning_rate, momentum

MOVED = {"sgd": torch.optim.SGD, "nesterov": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


@settings(deadline=None)
@given(
    optimizer_name=st.sampled_from(sorted(MOVED)),
    high=st.floats(0.1, 0.99),
    epochs=st.integers(1, 30),
    steps=st.integers(1, 40),
)
def test_one_cycle_moves_the_momentum_as_torchs_does(optimizer_name: str, high: float, epochs: int, steps: int) -> None:
    recipe = Recipe.model_validate({"optimizer": optimizer_name, "schedule": "one-cycle", "momentum": high})
    total, adaptive = epochs * steps, optimizer_name in ("adam", "adamw")
    optimizer = MOVED[optimizer_name]([torch.nn.Parameter(torch.zeros(1))], lr=recipe.learning_rate)
    limits = {} if adaptive else {"max_momentum": high, "base_momentum": high - 0.1}  # torch's own: 0.95 and 0.85
    scheduler = OneCycleLR(optimizer, max_lr=recipe.learning_rate, total_steps=total, **limits)
    group = optimizer.param_groups[0]
    expected = []
    for step in range(total):
        expected.append(group["betas"][0] if adaptive else group["momentum"])
        optimizer.step()
        if step < total - 1:
            scheduler.step()
    assert [momentum(recipe, step, total) for step in range(total)] == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("high", [0.0, 0.05, 0.9])
def test_the_momentum_falls_while_the_rate_rises_and_never_below_zero(high: float) -> None:
    recipe = Recipe(optimizer="sgd", schedule="one-cycle", momentum=high, learning_rate=1.0)
    found = [momentum(recipe, step, 200) for step in range(200)]
    top = max(range(200), key=lambda step: learning_rate(recipe, step, 20, (10,)))
    assert found[0] == found[-1] == high
    assert min(found) == found[top] == pytest.approx(max(high - 0.1, 0), abs=1e-9)
    assert min(found) >= 0


@pytest.mark.parametrize("schedule", sorted(set(get_args(Schedule)) - {"one-cycle"}))
@pytest.mark.parametrize(
    ("optimizer", "expected"), [("sgd", 0.7), ("nesterov", 0.7), ("muon", 0.7), ("adam", 0.9), ("adamw", 0.9)]
)
def test_the_other_schedules_leave_the_momentum_as_it_is(schedule: str, optimizer: str, expected: float) -> None:
    recipe = Recipe.model_validate({"optimizer": optimizer, "schedule": schedule, "momentum": 0.7})
    assert {momentum(recipe, step, 15) for step in range(15)} == {expected}


@pytest.mark.parametrize("schedule", ["one-cycle", "constant"])
def test_adadelta_has_no_momentum(schedule: str) -> None:
    recipe = Recipe.model_validate({"optimizer": "adadelta", "schedule": schedule})
    assert {momentum(recipe, step, 15) for step in range(15)} == {0.0}
