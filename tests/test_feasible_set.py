"""The feasible set: projections and draws against brute force, and the dimensions that stand for a layout."""

from collections import Counter
from functools import partial
from itertools import islice

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from model_zoo import ResNetLayout
from search.encoding import Proposal, decode, distributions, encode
from search.feasible import FeasibleSet
from search.space import SearchSpace, enumerate_layouts
from tests.zoo_fixtures import brute_force, even, nothing, spaces, unbounded

untimed = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])


def proposals(space: SearchSpace) -> st.SearchStrategy[Proposal]:
    """Values for some or all dimensions of a layout with the most stages, infeasible ones included."""
    dimensions = distributions(space, max(space.stages))
    values = {name: st.integers(d.low, d.high) for name, d in dimensions.items()}
    return st.one_of(st.fixed_dictionaries(values), st.fixed_dictionaries({}, optional=values))


def distance(space: SearchSpace, proposal: Proposal, layout: ResNetLayout) -> float:
    """The squared distance that `FeasibleSet.nearest` documents, from one layout's dimensions."""
    total = 0.0
    dimensions, values = distributions(space, layout.stages), encode(space, layout)
    for name in proposal.keys() & values.keys():
        steps = dimensions[name].high - dimensions[name].low
        if name.startswith("stride"):  # both lists of strides are measured by the longer one
            steps = max(len(space.strides), len(space.first_strides)) - 1
        total += (2 if name == "stages" else 1) * ((proposal[name] - values[name]) / steps) ** 2
    return total


@untimed
@given(space=spaces(max_stages=3), data=st.data())
def test_the_nearest_layout_is_the_nearest_of_all(space: SearchSpace, data: st.DataObject) -> None:
    layouts = sorted(set(brute_force(space)), key=lambda layout: layout.layout_id)
    feasible = FeasibleSet(space)
    for _ in range(3):
        proposal = data.draw(proposals(space))
        used = set(layouts[:: data.draw(st.sampled_from([1, 2, 3]))]) if data.draw(st.booleans()) else set()
        rest = [layout for layout in layouts if layout not in used]
        found = feasible.nearest(proposal, used)
        if not rest:
            assert found is None
        else:
            assert found in rest
            assert distance(space, proposal, found) == pytest.approx(
                min(map(partial(distance, space, proposal), rest)), abs=1e-12
            )


def test_among_layouts_of_six_stages_too_the_nearest_is_the_nearest_of_all() -> None:
    space = SearchSpace.model_validate(
        {
            "stages": [6],
            "blocks": [1, 4],
            "channels": [8, 16],
            "channel_order": "nondecreasing",
            "min_params": 40_000,
            "max_params": 43_000,
        }
    )
    layouts, feasible = list(enumerate_layouts(space)), FeasibleSet(space)
    assert len(layouts) > 1000
    generator = np.random.default_rng(0)
    used: set[ResNetLayout] = set()
    for _ in range(20):
        dimensions = distributions(space, 6)
        proposal = {name: int(generator.integers(d.low, d.high + 1)) for name, d in dimensions.items()}
        found = feasible.nearest(proposal, used)
        assert found is not None
        by_distance = [(distance(space, proposal, layout), layout) for layout in layouts if layout not in used]
        assert distance(space, proposal, found) == pytest.approx(min(d for d, _ in by_distance), abs=1e-12)
        used.update(layout for _, layout in sorted(by_distance, key=lambda pair: pair[0])[:20])


def test_ties_go_to_the_first_in_enumeration_order() -> None:
    space = SearchSpace.model_validate(
        {"stages": [4], "blocks": [1, 5], "channels": [4], "min_params": 0, "max_params": 10**6}
    )
    layouts, feasible = list(enumerate_layouts(space)), FeasibleSet(space)
    proposal, used = {f"blocks_{stage}": 3 for stage in range(1, 5)}, set[ResNetLayout]()
    for _ in range(60):
        found = feasible.nearest(proposal, used)
        assert found is not None
        key = partial(distance, space, proposal)
        assert found == min(
            (layout for layout in layouts if layout not in used), key=lambda layout: round(key(layout), 9)
        )
        used.add(found)


@untimed
@given(space=spaces())
def test_numbers_follow_the_enumeration(space: SearchSpace) -> None:
    window = space.model_copy(update={"predicate": None})
    layouts, feasible = list(enumerate_layouts(window)), FeasibleSet(space)
    assert feasible.count == len(layouts)
    assert [feasible.layout_at(index) for index in range(feasible.count)] == layouts
    for index in (-1, feasible.count):
        with pytest.raises(IndexError, match=f"layout {index:,} of {feasible.count:,}"):
            feasible.layout_at(index)


@pytest.mark.parametrize("predicate", [None, even])
def test_draws_are_uniform_over_the_feasible_unused_layouts(predicate: object) -> None:
    space = SearchSpace.model_validate(
        {
            "stages": [2, 3],
            "blocks": [1, 3],
            "channels": [4, 8],
            "min_params": 3_000,
            "max_params": 8_000,
            "predicate": predicate,
        }
    )
    layouts = list(enumerate_layouts(space))
    used = set(layouts[::3])
    rest = [layout for layout in layouts if layout not in used]
    assert 15 < len(rest) < 100
    feasible, generator = FeasibleSet(space), np.random.default_rng(1)
    drawn = Counter(feasible.draw(generator, used) for _ in range(100 * len(rest)))
    assert drawn.keys() == set(rest)
    assert chisquare([drawn[layout] for layout in rest]).pvalue > 0.001


def test_the_last_layouts_of_a_large_space_are_drawn_uniformly_too() -> None:
    space = SearchSpace.model_validate(
        {"stages": [3], "blocks": [1, 16], "channels": [4, 8], "min_params": 0, "max_params": 10**6}
    )
    layouts = list(enumerate_layouts(space))
    last = layouts[1::12_000]
    used = set(layouts) - set(last)
    assert len(layouts) > 10_000  # so that 1,000 draws are refused in a row
    feasible, generator = FeasibleSet(space), np.random.default_rng(0)
    drawn = Counter(feasible.draw(generator, used) for _ in range(15))
    assert drawn.keys() == set(last)
    assert feasible.draw(generator, set(layouts)) is None


def test_nothing_is_drawn_from_a_space_without_feasible_layouts() -> None:
    empty = SearchSpace.model_validate({"stages": [2], "blocks": [1, 2], "channels": [4], "min_params": 10**6})
    refused = SearchSpace.model_validate({"stages": [2], "blocks": [1, 2], "channels": [64], "min_params": 0})
    for space in (empty, refused.model_copy(update={"predicate": nothing})):
        feasible = FeasibleSet(space)
        assert feasible.draw(np.random.default_rng(0), set()) is None
        assert feasible.nearest({"blocks_1": 2, "blocks_2": 2}, set()) is None


@untimed
@given(space=spaces(max_stages=3))
def test_a_layout_and_its_dimensions_are_inverse(space: SearchSpace) -> None:
    for layout in islice(brute_force(unbounded(space)), 200):
        proposal = encode(space, layout)
        dimensions = distributions(space, layout.stages)
        assert proposal.keys() == dimensions.keys()
        assert all(dimensions[name].low <= value <= dimensions[name].high for name, value in proposal.items())
        assert decode(space, proposal) == layout
