"""What a study samples from: feasible points over flat, numeric dimensions; for a search, layouts with recipes."""

from __future__ import annotations

import heapq
from collections.abc import Container, Hashable, Iterator, Mapping
from functools import cached_property
from typing import Generic, Protocol, TypeVar

import numpy as np
from optuna.distributions import BaseDistribution

from model_zoo import ResNetLayout
from search.encoding import Values, decode_layout, encode_layout, layout_dimensions
from search.errors import EmptySpaceError
from search.layouts import LayoutSpace, count_feasible, enumerate_layouts, sample_uniform
from search.neighbours import Neighbours
from search.recipes import RecipeSpace
from trainables.recipe import Recipe

Point = tuple[ResNetLayout, Recipe]
T = TypeVar("T")

MOST_REPEATS = 1000
"""Draws in a row that were used already before the unused points are listed."""


class Points(Protocol):
    """Feasible points over flat, numeric dimensions."""

    @property
    def dimensions(self) -> Mapping[str, BaseDistribution]:
        """The dimensions, integers and floats only; every point has a value on each."""

    def key(self, values: Values) -> Hashable:
        """What the point with these values is; equal exactly when the same would be run."""

    def nearest(self, values: Values, used: Container[Hashable]) -> Values | None:
        """The feasible point nearest to `values` whose key is not in `used`; None when there is none."""

    def draw(self, generator: np.random.Generator, used: Container[Hashable]) -> Values | None:
        """A feasible point drawn uniformly among those whose key is not in `used`; None when there is none."""

    def in_order(self) -> Iterator[Values]:
        """Every feasible point once, in a stable order."""


class SearchPoints:
    """The feasible layouts of `space`, each with every recipe of `recipes`."""

    def __init__(self, space: LayoutSpace, recipes: RecipeSpace | None = None) -> None:
        self.space = space
        self.recipes = recipes if recipes is not None else RecipeSpace()
        self._decoded: tuple[Mapping[str, int | float], Point | None] = {}, None

    @cached_property
    def dimensions(self) -> dict[str, BaseDistribution]:
        """The layout's dimensions, then the recipe's."""
        return {**layout_dimensions(self.space), **self.recipes.dimensions}

    @cached_property
    def size(self) -> int | None:
        """The number of points; None where a range makes it infinite."""
        recipes = self.recipes.size
        return None if recipes is None else recipes * count_feasible(self.space)

    def decode(self, values: Mapping[str, int | float]) -> Point:
        """The layout and the recipe with these values."""
        # The sampler decodes what it proposes and the study's owner once more: both keep one object, 3 kB a trial.
        known, point = self._decoded
        if point is None or known != values:
            point = decode_layout(self.space, values), self.recipes.decode(values)
            self._decoded = dict(values), point
        return point

    def encode(self, layout: ResNetLayout, recipe: Recipe) -> Values | None:
        """The values of a layout that the space offers with a recipe, which `decode` inverts; None without a place."""
        of_recipe = self.recipes.encode(recipe)
        if of_recipe is None or not self.space.offers(layout):
            return None
        return {**encode_layout(self.space, layout), **of_recipe}

    def key(self, values: Values) -> Point:
        """The layout and the recipe."""
        return self.decode(values)

    def nearest(self, values: Values, used: Container[Hashable]) -> Values | None:
        """The nearest unused point: layout and recipe move together, by the sum of their squared distances."""
        layouts = self._neighbours.around(values)
        for layout, recipe in _by_sum(layouts, self.recipes.nearby(values)):
            if (layout, recipe) not in used:
                return self._values(layout, recipe)
        # Under windows that refuse nearly all, the neighbours are a sample; the rest can still be drawn.
        return self.draw(np.random.default_rng(0), used) if self.space.is_filtered else None

    def draw(self, generator: np.random.Generator, used: Container[Hashable]) -> Values | None:
        """A uniform draw, the recipe's ranges by their scale; what it rejects is only repeats."""
        for _ in range(MOST_REPEATS):
            try:
                layout = sample_uniform(self.space, 1, generator)[0]
            except EmptySpaceError:
                return None
            recipe = self.recipes.draw(generator)
            if (layout, recipe) not in used:
                return self._values(layout, recipe)
        if self.recipes.size is None:
            return self.nearest(self._values(layout, recipe), used)
        rest = [values for values in self.in_order() if self.key(values) not in used]
        return rest[int(generator.integers(len(rest)))] if rest else None

    def in_order(self) -> Iterator[Values]:
        """Every layout in the order of its number with every recipe in the order of its choices.

        Raises:
            ConfigError: a range makes the recipes infinite.
        """
        recipes = list(self.recipes.in_order())
        for layout in enumerate_layouts(self.space):
            for recipe in recipes:
                yield self._values(layout, recipe)

    @cached_property
    def _neighbours(self) -> Neighbours:
        return Neighbours(self.space)

    def _values(self, layout: ResNetLayout, recipe: Recipe) -> Values:
        values = self.encode(layout, recipe)
        assert values is not None, f"{layout.layout_id} is a point of its own space"
        return values


def _by_sum(
    left: Iterator[tuple[float, ResNetLayout]], right: Iterator[tuple[float, Recipe]]
) -> Iterator[tuple[ResNetLayout, Recipe]]:
    """Every pair of two streams in the order of the sums of their distances; each is read only as far as needed."""
    lefts, rights = _Read(left), _Read(right)
    heap: list[tuple[float, int, int]] = []

    def push(i: int, j: int) -> None:
        if lefts.has(i) and rights.has(j):
            heapq.heappush(heap, (lefts.items[i][0] + rights.items[j][0], i, j))

    push(0, 0)
    while heap:
        _, i, j = heapq.heappop(heap)
        yield lefts.items[i][1], rights.items[j][1]
        push(i, j + 1)
        if j == 0:
            push(i + 1, 0)


class _Read(Generic[T]):
    """A stream, kept as far as it was read."""

    def __init__(self, stream: Iterator[T]) -> None:
        self.items: list[T] = []
        self._stream = stream

    def has(self, i: int) -> bool:
        """Whether there is an item `i`, which it reads up to."""
        while len(self.items) <= i:
            item = next(self._stream, None)
            if item is None:
                return False
            self.items.append(item)
        return True
