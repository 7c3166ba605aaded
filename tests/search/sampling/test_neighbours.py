"""Layouts in order of distance from a proposal: against brute force; the dimensions that stand for a layout."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Mapping
from itertools import islice, pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import IntDistribution

from model_zoo import PRESETS, ResNetLayout
from model_zoo.blocks import KINDS
from search.layouts import LayoutSpace, enumerate_layouts, sample_uniform
from search.layouts.dimensions import DIMENSIONS, decode_layout, encode_layout, layout_bounds
from search.layouts.index import index_of_space
from search.sampling.joint_space import layout_dimensions
from search.sampling.neighbours import TIE, Neighbours
from tests.support.examples import examples
from tests.support.zoo_fixtures import brute_force, even, spaces, unbounded

DEEP: dict[str, Any] = {
    "stages": [6],
    "blocks": [1, 4],
    "channels": [8, 16],
    "min_params": 40_000,
    "max_params": 42_000,
}


def proposals(space: LayoutSpace) -> st.SearchStrategy[dict[str, int]]:
    """Values for some or all dimensions, infeasible ones included."""
    values = {name: st.integers(low, high) for name, (low, high) in layout_bounds(space).items()}
    return st.one_of(st.fixed_dictionaries(values), st.fixed_dictionaries({}, optional=values))


def distance(space: LayoutSpace, proposal: Mapping[str, float], layout: ResNetLayout) -> float:
    """The squared distance that `search.sampling.neighbours` defines, from one layout's dimensions."""
    total, values = 0.0, encode_layout(space, layout)
    unread = {DIMENSIONS.get(field, field) for field in KINDS[layout.block].unread}
    for name, (low, high) in layout_bounds(space).items():
        kind, _, stage = name.rpartition("_")
        missing = kind in ("width", "stride", "kernel") and int(stage) > layout.stages
        if name in proposal and not missing and name not in unread:
            total += ((proposal[name] - values[name]) / (high - low)) ** 2
    return total


def assert_in_order(space: LayoutSpace, proposal: Mapping[str, float], feasible: set[ResNetLayout]) -> None:
    """That all of `feasible`, and each once, come in the order of their distances from `proposal`."""
    found = list(Neighbours(space).around(proposal))
    assert Counter(layout for _, layout in found) == Counter(feasible)
    for away, layout in found:
        assert away == pytest.approx(distance(space, proposal, layout), abs=TIE)
    assert all(before[0] <= after[0] + 2 * TIE for before, after in pairwise(found))


@examples(80)
@given(space=spaces(), data=st.data())
def test_all_feasible_layouts_come_once_in_the_order_of_their_distances(
    space: LayoutSpace, data: st.DataObject
) -> None:
    assert_in_order(space, data.draw(proposals(space)), set(brute_force(space)))


@pytest.mark.parametrize(
    "changed", [{}, {"predicate": even, "max_depth": 30}, {"channel_order": "free", "max_params": 40_500}]
)
@pytest.mark.parametrize("named", [1.0, 0.5])
def test_layouts_of_six_stages_too_come_in_the_order_of_their_distances(changed: dict[str, Any], named: float) -> None:
    space = LayoutSpace.model_validate(DEEP | changed)
    feasible = set(enumerate_layouts(space))
    assert len(feasible) > 250
    generator = np.random.default_rng(0)
    bounds = layout_bounds(space).items()
    proposal = {n: int(generator.integers(low, high + 1)) for n, (low, high) in bounds if generator.random() < named}
    assert_in_order(space, proposal, feasible)


def test_what_is_nearest_to_a_proposal_out_of_order_is_in_order() -> None:
    space = LayoutSpace.model_validate(DEEP)
    proposal = {f"width_{i}": i % 2 for i in range(1, 7)} | {f"blocks_{i}": 4 for i in range(1, 7)}
    _, nearest = next(Neighbours(space).around(proposal))
    assert not space.contains(decode_layout(space, proposal))
    assert space.contains(nearest)
    assert_in_order(space, proposal, set(enumerate_layouts(space)))


def test_a_stage_that_is_absent_before_one_that_is_there_is_moved_to_a_layout() -> None:
    space = LayoutSpace.model_validate(
        {"stages": [2, 4, 5], "blocks": [1, 2], "channels": [4, 8], "min_params": 4_000, "max_params": 9_000}
    )
    proposal = {"blocks_1": 1, "blocks_2": 2, "blocks_3": 0, "blocks_4": 2, "blocks_5": 0, "width_4": 1}
    assert decode_layout(space, proposal).stages == 2
    assert_in_order(space, proposal, set(brute_force(space)))


def test_layouts_of_a_list_come_in_the_order_of_their_distances() -> None:
    space = LayoutSpace.model_validate(
        {"layouts": list(PRESETS), "min_params": 100_000, "max_params": 10**7, "max_depth": 40}
    )
    feasible = set(brute_force(space))
    assert 5 < len(feasible) < len(PRESETS)
    for proposal in ({}, {"blocks_1": 16, "width_1": 0}, encode_layout(space, PRESETS["cerberus-resnet90"])):
        assert_in_order(space, proposal, feasible)


def test_around_a_feasible_layout_it_is_itself_the_first() -> None:
    space = LayoutSpace()
    neighbours = Neighbours(space)
    for layout in sample_uniform(space, 5, np.random.default_rng(4)):
        found = list(islice(neighbours.around(encode_layout(space, layout)), 300))
        assert found[0] == (pytest.approx(0, abs=TIE), layout)
        assert len({layout for _, layout in found}) == 300
        assert all(space.contains(layout) for _, layout in found)


def test_the_nearest_of_the_default_space_is_the_nearest_of_all_that_were_drawn() -> None:
    space, generator = LayoutSpace(), np.random.default_rng(0)
    drawn = list(sample_uniform(space, 3_000, generator))
    neighbours = Neighbours(space)
    for _ in range(5):
        proposal = {n: int(generator.integers(low, high + 1)) for n, (low, high) in layout_bounds(space).items()}
        away, nearest = next(neighbours.around(proposal))
        assert away == pytest.approx(distance(space, proposal, nearest), abs=TIE)
        assert away <= min(distance(space, proposal, layout) for layout in drawn) + TIE


def test_neighbours_stay_the_same_when_the_index_of_their_space_is_built_anew() -> None:
    # What is kept is found by the identity of arrays, which a new index may get from one that was freed.
    space = LayoutSpace(
        stages=(3, 4), blocks=(1, 3), channels=(8, 16, 24, 32), skip_kernels=(1, 3), min_params=5000, max_params=60000
    )
    kept, proposal = Neighbours(space), {"blocks_1": 2, "width_1": 1, "width_2": 2}
    for _ in range(10):
        assert list(islice(kept.around(proposal), 20)) == list(islice(Neighbours(space).around(proposal), 20))
        index_of_space.cache_clear()
        gc.collect()


def test_an_empty_space_has_no_neighbours() -> None:
    space = LayoutSpace.model_validate({"stages": [2], "blocks": [1, 2], "channels": [4], "min_params": 10**6})
    assert list(Neighbours(space).around({"blocks_1": 1})) == []


@examples(60)
@given(space=spaces(max_stages=5))
def test_a_layout_and_its_values_are_inverse(space: LayoutSpace) -> None:
    dimensions = layout_dimensions(space)
    assert all(isinstance(d, IntDistribution) and not d.single() for d in dimensions.values())
    offered = set(islice(brute_force(unbounded(space)), 200))
    encoded = [encode_layout(space, layout) for layout in offered]
    for layout, values in zip(offered, encoded, strict=True):
        assert values.keys() == dimensions.keys()
        assert all(dimensions[name].low <= value <= dimensions[name].high for name, value in values.items())
        assert decode_layout(space, values) == layout
    assert len({tuple(values.items()) for values in encoded}) == len(offered)


def test_a_stage_that_a_layout_does_not_have_is_one_of_zero_blocks() -> None:
    space = LayoutSpace.model_validate({"stages": [2, 4], "blocks": [3, 5], "channels": [4, 8], "min_params": 0})
    bounds = layout_bounds(space)
    assert [bounds[f"blocks_{i}"] for i in range(1, 5)] == [(3, 5), (3, 5), (0, 3), (0, 3)]
    short = encode_layout(space, ResNetLayout((3, 5), (4, 8)))
    long = encode_layout(space, ResNetLayout((3, 5, 3, 5), (4, 8, 8, 8)))
    assert [short[f"blocks_{i}"] for i in range(1, 5)] == [3, 5, 0, 0]
    assert [long[f"blocks_{i}"] for i in range(1, 5)] == [3, 5, 1, 3]
