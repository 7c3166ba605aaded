"""Learning rates of the schedules without rungs: restarts, warm-up, and torch's own schedulers as oracles."""

from __future__ import annotations

from typing import Any, get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.optim.lr_scheduler import (
    ChainedScheduler,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    ExponentialLR,
    LinearLR,
    LRScheduler,
    MultiStepLR,
    OneCycleLR,
    SequentialLR,
    StepLR,
)

from tests.support.schedule_fixtures import STEPS, rates
from trainables.recipe import WARMED, Recipe, Schedule


def torch_rates(scheduler_class: type[LRScheduler], peak: float, count: int, **arguments: Any) -> list[float]:
    """The rates of the scheduler before each of `count` steps and after the last."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=peak)
    scheduler = scheduler_class(optimizer, **arguments)
    found = []
    for _ in range(count):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return [*found, optimizer.param_groups[0]["lr"]]


@settings(deadline=None)
@given(epochs=st.integers(1, 30), steps=STEPS, peak=st.floats(1e-6, 10))
def test_cosine_without_warmup_is_torchs_at_the_end_of_each_step(epochs: int, steps: int, peak: float) -> None:
    recipe = Recipe(schedule="cosine", warmup_epochs=0, learning_rate=peak)
    expected = torch_rates(CosineAnnealingLR, peak, epochs * steps, T_max=epochs * steps)
    # torch computes each rate from the one before, which costs it digits where the rate is small
    assert rates(recipe, steps, epochs) == pytest.approx(expected[1:], rel=1e-6, abs=peak * 1e-12)


@settings(deadline=None)
@given(warmup=st.integers(1, 4), extra=st.integers(1, 10), steps=STEPS)
def test_cosine_after_its_warmup_is_torchs_over_the_rest(warmup: int, extra: int, steps: int) -> None:
    recipe = Recipe(schedule="cosine", warmup_epochs=warmup, learning_rate=1.0)
    found = rates(recipe, steps, warmup + extra)
    assert found[: warmup * steps] == pytest.approx([(i + 1) / (warmup * steps) for i in range(warmup * steps)])
    expected = torch_rates(CosineAnnealingLR, 1.0, extra * steps, T_max=extra * steps)
    assert found[warmup * steps :] == pytest.approx(expected[1:], rel=1e-6, abs=1e-12)
    assert [step for step, rate in enumerate(found) if rate == 0.0] == [len(found) - 1]


@settings(deadline=None)
@given(epochs=st.integers(1, 30), steps=STEPS, falling=st.integers(1, 12), peak=st.floats(1e-6, 10))
def test_a_cosine_of_fewer_epochs_rises_and_falls_again_as_torchs_stepped_once_a_step(
    epochs: int, steps: int, falling: int, peak: float
) -> None:
    recipe = Recipe(schedule="cosine", cosine_epochs=falling, warmup_epochs=0, learning_rate=peak)
    expected = torch_rates(CosineAnnealingLR, peak, epochs * steps, T_max=falling * steps)
    assert rates(recipe, steps, epochs) == pytest.approx(expected[1:], rel=1e-6, abs=peak * 1e-9)


@settings(deadline=None)
@given(epochs=st.integers(2, 30), steps=STEPS, falling=st.integers(1, 12))
def test_at_the_end_of_an_epoch_the_cosine_has_the_rate_of_torchs_stepped_once_an_epoch(
    epochs: int, steps: int, falling: int
) -> None:
    recipe = Recipe(schedule="cosine", cosine_epochs=falling, warmup_epochs=0, learning_rate=0.1)
    expected = torch_rates(CosineAnnealingLR, 0.1, epochs, T_max=falling)
    assert rates(recipe, steps, epochs)[steps - 1 :: steps] == pytest.approx(expected[1:], rel=1e-6, abs=1e-10)


@settings(deadline=None)
@given(falling=st.integers(1, 10), extra=st.integers(0, 25), steps=STEPS, share=st.floats(0, 0.99))
def test_a_cosine_is_zero_after_every_odd_multiple_of_its_epochs_whatever_its_warmup(
    falling: int, extra: int, steps: int, share: float
) -> None:
    recipe = Recipe(schedule="cosine", cosine_epochs=falling, warmup_epochs=share * falling, learning_rate=1.0)
    found = rates(recipe, steps, falling + extra)
    zeros = {epoch * steps - 1 for epoch in range(falling, falling + extra + 1, 2 * falling)}
    assert {step for step, rate in enumerate(found) if rate == 0.0} == zeros
    peaks = range(2 * falling, falling + extra + 1, 2 * falling)
    assert [found[epoch * steps - 1] for epoch in peaks] == [1.0] * len(peaks)
    whole = recipe.model_copy(update={"cosine_epochs": 0})
    assert found[: falling * steps] == rates(whole, steps, falling)


@settings(deadline=None)
@given(
    epochs=st.integers(1, 20),
    steps=st.integers(1, 20),
    falling=st.integers(0, 8),
    every=st.integers(1, 12),
    factor=st.floats(0.05, 1),
    warmup=st.floats(0, 0.9),
)
def test_cosine_step_is_the_product_of_cosine_and_step(
    epochs: int, steps: int, falling: int, every: int, factor: float, warmup: float
) -> None:
    options = {"cosine_epochs": falling, "step_epochs": every, "step_factor": factor, "warmup_epochs": warmup}
    both, cosine, step = (
        rates(Recipe.model_validate({"schedule": name, "learning_rate": 1.0, **options}), steps, epochs)
        for name in ("cosine-step", "cosine", "step")
    )
    assert both == pytest.approx([one * other for one, other in zip(cosine, step, strict=True)], rel=1e-12)


def test_cosine_step_is_torchs_two_chained_until_torch_forgets_a_drop() -> None:
    # Cerberus: 200 epochs, T_max 50, x 0.1 every 80, here with 3 steps an epoch; at 150 torch's cosine reaches zero
    # with a drop behind it, and rises again from the rate before the drop.
    epochs, steps, falling, every, factor = 200, 3, 50, 80, 0.1
    recipe = Recipe(
        schedule="cosine-step",
        cosine_epochs=falling,
        warmup_epochs=0,
        step_epochs=every,
        step_factor=factor,
        learning_rate=0.01,
    )
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=recipe.learning_rate)
    chained = ChainedScheduler(
        [
            CosineAnnealingLR(optimizer, T_max=falling * steps),
            StepLR(optimizer, step_size=every * steps, gamma=factor),
        ]
    )
    found, agree = rates(recipe, steps, epochs), []
    for step, rate in enumerate(found):
        optimizer.step()
        chained.step()
        # ours drops with the first step of an epoch, torch, which is asked after the step, one earlier
        theirs = optimizer.param_groups[0]["lr"] / (factor if (step + 1) % (every * steps) == 0 else 1)
        agree.append(rate == pytest.approx(theirs, rel=1e-6, abs=1e-12))
    assert agree == [step < 3 * falling * steps for step in range(len(found))]


@settings(deadline=None)
@given(epochs=st.integers(1, 30), steps=STEPS, peak=st.floats(1e-6, 10))
def test_one_cycle_is_torchs(epochs: int, steps: int, peak: float) -> None:
    total = epochs * steps
    recipe = Recipe(schedule="one-cycle", learning_rate=peak)
    # torch has one rate more than it has steps to take: the last is asked for only without its own final step
    expected = torch_rates(OneCycleLR, peak, total - 1, max_lr=peak, total_steps=total, cycle_momentum=False)
    assert rates(recipe, steps, epochs) == pytest.approx(expected, rel=1e-12)


@settings(deadline=None)
@given(epochs=st.integers(1, 30), steps=STEPS, every=st.integers(1, 12), factor=st.floats(0.05, 1))
def test_step_is_torchs(epochs: int, steps: int, every: int, factor: float) -> None:
    recipe = Recipe(schedule="step", step_epochs=every, step_factor=factor, learning_rate=0.3)
    expected = torch_rates(StepLR, 0.3, epochs * steps, step_size=every * steps, gamma=factor)
    assert rates(recipe, steps, epochs) == pytest.approx(expected[:-1], rel=1e-9)


@settings(deadline=None)
@given(
    epochs=st.integers(1, 30),
    steps=STEPS,
    milestones=st.sets(st.integers(1, 35), min_size=1, max_size=5),
    factor=st.floats(0.05, 1),
)
def test_milestones_are_torchs(epochs: int, steps: int, milestones: set[int], factor: float) -> None:
    listed = sorted(milestones)
    recipe = Recipe(schedule="milestones", milestones=",".join(map(str, listed)), step_factor=factor, learning_rate=0.3)
    by_step = torch_rates(MultiStepLR, 0.3, epochs * steps, milestones=[e * steps for e in listed], gamma=factor)
    by_epoch = torch_rates(MultiStepLR, 0.3, epochs, milestones=listed, gamma=factor)
    found = rates(recipe, steps, epochs)
    assert found == pytest.approx(by_step[:-1], rel=1e-9)
    assert found[::steps] == found[steps - 1 :: steps] == pytest.approx(by_epoch[:-1], rel=1e-9)


@settings(deadline=None)
@given(epochs=st.integers(1, 30), steps=STEPS, factor=st.floats(0.05, 1))
def test_exponential_is_torchs_stepped_once_an_epoch(epochs: int, steps: int, factor: float) -> None:
    recipe = Recipe(schedule="exponential", exponential_factor=factor, learning_rate=0.3)
    expected = torch_rates(ExponentialLR, 0.3, epochs, gamma=factor)[:-1]
    found = rates(recipe, steps, epochs)
    assert found[::steps] == found[steps - 1 :: steps] == pytest.approx(expected, rel=1e-9)
    assert len(set(found)) == len(set(found[::steps]))


@settings(deadline=None)
@given(
    epochs=st.integers(1, 30),
    steps=STEPS,
    first=st.integers(1, 12),
    factor=st.integers(1, 3),
    peak=st.floats(1e-6, 10),
)
def test_cosine_restarts_are_torchs_with_a_zero_before_each(
    epochs: int, steps: int, first: int, factor: int, peak: float
) -> None:
    recipe = Recipe(
        schedule="cosine-restarts",
        restart_epochs=first,
        restart_factor=factor,
        warmup_epochs=0,
        learning_rate=peak,
    )
    found = rates(recipe, steps, epochs)
    expected = torch_rates(CosineAnnealingWarmRestarts, peak, epochs * steps, T_0=first * steps, T_mult=factor)[1:]
    ends, fall = set(), first
    while not ends or max(ends) < epochs:
        ends.add(max(ends, default=0) + fall)
        fall *= factor
    assert {step for step, rate in enumerate(found) if rate == 0.0} == {
        end * steps - 1 for end in ends if end <= epochs
    }
    for step, rate in enumerate(expected):  # at a fall's end torch's has gone up already
        begun_anew = step + 1 in {end * steps for end in ends}
        assert (peak if begun_anew else found[step]) == pytest.approx(rate, rel=1e-6, abs=peak * 1e-9)


def test_a_cosine_warms_up_before_its_first_fall_alone() -> None:
    values = {"schedule": "cosine-restarts", "restart_epochs": 2, "learning_rate": 1.0}
    cold, warm = (rates(Recipe.model_validate({**values, "warmup_epochs": e}), 10, 6) for e in (0, 1))
    assert warm[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
    assert warm[20:] == cold[20:]
    assert (warm[19], warm[59]) == (0.0, 0.0)


@settings(deadline=None)
@given(warmup=st.integers(0, 4), extra=st.integers(1, 10), steps=STEPS, peak=st.floats(1e-6, 10))
def test_linear_is_torchs_two_linear_ones_at_the_end_of_each_step(
    warmup: int, extra: int, steps: int, peak: float
) -> None:
    recipe = Recipe(schedule="linear", warmup_epochs=warmup, learning_rate=peak)
    found, rise = rates(recipe, steps, warmup + extra), warmup * steps
    assert found[:rise] == pytest.approx([peak * (i + 1) / rise for i in range(rise)])
    fall = torch_rates(LinearLR, peak, extra * steps, start_factor=1.0, end_factor=0.0, total_iters=extra * steps)
    assert found[rise:] == pytest.approx(fall[1:], rel=1e-6, abs=peak * 1e-9)
    assert [step for step, rate in enumerate(found) if rate == 0.0] == [len(found) - 1]


def test_warmup_stable_decay_is_torchs_three_in_a_row() -> None:
    recipe = Recipe(schedule="warmup-stable-decay", warmup_epochs=2, cooldown_share=0.3, learning_rate=0.5)
    found, steps = rates(recipe, 7, 10), 7
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    parts = [
        LinearLR(optimizer, start_factor=1 / 14, end_factor=1.0, total_iters=13),
        LinearLR(optimizer, start_factor=1.0, end_factor=1.0, total_iters=1),
        LinearLR(optimizer, start_factor=20 / 21, end_factor=0.0, total_iters=20),
    ]
    scheduler, expected = SequentialLR(optimizer, parts, milestones=[2 * steps, 7 * steps]), []
    for _ in found:
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-9)
    assert found.count(0.5) == 5 * steps + 1
    assert found[-1] == 0.0


@settings(deadline=None)
@given(epochs=st.integers(1, 30), steps=STEPS, warmup=st.floats(0, 1), share=st.floats(0.01, 0.99))
def test_a_trapezoid_rises_stays_and_falls_to_zero(epochs: int, steps: int, warmup: float, share: float) -> None:
    recipe = Recipe(
        schedule="warmup-stable-decay",
        warmup_epochs=warmup * (1 - share) * epochs * 0.999,
        cooldown_share=share,
        learning_rate=1.0,
    )
    found = rates(recipe, steps, epochs)
    top = found.index(max(found))
    assert found[:top] == sorted(found[:top])
    assert found[top:] == sorted(found[top:], reverse=True)
    assert max(found) <= 1.0
    assert [step for step, rate in enumerate(found) if rate == 0.0] == [len(found) - 1]


@pytest.mark.parametrize("schedule", WARMED)
@settings(deadline=None)
@given(falling=st.integers(1, 10), longer=st.floats(0, 5), steps=STEPS, peak=st.floats(1e-6, 10))
def test_a_warmup_that_leaves_no_fall_takes_half_of_it(
    schedule: str, falling: int, longer: float, steps: int, peak: float
) -> None:
    values = {"schedule": schedule, "cosine_epochs": falling, "restart_epochs": falling, "learning_rate": peak}
    clipped, half = (
        rates(Recipe.model_validate({**values, "warmup_epochs": warmup}), steps, falling)
        for warmup in (falling + longer, falling / 2)
    )
    assert clipped == half
    assert all(0 <= rate <= peak for rate in clipped)
    assert [step for step, rate in enumerate(clipped) if rate == 0.0] == [falling * steps - 1]


def test_constant_is_constant() -> None:
    assert set(rates(Recipe(schedule="constant", learning_rate=0.25), 7, 3)) == {0.25}


@pytest.mark.parametrize("schedule", sorted(set(get_args(Schedule)) - {"rung-annealed"}))
def test_only_the_annealed_schedule_reads_the_rungs(schedule: str) -> None:
    recipe = Recipe.model_validate({"schedule": schedule})
    assert rates(recipe, 5, 1, 3, 9) == rates(recipe, 5, 9)
