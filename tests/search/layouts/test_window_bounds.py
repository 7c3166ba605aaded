"""Windows on depth, FLOPs and memory: the least and greatest figures of a space, and the message if none is left."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from search.errors import EmptySpaceError
from search.layouts import LayoutSpace, enumerate_layouts, require_feasible
from search.layouts.bounds import figure_ends, least_in_ranges, walk_inside
from search.layouts.index import JoinedHalves, index_of_space
from search.layouts.rejections import all_rejected
from tests.support.examples import examples
from tests.support.zoo_fixtures import FIGURES, brute_force, spaces

OTHERS = [name for name in FIGURES if name != "params"]


def only_params(space: LayoutSpace, **limits: int | None) -> LayoutSpace:
    """The space with its parameter window and `limits` alone."""
    free = {f"min_{name}": 0 for name in OTHERS} | {f"max_{name}": None for name in OTHERS}
    return space.model_copy(update={**free, "predicate": None, **limits})


@examples(60)
@given(space=spaces(), name=st.sampled_from(OTHERS))
def test_the_ends_of_a_figure_are_those_of_brute_force(space: LayoutSpace, name: str) -> None:
    space = only_params(space)
    values = [FIGURES[name](layout, space.image_size) for layout in brute_force(space)]
    assume(values)
    (window,) = only_params(space, **{f"min_{name}": 1}).filters
    assert figure_ends(index_of_space(space), window, space.image_size) == (min(values), max(values))


@examples(60)
@given(space=spaces())
def test_a_walk_inside_the_windows_leaves_out_no_layout_that_they_accept(space: LayoutSpace) -> None:
    index = index_of_space(space)
    inside = [layout for batch in walk_inside(index, space.filters, space.image_size) for layout in space.keep(batch)]
    assert inside == [layout for batch in index.walk() for layout in space.keep(batch)]


@examples(60)
@given(values=st.lists(st.integers(-9, 9), min_size=1, max_size=40), data=st.data())
def test_the_least_in_ranges_is_that_of_slices(values: list[int], data: st.DataObject) -> None:
    pairs = st.tuples(st.integers(0, len(values) - 1), st.integers(1, len(values)))
    ranges = [(a, min(n, len(values) - a)) for a, n in data.draw(st.lists(pairs, min_size=1, max_size=9))]
    found = least_in_ranges(np.array(values), *(np.array(column) for column in zip(*ranges, strict=True)))
    assert found.tolist() == [min(values[a : a + n]) for a, n in ranges]


@pytest.fixture
def few_walks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes a walk over more layouts than can be counted in a second fail."""
    walk = JoinedHalves.walk

    def short(halves: JoinedHalves) -> Iterator[object]:
        assert halves.ends[-1] < 2**20
        return walk(halves)

    monkeypatch.setattr(JoinedHalves, "walk", short)


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("end", ["min", "max"])
@pytest.mark.usefixtures("few_walks")
def test_a_window_that_rejects_a_large_space_is_named_with_the_nearest_value_at_once(name: str, end: str) -> None:
    space = LayoutSpace(kernels=(3, 5), strides=(1, 2))
    limit = {"max": 1, "min": 2**60}[end]
    with pytest.raises(EmptySpaceError) as caught:
        require_feasible(space.model_copy(update={f"{end}_{name}": limit}))
    said = re.search(rf"^{end}_{name}: all [\d,]{{11,}} layouts .* (raise|lower) it to ([\d,]+) or", str(caught.value))
    assert said is not None
    nearest = int(said[2].replace(",", ""))
    fitting = space.model_copy(update={f"{end}_{name}": nearest})
    layout = next(enumerate_layouts(fitting))
    assert FIGURES[name](layout, space.image_size) == nearest
    with pytest.raises(EmptySpaceError):
        require_feasible(space.model_copy(update={f"{end}_{name}": nearest + (1 if end == "min" else -1)}))


@pytest.mark.usefixtures("few_walks")
def test_windows_that_reject_a_large_space_together_have_their_shares() -> None:
    space = LayoutSpace(min_depth=100, max_activation_bytes=900_000)
    with pytest.raises(EmptySpaceError) as caught:
        require_feasible(space)
    said = str(caught.value)
    assert re.search(r"; rejected by min_depth about \d+\.\d+%.*; by max_activation_bytes about \d+\.\d+%", said)


def test_windows_of_a_small_space_have_exact_shares_and_values_that_would_do() -> None:
    space = LayoutSpace(stages=(2,), blocks=(1, 3), channels=(8, 16), min_params=0)
    rows = [(layout.depth, FIGURES["flops"](layout, space.image_size)) for layout in brute_force(space)]
    most = min(flops for depth, flops in rows if depth == max(depth for depth, _ in rows)) - 1
    empty = space.model_copy(update={"min_depth": max(depth for depth, _ in rows), "max_flops": most})
    said = all_rejected(empty)
    shallow = sum(depth < empty.min_depth for depth, _ in rows)
    costly = sum(flops > most for _, flops in rows)
    deepest = max(depth for depth, flops in rows if flops <= most)
    assert said == (
        f"min_depth, max_flops: all {len(rows)} layouts within the parameter limits are rejected; rejected by "
        f"min_depth {shallow / len(rows):.2%}, one would pass with min_depth {deepest}; by max_flops "
        f"{costly / len(rows):.2%}, one would pass with max_flops {most + 1:,}; loosen them"
    )
    require_feasible(empty.model_copy(update={"min_depth": deepest}))
    require_feasible(empty.model_copy(update={"max_flops": most + 1}))
