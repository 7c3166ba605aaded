"""The samplers of the command line: each proposes feasible candidates, none twice, until none is left."""

from __future__ import annotations

from collections import Counter
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from search.config import RunConfig
from search.errors import ConfigError
from search.layouts import LayoutSpace
from search.recipes.dimensions import Values
from search.sampling import FeasibleSampler, JointSpace
from search.sampling.feasible_sampler import SpaceExhausted
from search.sampling.joint_space import Candidate
from search.sampling.samplers import OPTUNA, make_sampler, optuna_bases, require_sampler
from tests.support.recipe_fixtures import space_of
from tests.support.zoo_fixtures import brute_force, even

SMALL = LayoutSpace.model_validate(
    {
        "stages": [2],
        "blocks": [1, 3],
        "channels": [4, 6, 8],
        "strides": [1, 2],
        "stem_channels": [0, 4],
        "min_params": 4_000,
        "max_params": 4_600,
        "predicate": even,
    }
)
MIDDLE = LayoutSpace.model_validate(
    {"stages": [2], "blocks": [1, 64], "channels": [8, 16, 24, 32], "min_params": 50_000, "max_params": 2_000_000}
)
OPTUNAS = [OPTUNA + name for name in optuna_bases()]
NAMES = ["tpe", "gp", "random", "grid", *OPTUNAS]
SLOW = f"{OPTUNA}GPSampler"
"""Seconds per proposal."""


def needs_cmaes(name: str) -> None:
    if "CmaEs" in name:
        pytest.importorskip("cmaes", reason="Optuna's CMA-ES needs the package cmaes, which the project does not")


def ask(study: optuna.Study, points: JointSpace) -> tuple[optuna.Trial, Candidate]:
    trial = study.ask(dict(points.dimensions))
    values: Values = dict(trial.params)
    return trial, points.decode(values)


def score(candidate: Candidate) -> float:
    layout, recipe = candidate
    return layout.blocks[0] / 16 + layout.channels[-1] / 64 - recipe.cutout / 100


def ran(sampler: FeasibleSampler[Candidate], points: JointSpace, trials: int) -> tuple[optuna.Study, list[Candidate]]:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    found = []
    for number in range(trials):
        trial, candidate = ask(study, points)
        found.append(candidate)
        if number % 7 == 3:
            study.tell(trial, state=TrialState.FAIL)
        else:
            study.tell(trial, score(candidate))
    return study, found


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("replicates", [1, 2])
def test_a_small_space_is_run_as_often_as_it_may_be_and_then_exhausted(name: str, replicates: int) -> None:
    needs_cmaes(name)
    if name == SLOW:
        pytest.skip("seconds per proposal")
    points = JointSpace(SMALL, space_of({"optimizer": ["sgd", "adam"], "momentum": [0.5, 0.9]}))
    # Momentum is no difference under adam: three recipes, not four.
    size = 3 * len(set(brute_force(SMALL)))
    assert 15 < size < 60
    study, found = ran(make_sampler(name, points, 3, replicates), points, replicates * size)
    assert set(Counter(found).values()) == {replicates}
    assert len(set(found)) == size
    with pytest.raises(SpaceExhausted):
        ask(study, points)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "grid"])
def test_candidates_are_feasible_and_differ_and_the_sampler_is_not_random_alone(name: str) -> None:
    needs_cmaes(name)
    recipes = space_of({"cutout": [0, 4, 8], "learning_rate": {"low": 0.01, "high": 0.4, "log": True}})
    points = JointSpace(MIDDLE, recipes)
    trials = 13 if name == SLOW else 30
    _, found = ran(make_sampler(name, points, 3), points, trials)
    _, again = ran(make_sampler(name, points, 3), points, trials)
    _, drawn = ran(make_sampler("random", points, 3), points, trials)
    assert found == again
    assert len(set(found)) == trials
    assert all(MIDDLE.contains(layout) for layout, _ in found)
    assert (found == drawn) == (name == "random")


@pytest.mark.parametrize("name", ["optuna:GridSampler", "optuna:PartialFixedSampler", "optuna:Best", "optuna:nsgaii"])
def test_a_sampler_that_optuna_lacks_or_that_needs_more_than_a_seed_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"sampler: {name} .*; use optuna:CmaEsSampler, .*optuna:TPESampler") as error:
        require_sampler(name)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("given", ["best", "TPE", "optuna:", "optuna", "TPESampler", 3])
def test_a_name_of_another_form_is_refused_with_the_forms(given: Any) -> None:
    with pytest.raises(ValueError, match="tpe, gp, random, grid or optuna:NAME"):
        RunConfig(sampler=given)


def test_cma_es_without_its_package_is_refused_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("search.sampling.samplers.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="pip install cmaes"):
        require_sampler("optuna:CmaEsSampler")


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_accepted_by_the_configuration(name: str) -> None:
    needs_cmaes(name)
    assert RunConfig(sampler=name).sampler == name
    require_sampler(name)
