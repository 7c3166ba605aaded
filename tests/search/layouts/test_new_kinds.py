"""A kind of block that is only in the table: its space is counted, numbered, sampled, searched and trained."""

from __future__ import annotations

from typing import Any

import numpy as np
import optuna
import pytest
from pydantic import ValidationError

from model_zoo import ResNetLayout
from model_zoo.blocks import DEFAULT_KIND, KINDS
from search.config import compose
from search.errors import ConfigError
from search.layouts import LayoutSpace, count_feasible, enumerate_layouts, sample_uniform
from search.layouts.dimensions import decode_layout, encode_layout, layout_bounds
from search.layouts.index import index_of_space
from search.planning.disk import largest_checkpoint
from search.sampling import FeasibleSampler, JointSpace
from search.sampling.neighbours import Neighbours
from tests.support.toy_kinds import TOYS
from tests.support.training_fixtures import small_recipe, small_trainer, trained
from tests.support.zoo_fixtures import brute_force
from trainables.checkpoints.size import checkpoint_bytes
from trainables.recipe import Recipe

TABLE: dict[str, Any] = {
    "stages": [2, 3],
    "blocks": [1, 2],
    "channels": [4, 6, 8],
    "strides": [1, 2],
    "stem_channels": [0, 5],
    "block_types": ["wide", "basic", "toy"],
    "groups": [1, 2],
    "squeeze_ratios": [0, 4],
    "classes": 4,
    "image_size": [8, 10],
    "min_params": 1_500,
    "max_params": 4_000,
}


@pytest.fixture(autouse=True)
def _toys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, kind in TOYS.items():
        monkeypatch.setitem(KINDS, name, kind)


@pytest.fixture
def space() -> LayoutSpace:
    return LayoutSpace.model_validate(TABLE)


@pytest.mark.parametrize(
    "windows",
    [{}, {"min_depth": 6, "max_depth": 14}, {"max_flops": 200_000}, {"max_activation_bytes": 60_000}],
)
def test_the_layouts_are_those_of_brute_force(windows: dict[str, int]) -> None:
    space = LayoutSpace.model_validate(TABLE | windows)
    expected = set(brute_force(space))
    assert {layout.block for layout in expected} == {"basic", "toy", "wide"}
    assert count_feasible(space) == len(expected)
    assert set(enumerate_layouts(space)) == expected
    drawn = sample_uniform(space, 500, np.random.default_rng(0))
    assert set(drawn) <= expected
    assert np.array_equal(drawn.params, drawn.counted_params())


def test_layouts_are_found_by_their_numbers_ids_and_values(space: LayoutSpace) -> None:
    assert space.block_types == ("basic", "toy", "wide")
    assert layout_bounds(space)["block"] == (0, 2)
    index = index_of_space(space)
    for layout in index.at(np.arange(0, index.count, 37)):
        assert ResNetLayout.from_id(layout.layout_id) == layout
        assert decode_layout(space, encode_layout(space, layout)) == layout
        assert next(Neighbours(space).around(encode_layout(space, layout))) == (0, layout)


def test_no_layout_has_a_larger_checkpoint_than_the_forecast(space: LayoutSpace) -> None:
    recipe = Recipe(optimizer="adam")
    config = compose(None, None, {}, ["recipe.optimizer='adam'"]).model_copy(update={"space": space})
    assert max(checkpoint_bytes(layout, recipe) for layout in brute_force(space)) <= largest_checkpoint(config)


def test_a_study_proposes_and_trains_every_kind(space: LayoutSpace) -> None:
    joint = JointSpace(space)
    sampler = FeasibleSampler(optuna.samplers.RandomSampler(seed=0), joint, startup_trials=0)
    study = optuna.create_study(sampler=sampler)
    recipe, accuracies = small_recipe(stochastic_depth=0.2), dict[str, float]()
    for _ in range(20):
        trial = study.ask(joint.dimensions)
        layout = joint.decode(trial.params).layout
        assert space.contains(layout)
        if layout.block not in accuracies:
            accuracies[layout.block] = trained(small_trainer(recipe, layout=layout, epochs=1))[-1].val_accuracy
        study.tell(trial, accuracies[layout.block])
    assert accuracies.keys() == {"basic", "toy", "wide"}


@pytest.mark.parametrize("given", ["wild", 3, None])
def test_an_unknown_kind_is_refused_with_the_names_of_the_table(given: object) -> None:
    with pytest.raises(ValidationError) as caught:
        LayoutSpace.model_validate({"block_types": ["toy", given]})
    (error,) = caught.value.errors()
    assert (error["type"], error["loc"], error["input"]) == ("literal_error", ("block_types", 1), given)
    with pytest.raises(ConfigError) as refused:
        compose(None, None, {}, ["space.block_types=[basic,wild]"])
    kinds = "basic, preactivation, bottleneck, separable, blueprint, inverted, toy or wide"
    assert str(refused.value) == f"space.block_types.1: 'wild' given; use {kinds}"


def test_the_description_of_the_choice_lists_the_kinds() -> None:
    text = LayoutSpace.model_fields["block_types"].description or ""
    for name in set(KINDS) - set(TOYS):
        assert f"{name}, {KINDS[name].summary}" in text
    assert LayoutSpace().block_types == (DEFAULT_KIND,)
