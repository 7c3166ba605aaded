"""The neighbours of a proposal in a recipe space: nearest first, each once, against brute force."""

import itertools
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.examples import examples
from tests.support.recipe_fixtures import INFINITE, dimensions_of, finite_tables, products, space_of
from trainables.recipe import Recipe


@examples(30)
@given(table=finite_tables, data=st.data())
def test_neighbours_come_by_their_distance_over_what_they_read(table: dict[str, Any], data: st.DataObject) -> None:
    space = space_of(table)
    at = data.draw(st.sampled_from([places for places, _ in products(table)]))
    given = {name: at[name] for name in at if data.draw(st.booleans())}
    dims = dimensions_of(table)
    proposal = {}
    for name, place in given.items():
        index = [p for p, _ in dims[name]].index(place)
        sets = dims[name][index][1]
        proposal[name] = sets[name] if isinstance(table.get(name), dict) else index
    distances: dict[Recipe, float] = {}
    for places, recipe in products(table):
        unread = recipe.unread
        away = sum(
            (places[name] - place) ** 2
            for name, place in given.items()
            if not unread.issuperset({field for _, sets in dims[name] for field in sets})
        )
        distances[recipe.canonical()] = min(away, distances.get(recipe.canonical(), math.inf))
    found = list(space.nearby(proposal))
    assert [away for away, _ in found] == pytest.approx(sorted(distances.values()), abs=1e-12)
    assert {recipe: away for away, recipe in found} == pytest.approx(distances, abs=1e-12)
    assert len(found) == len(distances)
    assert found == list(space.nearby(proposal))


@examples(30)
@given(rate=st.floats(0.001, 1), momentum=st.floats(0.5, 1), batch=st.integers(1, 600), optimizer=st.integers(0, 1))
def test_the_nearest_recipe_of_a_continuous_space_is_the_proposal_within_bounds(
    rate: float, momentum: float, batch: int, optimizer: int
) -> None:
    space = space_of(INFINITE)
    proposal = {"learning_rate": rate, "momentum": momentum, "batch_size": batch, "optimizer": optimizer}
    distance, first = next(space.nearby(proposal))
    assert distance == 0
    assert first.learning_rate == min(max(rate, 0.01), 0.5)
    assert first.momentum == (min(max(momentum, 0.8), 0.99) if optimizer == 0 else 0.9)
    assert first.batch_size in range(64, 513, 64)
    assert abs(first.batch_size - min(max(batch, 64), 512)) <= 32
    assert space.decode(space.encode(first) or {}) == first


def test_a_continuous_space_moves_what_has_steps_first_and_never_ends() -> None:
    space = space_of(INFINITE)
    proposal = {"learning_rate": 0.1, "momentum": 0.85, "batch_size": 128, "optimizer": 0}
    found = list(itertools.islice(space.nearby(proposal), 2000))
    assert len({recipe for _, recipe in found}) == len(found)
    assert all(space.why_not(recipe) is None for _, recipe in found)
    stepped = found[: 2 * 8]
    assert {recipe.learning_rate for _, recipe in stepped} == {0.1}
    assert [away for away, _ in stepped] == sorted(away for away, _ in stepped)
    # After them the rate moves by 1/64 of its range, then 2/64 and so on, and by less when 64/64 is passed.
    moves = [abs(math.log(recipe.learning_rate / 0.1, 50)) * 64 for _, recipe in found[16:]]
    distinct = list(dict.fromkeys(round(move, 6) for move in moves if move))
    assert distinct[:10] == list(range(1, 11))
    assert min(distinct) == 0.5
