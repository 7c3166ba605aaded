"""The space that a study samples from: candidates, in a search layouts with recipes, over flat numeric dimensions."""

from __future__ import annotations

import heapq
from collections.abc import Container, Hashable, Iterator, Mapping
from functools import cached_property
from typing import Generic, NamedTuple, Protocol, TypeVar

import numpy as np
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution

from model_zoo import ResNetLayout
from search.errors import EmptySpaceError
from search.layouts import LayoutSpace, count_feasible, enumerate_layouts, sample_uniform
from search.layouts.dimensions import decode_layout, encode_layout, layout_bounds
from search.recipes import RecipeSpace
from search.recipes.dimensions import Choice, Values
from search.sampling.neighbours import Neighbours
from trainables.recipe import Recipe

C = TypeVar("C", bound=Hashable)
T = TypeVar("T")

MOST_REPEATS = 1000
"""Consecutive draws that may all be used already before the unused candidates are listed."""


class Candidate(NamedTuple):
    """What a trial of a search trains."""

    layout: ResNetLayout
    recipe: Recipe


class CandidateSpace(Protocol[C]):
    """Feasible candidates over flat, numeric dimensions; equal candidates are the same training."""

    @property
    def dimensions(self) -> Mapping[str, BaseDistribution]:
        """The dimensions, integers and floats only; every candidate has a value for each."""

    def encode(self, candidate: C) -> Values | None:
        """The values of `candidate`, which `decode` inverts; None if it cannot be encoded."""

    def decode(self, values: Values) -> C:
        """The candidate with these values."""

    def nearest(self, values: Values, used: Container[C]) -> C | None:
        """The feasible candidate nearest to `values` that is not in `used`; None if there is none."""

    def draw(self, generator: np.random.Generator, used: Container[C]) -> C | None:
        """A candidate drawn uniformly from the feasible ones that are not in `used`; None if there is none."""

    def in_order(self) -> Iterator[C]:
        """Every feasible candidate once, in a stable order."""


class JointSpace:
    """The feasible layouts of `space`, each with every recipe of `recipes`."""

    def __init__(self, space: LayoutSpace, recipes: RecipeSpace | None = None) -> None:
        self.space = space
        self.recipes = recipes if recipes is not None else RecipeSpace()

    @cached_property
    def dimensions(self) -> dict[str, BaseDistribution]:
        """The layout's dimensions, then the recipe's."""
        return {**layout_dimensions(self.space), **recipe_dimensions(self.recipes)}

    @cached_property
    def size(self) -> int | None:
        """The number of candidates; None if a range makes it infinite."""
        recipes = self.recipes.size
        return None if recipes is None else recipes * count_feasible(self.space)

    def decode(self, values: Values) -> Candidate:
        """The layout and the recipe with these values."""
        return Candidate(decode_layout(self.space, values), self.recipes.decode(values))

    def encode(self, candidate: Candidate) -> Values | None:
        """The values of a layout that the space offers and a recipe, which `decode` inverts; None if there are none."""
        of_recipe = self.recipes.encode(candidate.recipe)
        if of_recipe is None or not self.space.offers(candidate.layout):
            return None
        return {**encode_layout(self.space, candidate.layout), **of_recipe}

    def nearest(self, values: Values, used: Container[Candidate]) -> Candidate | None:
        """The nearest unused candidate, by the sum of the squared distances of its layout and its recipe."""
        layouts = self._neighbours.around(values)
        for candidate in _by_sum(layouts, self.recipes.nearby(values)):
            if candidate not in used:
                return candidate
        # Where windows reject nearly everything, the neighbours are only a sample; the rest can still be drawn.
        return self.draw(np.random.default_rng(0), used) if self.space.is_filtered else None

    def draw(self, generator: np.random.Generator, used: Container[Candidate]) -> Candidate | None:
        """A uniform draw, with each range of the recipe on its own scale; it rejects nothing but used candidates."""
        for _ in range(MOST_REPEATS):
            try:
                layout = sample_uniform(self.space, 1, generator)[0]
            except EmptySpaceError:
                return None
            candidate = Candidate(layout, self.recipes.draw(generator))
            if candidate not in used:
                return candidate
        if self.recipes.size is None:
            values = self.encode(candidate)
            assert values is not None, "a drawn candidate has a place in its own space"
            return self.nearest(values, used)
        rest = [candidate for candidate in self.in_order() if candidate not in used]
        return rest[int(generator.integers(len(rest)))] if rest else None

    def in_order(self) -> Iterator[Candidate]:
        """Every layout in the order of its number, each with every recipe in the order of its choices.

        Raises:
            ConfigError: a range makes the recipes infinite.
        """
        recipes = list(self.recipes.in_order())
        for layout in enumerate_layouts(self.space):
            for recipe in recipes:
                yield Candidate(layout, recipe)

    @cached_property
    def _neighbours(self) -> Neighbours:
        return Neighbours(self.space)


def layout_dimensions(space: LayoutSpace) -> dict[str, BaseDistribution]:
    """Optuna's distributions for the dimensions of a layout in `search.layouts.dimensions`."""
    return {name: IntDistribution(low, high) for name, (low, high) in layout_bounds(space).items()}


def recipe_dimensions(recipes: RecipeSpace) -> dict[str, BaseDistribution]:
    """Optuna's distributions for the dimensions of a recipe: an index for a choice or family, the value for a range."""
    found: dict[str, BaseDistribution] = {}
    for part in recipes.searched:
        if isinstance(part, Choice):
            found[part.name] = IntDistribution(0, part.count - 1)
        elif part.whole:
            found[part.name] = IntDistribution(int(part.low), int(part.high), log=part.log, step=int(part.step or 1))
        else:
            found[part.name] = FloatDistribution(part.low, part.high, log=part.log, step=part.step)
    return found


def _by_sum(left: Iterator[tuple[float, ResNetLayout]], right: Iterator[tuple[float, Recipe]]) -> Iterator[Candidate]:
    """All pairs from two streams in the order of their summed distances; reads the streams only as far as needed."""
    lefts, rights = _Read(left), _Read(right)
    heap: list[tuple[float, int, int]] = []

    def push(i: int, j: int) -> None:
        if lefts.has(i) and rights.has(j):
            heapq.heappush(heap, (lefts.items[i][0] + rights.items[j][0], i, j))

    push(0, 0)
    while heap:
        _, i, j = heapq.heappop(heap)
        yield Candidate(lefts.items[i][1], rights.items[j][1])
        push(i, j + 1)
        if j == 0:
            push(i + 1, 0)


class _Read(Generic[T]):
    """A stream whose items are kept once they have been read."""

    def __init__(self, stream: Iterator[T]) -> None:
        self.items: list[T] = []
        self._stream = stream

    def has(self, i: int) -> bool:
        """Whether there is an item `i`; reads the stream up to it."""
        while len(self.items) <= i:
            item = next(self._stream, None)
            if item is None:
                return False
            self.items.append(item)
        return True
