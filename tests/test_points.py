"""Points of a search: layouts and recipes moved, drawn and listed together."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from search.encoding import encode_layout, layout_dimensions
from search.errors import ConfigError
from search.layouts import LayoutSpace, enumerate_layouts
from search.neighbours import TIE, Neighbours
from search.points import Point, SearchPoints
from search.recipes import RecipeSpace
from tests.recipe_fixtures import INFINITE, finite_tables, space_of
from tests.zoo_fixtures import brute_force, even, nothing, spaces

SMALL: dict[str, Any] = {"stages": [2, 3], "blocks": [1, 2], "channels": [4, 8], "min_params": 3_000}
RECIPES: dict[str, Any] = {"optimizer": ["sgd", "adam"], "momentum": [0.5, 0.9], "cutout": [0, 4, 8]}


def points_of(recipes: dict[str, Any] | str = RECIPES, **changed: Any) -> SearchPoints:
    return SearchPoints(LayoutSpace.model_validate(SMALL | changed), space_of(recipes))


def every(points: SearchPoints) -> set[Point]:
    """All points, from the brute force of layouts and the list of recipes."""
    return set(itertools.product(brute_force(points.space), points.recipes.in_order()))


@settings(max_examples=20)
@given(space=spaces(max_stages=3), table=finite_tables)
def test_points_are_listed_once_and_each_is_what_its_values_decode_to(
    space: LayoutSpace, table: dict[str, Any]
) -> None:
    points = SearchPoints(space, space_of(table))
    expected = every(points)
    listed = list(itertools.islice(points.in_order(), 500))
    decoded = [points.decode(values) for values in listed]
    assert len(set(decoded)) == len(listed) == min(len(expected), 500)
    assert set(decoded) <= expected
    assert points.size == len(expected)
    for values, point in zip(listed, decoded, strict=True):
        assert values.keys() == points.dimensions.keys()
        assert points.encode(*point) == values
        assert points.key(values) == point


def test_the_dimensions_are_those_of_layouts_and_then_of_recipes() -> None:
    points = points_of()
    assert list(points.dimensions) == [*layout_dimensions(points.space), *points.recipes.dimensions]
    assert {"optimizer", "momentum", "cutout"} == set(points.recipes.dimensions)


def test_a_momentum_that_the_optimizer_does_not_read_makes_no_new_point() -> None:
    points = points_of()
    values = next(points.in_order())
    adam, sgd = values | {"optimizer": 1}, values | {"optimizer": 0}
    assert points.key(adam | {"momentum": 0}) == points.key(adam | {"momentum": 1})
    assert points.key(sgd | {"momentum": 0}) != points.key(sgd | {"momentum": 1})
    assert points.size == len(every(points)) == len(set(brute_force(points.space))) * (2 * 3 + 3)


def test_what_has_no_place_is_not_encoded() -> None:
    points = points_of()
    layout, recipe = points.decode(next(points.in_order()))
    assert points.encode(layout, recipe.model_copy(update={"cutout": 6})) is None
    outside = next(brute_force(LayoutSpace.model_validate(SMALL | {"channels": [6]})))
    assert points.encode(outside, recipe) is None


def test_the_nearest_points_come_in_the_order_of_the_sums_of_both_distances() -> None:
    points = points_of(max_params=8_000)
    generator = np.random.default_rng(0)
    for _ in range(2):
        proposal = {n: int(generator.integers(d.low, d.high + 1)) for n, d in points.dimensions.items()}  # type: ignore[attr-defined]
        of_layout = {layout: away for away, layout in Neighbours(points.space).around(proposal)}
        of_recipe = {recipe: away for away, recipe in points.recipes.nearby(proposal)}
        sums = sorted(a + b for a, b in itertools.product(of_layout.values(), of_recipe.values()))
        used: set[Point] = set()
        for expected in sums[:40]:
            values = points.nearest(proposal, used)
            assert values is not None
            layout, recipe = point = points.decode(values)
            assert point not in used
            assert of_layout[layout] + of_recipe[recipe] == pytest.approx(expected, abs=2 * TIE)
            used.add(point)


def test_nearest_goes_through_every_point_once_and_then_there_is_none() -> None:
    points = points_of(max_params=5_000)
    used: set[Point] = set()
    while (values := points.nearest({"width_1": 1, "cutout": 1}, used)) is not None:
        assert points.key(values) not in used
        used.add(points.key(values))
    assert used == every(points)


@pytest.mark.parametrize("predicate", [None, even])
def test_draws_are_uniform_over_the_unused_points(predicate: object) -> None:
    points = points_of({"cutout": [0, 4, 8]}, max_params=7_000, predicate=predicate)
    listed = sorted(every(points), key=lambda point: (point[0].layout_id, point[1].cutout))
    used = set(listed[::3])
    rest = [point for point in listed if point not in used]
    generator, drawn = np.random.default_rng(0), Counter[Point]()
    for _ in range(25 * len(rest)):
        values = points.draw(generator, used)
        assert values is not None
        drawn[points.decode(values)] += 1
    assert drawn.keys() == set(rest)
    assert chisquare([drawn[point] for point in rest]).pvalue > 1e-4


def test_the_last_points_are_drawn_uniformly_too_and_then_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.points.MOST_REPEATS", 3)
    points = points_of({"cutout": [0, 4]}, max_params=6_000)
    listed = sorted(every(points), key=lambda point: (point[0].layout_id, point[1].cutout))
    last = listed[1 :: len(listed) // 4]
    used = set(listed) - set(last)
    generator = np.random.default_rng(0)
    drawn = Counter(points.key(points.draw(generator, used) or {}) for _ in range(100))
    assert drawn.keys() == set(last)
    assert chisquare([drawn[point] for point in last]).pvalue > 1e-4
    assert points.draw(generator, set(listed)) is None


def test_a_range_gives_points_without_end() -> None:
    points = points_of(INFINITE, stages=[2], blocks=[1, 1], channels=[16], min_params=0)
    assert points.size is None
    used: set[Point] = set()
    generator = np.random.default_rng(0)
    for _ in range(60):
        for values in (points.draw(generator, used), points.nearest({"learning_rate": 0.1, "optimizer": 0}, used)):
            assert values is not None
            assert points.encode(*points.decode(values)) is not None
            assert points.key(values) not in used
            used.add(points.key(values))
    with pytest.raises(ConfigError, match="grid needs choices"):
        next(points.in_order())


@pytest.mark.parametrize("changed", [{"min_params": 10**6}, {"predicate": nothing}])
def test_nothing_is_drawn_from_an_empty_space(changed: dict[str, Any]) -> None:
    points = points_of(**changed)
    assert points.draw(np.random.default_rng(0), set()) is None
    assert points.nearest({}, set()) is None
    assert list(points.in_order()) == []
    assert points.size == 0


@settings(max_examples=15)
@given(space=spaces(max_stages=3), data=st.data())
def test_without_recipes_points_are_layouts(space: LayoutSpace, data: st.DataObject) -> None:
    points = SearchPoints(space)
    assert points.recipes == RecipeSpace()
    layouts = list(enumerate_layouts(space))
    assert [points.decode(values)[0] for values in points.in_order()] == layouts
    if layouts:
        layout = data.draw(st.sampled_from(layouts))
        assert points.nearest(encode_layout(space, layout), ()) == encode_layout(space, layout)
