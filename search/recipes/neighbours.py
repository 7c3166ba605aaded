"""The recipes of a space in the order of their distance from a proposal, found one by one with a heap."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from search.recipes.dimensions import Choice, Number, Range, Values
from trainables.recipe import Recipe

COARSEST_NUDGE = 2**-6
"""First step by which a continuous dimension leaves the proposal, as a share of its range; each round halves it."""


def neighbours(
    dims: Sequence[Choice | Range],
    continuous: Callable[[], Collection[str]],
    decode: Callable[[Values], Recipe],
    values: Mapping[str, Number],
) -> Iterator[tuple[float, Recipe]]:
    """Each recipe once with its squared distance from the proposal `values`, nearest first.

    A dimension that a recipe does not read adds nothing, because a recipe is met first where such dimensions equal the
    proposal. When the dimensions with steps are exhausted, the dimensions named by `continuous` are moved, one at a
    time, and those with steps are walked again.
    """
    seen: set[Recipe] = set()
    origin = {dim.name: _origin(dim, values) for dim in dims}
    stepped = [dim for dim in dims if dim.count is not None]
    proposed = [dim.name in values for dim in stepped]

    def around(start: Values, offset: float) -> Iterator[tuple[float, Recipe]]:
        lanes = [_outward(dim, start[dim.name], counts) for dim, counts in zip(stepped, proposed, strict=True)]
        for away, chosen in _cheapest(lanes):
            moved = start | {dim.name: value for dim, value in zip(stepped, chosen, strict=True)}
            recipe = decode(moved)
            if recipe not in seen:
                seen.add(recipe)
                yield offset + away, recipe

    yield from around(origin, 0.0)
    names = continuous()
    nudged = [dim for dim in dims if isinstance(dim, Range) and dim.name in names]
    if not nudged:
        return
    for halvings in itertools.count():
        step = COARSEST_NUDGE / 2**halvings
        for steps in range(1, round(1 / step) + 1):
            for dim, sign in itertools.product(nudged, (-1, 1)):
                fraction = dim.fraction(origin[dim.name]) + sign * steps * step
                if 0 <= fraction <= 1:
                    offset = (steps * step) ** 2 if dim.name in values else 0.0
                    yield from around(origin | {dim.name: dim.value_of(fraction)}, offset)


def _origin(dim: Choice | Range, values: Mapping[str, Number]) -> Number:
    """The dimension's value nearest to the proposal."""
    if dim.name not in values:
        return dim.usual
    if dim.count is None:
        return dim.nearest(values[dim.name])
    return dim.value_at(dim.index(values[dim.name]))


def _outward(dim: Choice | Range, start: Number, counts: bool) -> Iterator[tuple[float, Number]]:
    """A dimension's values, nearest to `start` first, with their squared distances, or with 0 unless `counts`."""
    here = dim.fraction(start)
    first = dim.index(start)
    last = (dim.count or 1) - 1

    def away(index: int) -> tuple[float, Number]:
        value = dim.value_at(index)
        return ((dim.fraction(value) - here) ** 2 if counts else 0.0), value

    below = map(away, range(first - 1, -1, -1))
    above = map(away, range(first + 1, last + 1))
    yield 0.0, dim.value_at(first)
    yield from heapq.merge(below, above)


def _cheapest(lanes: Sequence[Iterator[tuple[float, Number]]]) -> Iterator[tuple[float, list[Number]]]:
    """All combinations of one item per lane with the sum of their costs, cheapest first; every lane must be sorted.

    Each combination is reached from exactly one other, by a step in the last lane that is not at its start. So none is
    met twice, and each one that is yielded adds at most one item per lane to the heap.
    """
    pulled = [[next(lane)] for lane in lanes]

    def has(lane: int, index: int) -> bool:
        if index == len(pulled[lane]):
            pulled[lane] += itertools.islice(lanes[lane], 1)
        return index < len(pulled[lane])

    heap = [(0.0, (0,) * len(lanes), 0)]
    while heap:
        cost, indices, last = heapq.heappop(heap)
        yield cost, [pulled[lane][index][1] for lane, index in enumerate(indices)]
        for lane in range(last, len(lanes)):
            index = indices[lane] + 1
            if has(lane, index):
                moved = (*indices[:lane], index, *indices[lane + 1 :])
                total = sum(pulled[i][j][0] for i, j in enumerate(moved))
                heapq.heappush(heap, (total, moved, lane))
