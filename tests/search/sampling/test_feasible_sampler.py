"""Samplers in real studies: feasible points only, none twice, recorded as they are run, until none is left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, QMCSampler, RandomSampler, TPESampler
from optuna.trial import Trial, TrialState

from model_zoo import ResNetLayout
from search.layouts import LayoutSpace, enumerate_layouts
from search.recipes.dimensions import Values
from search.sampling import FeasibleSampler, JointSpace
from search.sampling.feasible_sampler import SpaceExhausted
from search.sampling.joint_space import Candidate
from tests.support.recipe_fixtures import space_of
from tests.support.zoo_fixtures import brute_force, even

SMALL: dict[str, Any] = {
    "stages": [2, 3],
    "blocks": [1, 3],
    "channels": [4, 6, 8],
    "strides": [1, 2],
    "stem_channels": [0, 4],
    "min_params": 4_000,
    "max_params": 4_300,
}
MIDDLE = LayoutSpace.model_validate(
    {"stages": [2], "blocks": [1, 64], "channels": [8, 16, 24, 32], "min_params": 50_000, "max_params": 2_000_000}
)
"""39,485 feasible layouts."""
STARTUP = 10

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")


def cma_es() -> BaseSampler:
    pytest.importorskip("cmaes", reason="Optuna's CMA-ES needs the package cmaes, which the project does not")
    from optuna.samplers import CmaEsSampler

    return CmaEsSampler(seed=0, n_startup_trials=STARTUP, warn_independent_sampling=False)


BASES: dict[str, tuple[Callable[[], BaseSampler], int]] = {
    "tpe": (lambda: TPESampler(seed=0, multivariate=False, constant_liar=True), 60),
    "tpe-multivariate": (lambda: TPESampler(seed=0, multivariate=True), 60),
    "random": (lambda: RandomSampler(seed=0), 60),
    "quasi-monte-carlo": (lambda: QMCSampler(seed=0, warn_independent_sampling=False), 60),
    "nsga-ii": (lambda: NSGAIISampler(seed=0, population_size=8), 60),
    "gaussian-process": (lambda: GPSampler(seed=0, n_startup_trials=STARTUP), STARTUP + 2),
    "cma-es": (cma_es, 60),
}
"""Base samplers, and for how many trials each is asked."""


def space(**changed: Any) -> LayoutSpace:
    return LayoutSpace.model_validate(SMALL | changed)


def suggested(trial: Trial, points: JointSpace) -> Values:
    """What a trial suggests for every dimension, as an objective asks."""
    values: Values = {}
    for name, d in points.dimensions.items():
        if isinstance(d, optuna.distributions.IntDistribution):
            values[name] = trial.suggest_int(name, d.low, d.high, step=d.step, log=d.log)
        else:
            assert isinstance(d, optuna.distributions.FloatDistribution)
            values[name] = trial.suggest_float(name, d.low, d.high, step=d.step, log=d.log)
    return values


def score(point: Candidate) -> float:
    """An accuracy with one best layout: deep first stages, a wide last one."""
    layout, recipe = point
    return (layout.blocks[0] / 16 + layout.channels[-1] / 64 + (layout.stages == 3)) / 3 - recipe.cutout / 100


def optimized(sampler: FeasibleSampler[Candidate], trials: int) -> tuple[optuna.Study, list[Candidate]]:
    """A study after so many trials, and the point that each ran."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    points, ran = sampler.candidates, list[Candidate]()
    assert isinstance(points, JointSpace)
    study = optuna.create_study(direction="maximize", sampler=sampler)

    def objective(trial: Trial) -> float:
        ran.append(points.decode(suggested(trial, points)))
        assert sampler.candidate(trial.number) == ran[-1]
        return score(ran[-1])

    study.optimize(objective, n_trials=trials)
    return study, ran


@pytest.mark.parametrize("name", BASES)
def test_whatever_the_base_proposes_points_are_feasible_and_none_is_run_twice(name: str) -> None:
    make, trials = BASES[name]
    points = JointSpace(MIDDLE, space_of({"cutout": [0, 4, 8], "learning_rate": [0.05, 0.1]}))
    study, ran = optimized(FeasibleSampler(make(), points, seed=3, startup_trials=STARTUP), trials)
    assert len(ran) == trials
    assert all(MIDDLE.contains(layout) for layout, _ in ran)
    assert len(set(ran)) == trials
    assert [points.decode(trial.params) for trial in study.trials] == ran
    _, uniform = optimized(FeasibleSampler(None, points, seed=3), trials)
    assert ran[:STARTUP] == uniform[:STARTUP]
    assert not set(ran[STARTUP:]) & set(uniform[STARTUP:])  # the base was asked


@pytest.mark.parametrize(
    ("base", "trials"),
    [
        (None, 2_000),
        (RandomSampler(seed=0), 1_000),
        pytest.param(None, 10_000, marks=pytest.mark.slow),
        pytest.param(RandomSampler(seed=0), 10_000, marks=pytest.mark.slow),
    ],
)
def test_of_thousands_of_proposals_none_is_infeasible_and_none_a_repeat(base: BaseSampler | None, trials: int) -> None:
    _, ran = optimized(FeasibleSampler(base, JointSpace(MIDDLE), startup_trials=0), trials)
    layouts = [layout for layout, _ in ran]
    assert len(set(layouts)) == trials
    assert all(MIDDLE.contains(layout) for layout in layouts)


@pytest.mark.parametrize("replicates", [1, 2])
@pytest.mark.parametrize("make", [lambda: None, lambda: RandomSampler(seed=0), lambda: TPESampler(seed=0)])
def test_a_space_smaller_than_the_trials_is_run_as_often_as_it_may_be_and_then_exhausted(
    make: Callable[[], BaseSampler | None], replicates: int
) -> None:
    searched = space(stages=[2], max_params=7_000, predicate=even)
    points = JointSpace(searched)
    sampler = FeasibleSampler(make(), points, startup_trials=3, replicates=replicates)
    expected = set(brute_force(searched))
    assert 15 < len(expected) < 60
    study, ran = optimized(sampler, replicates * len(expected))
    assert Counter(layout for layout, _ in ran) == dict.fromkeys(expected, replicates)
    with pytest.raises(SpaceExhausted):
        study.optimize(lambda trial: score(points.decode(suggested(trial, points))), n_trials=1)
    assert study.trials[-1].state is TrialState.FAIL


@pytest.mark.parametrize("make", [lambda: None, lambda: RandomSampler(seed=1), lambda: TPESampler(seed=1)])
def test_repeats_are_those_of_layout_and_recipe_together(make: Callable[[], BaseSampler | None]) -> None:
    recipes = space_of({"optimizer": ["sgd", "adam"], "momentum": [0.5, 0.9]})
    searched = space(stages=[2], max_params=4_600)
    layouts = set(brute_force(searched))
    # Momentum is no difference under adam: three recipes, not four.
    size = 3 * len(layouts)
    points = JointSpace(searched, recipes)
    study, ran = optimized(FeasibleSampler(make(), points, startup_trials=5), size)
    assert set(ran) == {(layout, recipe) for layout in layouts for recipe in recipes.in_order()}
    assert len(set(ran)) == size > 15
    assert [points.decode(trial.params) for trial in study.trials] == ran
    with pytest.raises(SpaceExhausted):
        study.optimize(lambda trial: score(points.decode(suggested(trial, points))), n_trials=1)


def test_ranges_of_the_recipe_are_proposed_within_their_bounds() -> None:
    recipes = space_of("learning_rate = {low = 0.01, high = 0.5, log = true}\ncutout = {low = 0, high = 8, step = 2}")
    points = JointSpace(space(), recipes)
    study, ran = optimized(FeasibleSampler(TPESampler(seed=0), points), 40)
    assert len(set(ran)) == 40
    assert all(0.01 <= recipe.learning_rate <= 0.5 and recipe.cutout in range(0, 9, 2) for _, recipe in ran)
    assert [points.decode(trial.params) for trial in study.trials] == ran


@pytest.mark.parametrize("make", [lambda: None, lambda: RandomSampler(seed=1)])
def test_enqueued_trials_are_kept_as_they_are_and_not_proposed_again(make: Callable[[], BaseSampler | None]) -> None:
    searched = space(stages=[2], max_params=4_600)
    points = JointSpace(searched)
    wanted = [points.encode(candidate) for candidate in list(points.in_order())[5:8]]
    outside = {name: d.low for name, d in points.dimensions.items()}  # type: ignore[attr-defined]
    assert not searched.contains(points.decode(outside)[0])
    study = optuna.create_study(sampler=FeasibleSampler(make(), points, startup_trials=0))
    for values in [*wanted, outside]:
        study.enqueue_trial(values)
    # All are asked for before the first suggests anything, as parallel trials may be.
    trials = [study.ask() for _ in range(len(set(brute_force(searched))) + 1)]
    found = [suggested(trial, points) for trial in reversed(trials)][::-1]
    assert found[:4] == [*wanted, outside]
    assert Counter(points.decode(values)[0] for values in found[:3] + found[4:]) == Counter(set(brute_force(searched)))
    with pytest.raises(SpaceExhausted):
        suggested(study.ask(), points)


def test_a_trial_enqueued_with_some_of_the_dimensions_is_refused() -> None:
    points = JointSpace(space())
    study = optuna.create_study(sampler=FeasibleSampler(None, points))
    study.enqueue_trial({"blocks_1": 1})
    with pytest.raises(
        ValueError, match=r"enqueued trial 0: blocks_2, .*bias|enqueued trial 0: .* not given; give all"
    ):
        suggested(study.ask(), points)


def test_trials_of_an_earlier_sampler_are_not_proposed_again() -> None:
    points = JointSpace(space(stages=[2], max_params=7_000))
    study, before = optimized(FeasibleSampler(None, points, seed=0), 10)
    study.sampler = FeasibleSampler(RandomSampler(seed=0), points, seed=1, startup_trials=0)
    after = [points.decode(suggested(study.ask(), points)) for _ in range(10)]
    assert len(set(before + after)) == 20


def test_the_seed_alone_decides_the_draws() -> None:
    def layouts(seed: int) -> list[ResNetLayout]:
        return [layout for layout, _ in optimized(FeasibleSampler(None, JointSpace(space()), seed=seed), 15)[1]]

    np.random.seed(1)  # noqa: NPY002  # the global generator must not matter
    first = layouts(0)
    np.random.seed(2)  # noqa: NPY002
    assert layouts(0) == first
    assert layouts(1) != first
    assert set(first) <= set(enumerate_layouts(space()))


def test_a_name_that_is_no_dimension_is_refused() -> None:
    study = optuna.create_study(sampler=FeasibleSampler(None, JointSpace(space())))
    with pytest.raises(KeyError, match="dropout is not a dimension of a candidate"):
        study.ask().suggest_float("dropout", 0, 1)
