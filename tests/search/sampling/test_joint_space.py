"""Candidates of a search: layouts and recipes moved, drawn and listed together."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from search.errors import ConfigError
from search.layouts import LayoutSpace, enumerate_layouts
from search.layouts.dimensions import encode_layout
from search.recipes import RecipeSpace
from search.recipes.dimensions import Values
from search.sampling import JointSpace
from search.sampling.joint_space import Candidate, layout_dimensions, recipe_dimensions
from search.sampling.neighbours import TIE, Neighbours
from tests.support.examples import examples
from tests.support.recipe_fixtures import INFINITE, finite_tables, space_of
from tests.support.zoo_fixtures import brute_force, even, nothing, spaces

SMALL: dict[str, Any] = {"stages": [2, 3], "blocks": [1, 2], "channels": [4, 8], "min_params": 3_000}
RECIPES: dict[str, Any] = {"optimizer": ["sgd", "adam"], "momentum": [0.5, 0.9], "cutout": [0, 4, 8]}


def joint_space_of(recipes: dict[str, Any] | str = RECIPES, **changed: Any) -> JointSpace:
    return JointSpace(LayoutSpace.model_validate(SMALL | changed), space_of(recipes))


def values_of(joint: JointSpace, candidate: Candidate) -> Values:
    values = joint.encode(candidate)
    assert values is not None
    return values


def every(joint: JointSpace) -> set[Candidate]:
    """All candidates, from the brute force of layouts and the list of recipes."""
    return set(itertools.starmap(Candidate, itertools.product(brute_force(joint.space), joint.recipes.in_order())))


@examples(20)
@given(space=spaces(max_stages=3), table=finite_tables)
def test_points_are_listed_once_and_each_is_what_its_values_decode_to(
    space: LayoutSpace, table: dict[str, Any]
) -> None:
    joint = JointSpace(space, space_of(table))
    expected = every(joint)
    listed = list(itertools.islice(joint.in_order(), 500))
    assert len(set(listed)) == len(listed) == min(len(expected), 500)
    assert set(listed) <= expected
    assert joint.size == len(expected)
    for candidate in listed:
        values = joint.encode(candidate)
        assert values is not None
        assert values.keys() == joint.dimensions.keys()
        assert joint.decode(values) == candidate


def test_the_dimensions_are_those_of_layouts_and_then_of_recipes() -> None:
    joint = joint_space_of()
    assert list(joint.dimensions) == [*layout_dimensions(joint.space), *recipe_dimensions(joint.recipes)]
    assert {"optimizer", "momentum", "cutout"} == set(recipe_dimensions(joint.recipes))


def test_a_momentum_that_the_optimizer_does_not_read_makes_no_new_point() -> None:
    joint = joint_space_of()
    values = values_of(joint, next(joint.in_order()))
    adam, sgd = values | {"optimizer": 1}, values | {"optimizer": 0}
    assert joint.decode(adam | {"momentum": 0}) == joint.decode(adam | {"momentum": 1})
    assert joint.decode(sgd | {"momentum": 0}) != joint.decode(sgd | {"momentum": 1})
    assert joint.size == len(every(joint)) == len(set(brute_force(joint.space))) * (2 * 3 + 3)


def test_what_has_no_place_is_not_encoded() -> None:
    joint = joint_space_of()
    layout, recipe = next(joint.in_order())
    assert joint.encode(Candidate(layout, recipe.model_copy(update={"cutout": 6}))) is None
    outside = next(brute_force(LayoutSpace.model_validate(SMALL | {"channels": [6]})))
    assert joint.encode(Candidate(outside, recipe)) is None


def test_the_nearest_points_come_in_the_order_of_the_sums_of_both_distances() -> None:
    joint = joint_space_of(max_params=8_000)
    generator = np.random.default_rng(0)
    for _ in range(2):
        proposal = {n: int(generator.integers(d.low, d.high + 1)) for n, d in joint.dimensions.items()}  # type: ignore[attr-defined]
        of_layout = {layout: away for away, layout in Neighbours(joint.space).around(proposal)}
        of_recipe = {recipe: away for away, recipe in joint.recipes.nearby(proposal)}
        sums = sorted(a + b for a, b in itertools.product(of_layout.values(), of_recipe.values()))
        used: set[Candidate] = set()
        for expected in sums[:40]:
            candidate = joint.nearest(proposal, used)
            assert candidate is not None
            assert candidate not in used
            distance = of_layout[candidate.layout] + of_recipe[candidate.recipe]
            assert distance == pytest.approx(expected, abs=2 * TIE)
            used.add(candidate)


def test_nearest_goes_through_every_point_once_and_then_there_is_none() -> None:
    joint = joint_space_of(max_params=5_000)
    used: set[Candidate] = set()
    while (candidate := joint.nearest({"width_1": 1, "cutout": 1}, used)) is not None:
        assert candidate not in used
        used.add(candidate)
    assert used == every(joint)


@pytest.mark.parametrize("predicate", [None, even])
def test_draws_are_uniform_over_the_unused_points(predicate: object) -> None:
    joint = joint_space_of({"cutout": [0, 4, 8]}, max_params=7_000, predicate=predicate)
    listed = sorted(every(joint), key=lambda point: (point[0].layout_id, point[1].cutout))
    used = set(listed[::3])
    rest = [point for point in listed if point not in used]
    generator, drawn = np.random.default_rng(0), Counter[Candidate]()
    for _ in range(25 * len(rest)):
        candidate = joint.draw(generator, used)
        assert candidate is not None
        drawn[candidate] += 1
    assert drawn.keys() == set(rest)
    assert chisquare([drawn[point] for point in rest]).pvalue > 1e-4


def test_the_last_points_are_drawn_uniformly_too_and_then_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.sampling.joint_space.MOST_REPEATS", 3)
    joint = joint_space_of({"cutout": [0, 4]}, max_params=6_000)
    listed = sorted(every(joint), key=lambda point: (point[0].layout_id, point[1].cutout))
    last = listed[1 :: len(listed) // 4]
    used = set(listed) - set(last)
    generator = np.random.default_rng(0)
    drawn = Counter(joint.draw(generator, used) for _ in range(100))
    assert drawn.keys() == set(last)
    assert chisquare([drawn[point] for point in last]).pvalue > 1e-4
    assert joint.draw(generator, set(listed)) is None


def test_a_range_gives_points_without_end() -> None:
    joint = joint_space_of(INFINITE, stages=[2], blocks=[1, 1], channels=[16], min_params=0)
    assert joint.size is None
    used: set[Candidate] = set()
    generator = np.random.default_rng(0)
    for _ in range(60):
        for found in (joint.draw(generator, used), joint.nearest({"learning_rate": 0.1, "optimizer": 0}, used)):
            assert found is not None
            assert joint.decode(values_of(joint, found)) == found
            assert found not in used
            used.add(found)
    with pytest.raises(ConfigError, match="grid cannot list every value of the range"):
        next(joint.in_order())


@pytest.mark.parametrize("changed", [{"min_params": 10**6}, {"predicate": nothing}])
def test_nothing_is_drawn_from_an_empty_space(changed: dict[str, Any]) -> None:
    joint = joint_space_of(**changed)
    assert joint.draw(np.random.default_rng(0), set()) is None
    assert joint.nearest({}, set()) is None
    assert list(joint.in_order()) == []
    assert joint.size == 0


@examples(15)
@given(space=spaces(max_stages=3), data=st.data())
def test_without_recipes_points_are_layouts(space: LayoutSpace, data: st.DataObject) -> None:
    joint = JointSpace(space)
    assert joint.recipes == RecipeSpace()
    layouts = list(enumerate_layouts(space))
    assert [candidate.layout for candidate in joint.in_order()] == layouts
    if layouts:
        layout = data.draw(st.sampled_from(layouts))
        assert joint.nearest(encode_layout(space, layout), ()) == Candidate(layout, RecipeSpace().fixed)
