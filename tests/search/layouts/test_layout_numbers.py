"""The numbered layouts of a space: counts, walks, numbers and columns against brute force, however large the space."""

from __future__ import annotations

import itertools
import tracemalloc
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from model_zoo import count_params
from model_zoo.complexity import head_params, stage_params, stem_params
from search.layouts import LayoutSpace, count_feasible, enumerate_layouts
from search.layouts.batch import LayoutBatch, joined
from search.layouts.chains import chains
from search.layouts.enumeration import (
    count_in_window,
    count_total,
    count_up_to,
    ends_in_window,
    enumerate_batches,
)
from search.layouts.index import index_of_space
from tests.support.examples import examples
from tests.support.zoo_fixtures import FIGURES, brute_force, spaces, unbounded

VAST: dict[str, Any] = {
    "stages": [6],
    "channels": list(range(8, 73, 8)),
    "classes": 8,
    "min_params": 400_000,
    "max_params": 1_500_000,
}
UNIT = 8
"""All terms of `VAST` are multiples of it, for widths and classes are."""


def in_window_only(space: LayoutSpace) -> LayoutSpace:
    """`space` with its parameter window as the only condition."""
    window = {name: getattr(space, name) for name in ("min_params", "max_params")}
    return unbounded(space).model_copy(update=window)


@examples(60)
@given(space=spaces())
def test_counts_and_walks_are_those_of_brute_force(space: LayoutSpace) -> None:
    expected = set(brute_force(space))
    walked = list(enumerate_layouts(space))
    assert Counter(walked) == Counter(expected)
    assert [layout for batch in enumerate_batches(space) for layout in batch] == walked
    assert count_feasible(space) == len(expected)
    assert count_in_window(space) == len(set(brute_force(in_window_only(space))))
    everything = unbounded(space)
    assert count_total(space) == count_total(everything) == len(set(brute_force(everything)))


@examples(25)
@given(space=spaces(max_stages=5))
def test_walks_are_stable_for_equal_spaces(space: LayoutSpace) -> None:
    walked = list(enumerate_layouts(space))
    same = LayoutSpace.model_validate_json(space.model_dump_json())
    assert list(enumerate_layouts(same)) == walked


@examples(40)
@given(space=spaces(), data=st.data())
def test_layouts_are_looked_up_by_their_numbers_in_the_order_of_the_walk(
    space: LayoutSpace, data: st.DataObject
) -> None:
    space = in_window_only(space)
    numbered = list(enumerate_layouts(space))
    index = index_of_space(space)
    assert index.count == len(numbered)
    if numbered:
        numbers = data.draw(st.lists(st.integers(0, len(numbered) - 1), min_size=1, max_size=20))
        assert list(index.at(np.array(numbers))) == [numbered[number] for number in numbers]


@examples(40)
@given(space=spaces())
def test_columns_are_the_figures_of_each_layout(space: LayoutSpace) -> None:
    batches = list(enumerate_batches(space))
    if not batches:
        return
    for batch in (*batches, joined(batches), LayoutBatch.of(list(joined(batches)))):
        listed = list(batch)
        columns = {
            "params": batch.params,
            "depth": batch.depth,
            "flops": batch.flops(space.image_size),
            "activation_bytes": batch.activation_bytes(space.image_size),
        }
        assert columns.keys() == FIGURES.keys()
        for name, column in columns.items():
            assert column.tolist() == [FIGURES[name](layout, space.image_size) for layout in listed]
        assert batch.counted_params().tolist() == batch.params.tolist()


@examples(40)
@given(space=spaces(), data=st.data())
def test_the_ends_and_the_counts_up_to_an_edge_are_those_of_brute_force(
    space: LayoutSpace, data: st.DataObject
) -> None:
    space = in_window_only(space)
    params = sorted(count_params(layout) for layout in set(brute_force(space)))
    edges = data.draw(st.lists(st.integers(space.min_params - 2, space.max_params + 2), max_size=5))
    assert count_up_to(space, edges) == [sum(p <= edge for p in params) for edge in edges]
    ends = ends_in_window(space)
    assert (ends is None) == (not params)
    if ends is not None:
        assert [count_params(layout) for layout in ends] == [params[0], params[-1]]


def test_layouts_whose_stem_is_a_little_narrower_than_the_widest_stage_are_counted() -> None:
    # Their first stage has a skip convolution, which one behind the widest stem has not, so they are the largest.
    space = LayoutSpace.model_validate(
        {
            "stages": [2],
            "blocks": [1, 1],
            "channels": [64],
            "stem_channels": [0, 60],
            "strides": [1],
            "skip_kernels": [3],
            "min_params": 0,
        }
    )
    assert set(enumerate_layouts(space)) == set(brute_force(space))
    assert count_feasible(space) == 2


def by_parameters(space: LayoutSpace) -> NDArray[np.int64]:
    """How many layouts have so many units of parameters, (max_params / UNIT + 1,), one stage after the other.

    For a space with one number of stages, nondecreasing widths and only blocks and widths to choose.
    """
    size = space.max_params // UNIT + 1
    blocks = np.arange(space.blocks[0], space.blocks[1] + 1)

    def terms(c_in: int, width: int, stride: int) -> list[int]:
        found = stage_params(c_in, width, blocks, 3, stride)
        assert not (found % UNIT).any()
        return [int(term) // UNIT for term in found]

    def shifted(counts: NDArray[np.int64], shift: int) -> NDArray[np.int64]:
        return np.concatenate([np.zeros(min(shift, size), np.int64), counts[: max(0, size - shift)]])

    one = np.zeros(size, np.int64)
    one[0] = 1
    ending = {
        width: sum(
            shifted(one, term + stem_params(space.in_channels, width) // UNIT) for term in terms(width, width, 1)
        )
        for width in space.channels
    }
    for _ in range(1, space.stages[0]):
        longer = {width: np.zeros(size, np.int64) for width in space.channels}
        for before, counts in ending.items():
            for width in (w for w in space.channels if w >= before):
                for term in terms(before, width, 2):
                    if term < size:
                        longer[width][term:] += counts[: size - term]
        ending = longer
    return np.sum([shifted(ending[w], head_params(w, space.classes) // UNIT) for w in space.channels], axis=0)


def test_more_than_ten_to_the_ten_layouts_are_counted_as_by_adding_up_stage_after_stage() -> None:
    space = LayoutSpace.model_validate(VAST)
    by_units = by_parameters(space)
    tracemalloc.start()
    try:
        counted = count_in_window(space)
        edges = np.linspace(space.min_params, space.max_params, 7).astype(int).tolist()
        up_to = count_up_to(space, edges)
        ends = ends_in_window(space)
        first = list(itertools.islice(enumerate_layouts(space), 1000))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    least = -(-space.min_params // UNIT)
    assert counted == by_units[least:].sum() > 10**10
    assert up_to == [int(by_units[least : edge // UNIT + 1].sum()) for edge in edges]
    there = np.flatnonzero(by_units[least:]) + least
    assert ends is not None
    assert [count_params(layout) for layout in ends] == [there[0] * UNIT, there[-1] * UNIT]
    assert len(set(first)) == 1000
    assert all(space.contains(layout) for layout in first)
    assert peak < 2**30


def test_layouts_of_a_vast_space_are_looked_up_by_their_numbers() -> None:
    space = LayoutSpace.model_validate(VAST)
    count = count_in_window(space)
    numbers = np.array([*np.random.default_rng(0).integers(count, size=200).tolist(), 0, count - 1])
    found = list(index_of_space(space).at(numbers))
    assert all(space.contains(layout) for layout in found)
    assert len(set(found)) == len(set(numbers.tolist()))


def test_the_default_space_has_the_documented_size() -> None:
    assert (count_total(LayoutSpace()), count_feasible(LayoutSpace())) == (66_772_992, 2_392_052)


def test_the_terms_of_stages_are_the_same_whether_they_are_kept_or_counted_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    space = LayoutSpace.model_validate({"strides": [1, 2], "kernels": [3, 5], "channels": [16, 24, 64]})
    kept = [[chain.terms_after(i) for i in range(3)] for chain in chains(space)]
    monkeypatch.setattr("search.layouts.chains.MOST_KEPT", 0)
    for chain, terms in zip(chains(space), kept, strict=True):
        assert all(np.array_equal(chain.terms_after(i), terms[i]) for i in range(3))
