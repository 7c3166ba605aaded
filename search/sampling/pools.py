"""Many candidates at once, as rows of numbers that a model can compare: drawn uniformly, or near given ones.

A row has a value along each dimension of its space, NaN where the candidate does not read it, and the features of
`search.sampling.features`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any, Generic, NamedTuple

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution

from model_zoo import ResNetLayout
from model_zoo.layout import LayoutError
from search.layouts import LayoutSpace, sample_uniform
from search.layouts.batch import LayoutBatch
from search.layouts.dimensions import DIMENSIONS, decode_layout, encode_batch, encode_layout, layout_bounds
from search.layouts.lists import FORM_KEYS
from search.recipes.dimensions import Choice, Number, Range, Values
from search.sampling.features import Column, Columns, Floats, Lookup, Numbers, options, ordered
from search.sampling.joint_space import C, Candidate, CandidateSpace, JointSpace
from trainables.recipe import READ_WITH, reads

Places = NDArray[np.intp]

MOST_MOVED = 3
"""Most dimensions in which a neighbour is moved."""

STEP = 0.1
"""Standard deviation of a move along a range, as a share of it."""

MOST_OPTIONS = 8
"""Most values of a whole number that are also compared as options, where nothing is known about their order."""

COSTS = 4
"""Columns of closed-form costs: parameters, FLOPs, depth and activation memory."""

SCALED_BY = 512
"""Uniform draws by which those columns are scaled."""


class Pool(NamedTuple, Generic[C]):
    """N candidates."""

    features: Floats
    """(N, F)."""
    candidate: Callable[[int], C]
    """The candidate of a row, which is made only when it is needed."""


class Pools(ABC, Generic[C]):
    """Makes pools of the candidates of one space."""

    groups: Places
    """The group of each feature, (F,); the columns of a group describe one thing."""

    @abstractmethod
    def drawn(self, generator: np.random.Generator, n: int) -> Pool[C]:
        """`n` feasible candidates drawn uniformly, with replacement; fewer if there are none."""

    @abstractmethod
    def near(self, centres: Sequence[C], generator: np.random.Generator, tries: int) -> Pool[C]:
        """Feasible candidates that differ from one of `centres` in a few dimensions, from `tries` moves."""

    @abstractmethod
    def of(self, candidates: Sequence[C]) -> Floats:
        """The features of candidates that can be encoded, at least one, (N, F)."""


def pools_of(space: CandidateSpace[Any]) -> Pools[Any]:
    """The pools of any space; for layouts and recipes they know what its dimensions mean."""
    return JointPools(space) if isinstance(space, JointSpace) else PlainPools(space)


class PlainPools(Pools[C]):
    """The pools of a space of which nothing but `CandidateSpace` is known.

    A whole number of few values is compared both as a number and as an option, because its order may mean nothing; the
    model finds the lengths of both. Neighbours are the feasible candidates nearest to moved values.
    """

    def __init__(self, space: CandidateSpace[C]) -> None:
        self.space = space
        self._columns = Columns({name: _plain_columns(d) for name, d in space.dimensions.items()})
        self.groups = self._columns.groups

    def drawn(self, generator: np.random.Generator, n: int) -> Pool[C]:
        """`n` draws of the space."""
        return self._pool([found for _ in range(n) if (found := self.space.draw(generator, ())) is not None])

    def near(self, centres: Sequence[C], generator: np.random.Generator, tries: int) -> Pool[C]:
        """The nearest feasible candidates to `tries` moves."""
        found: list[C] = []
        dimensions = self.space.dimensions
        for i in range(tries if dimensions else 0):
            values = self.space.encode(centres[i % len(centres)])
            assert values is not None, "a candidate of the study has values"
            moved = {name: _moved(dimensions[name], values[name], generator) for name in _some(dimensions, generator)}
            nearest = self.space.nearest(values | moved, ())
            found += [] if nearest is None else [nearest]
        return self._pool(found)

    def of(self, candidates: Sequence[C]) -> Floats:
        """The features of candidates that can be encoded, (N, F)."""
        encoded = [self.space.encode(candidate) for candidate in candidates]
        values = {
            name: np.array([row[name] for row in encoded if row is not None], dtype=np.float64)
            for name in self._columns.of
        }
        return self._columns.features(values, len(candidates))

    def _pool(self, candidates: list[C]) -> Pool[C]:
        return Pool(self.of(candidates), candidates.__getitem__)


class JointPools(Pools[Candidate]):
    """The pools of layouts with recipes; their features include the closed-form costs of a layout."""

    def __init__(self, space: JointSpace) -> None:
        self.space = space
        bounds = layout_bounds(space.space)
        columns = {name: _layout_column(space.space, name, bounds[name]) for name in bounds}
        columns |= {part.name: _recipe_column(part) for part in space.recipes.searched}
        self._columns = Columns({name: [column] for name, column in columns.items()}, further=COSTS)
        self.groups = self._columns.groups
        fields = {field for part in space.recipes.searched for field in part.fields}
        self._conditional = {name: others for name, (others, _) in READ_WITH.items() if name in fields}
        self._fixed = {
            name: value for part in space.recipes.parts if part.count == 1 for name, value in part.settings(0).items()
        }

    def drawn(self, generator: np.random.Generator, n: int) -> Pool[Candidate]:
        """`n` uniform draws, with each range of the recipe on its own scale."""
        batch = sample_uniform(self.space.space, n, generator)
        recipes = [{part.name: part.draw(generator) for part in self.space.recipes.searched} for _ in range(n)]
        return self._pool(batch, recipes)

    def near(self, centres: Sequence[Candidate], generator: np.random.Generator, tries: int) -> Pool[Candidate]:
        """The feasible ones of `tries` moves."""
        dimensions = self.space.dimensions
        starts = [self._movable(candidate) for candidate in centres]
        layouts: list[ResNetLayout] = []
        recipes: list[Values] = []
        for i in range(tries):
            start = starts[i % len(starts)]
            values = dict(start)
            for name in _some(start, generator):
                values[name] = _moved(dimensions[name], start[name], generator)
            layout = self._layout_at(values)
            if layout is not None:
                layouts.append(layout)
                recipes.append({part.name: values.get(part.name, part.usual) for part in self.space.recipes.searched})
        if not layouts:
            return Pool(np.zeros((0, len(self.groups))), centres.__getitem__)
        return self._pool(LayoutBatch.of(layouts), recipes)

    def of(self, candidates: Sequence[Candidate]) -> Floats:
        """The features of candidates that can be encoded, (N, F)."""
        recipes = [self.space.recipes.encode(candidate.recipe) or {} for candidate in candidates]
        return self._features(LayoutBatch.of([candidate.layout for candidate in candidates]), recipes)

    def _pool(self, batch: LayoutBatch, recipes: list[Values]) -> Pool[Candidate]:
        def candidate(i: int) -> Candidate:
            return Candidate(batch[i], self.space.recipes.decode(recipes[i]))

        return Pool(self._features(batch, recipes), candidate)

    def _features(self, batch: LayoutBatch, recipes: list[Values]) -> Floats:
        values = encode_batch(self.space.space, batch)
        read = [self._read(recipe) for recipe in recipes]
        for part in self.space.recipes.searched:
            values[part.name] = np.array([row.get(part.name, math.nan) for row in read], dtype=np.float64)
        low, high = self._ends
        costs = (_costs(batch, self.space.space.image_size) - low) / np.where(high > low, high - low, 1.0)
        return np.hstack([self._columns.features(values, len(batch)), costs])

    def _read(self, recipe: Values) -> Values:
        """The values of the dimensions that the recipe with values `recipe` reads."""
        settings = dict(self._fixed)
        for part in self.space.recipes.searched:
            settings |= part.settings(recipe.get(part.name, part.usual))
        unread = {
            name for name, others in self._conditional.items() if not any(reads(name, settings[o]) for o in others)
        }
        return {
            part.name: recipe.get(part.name, part.usual)
            for part in self.space.recipes.searched
            if not unread.issuperset(part.fields)
        }

    def _movable(self, candidate: Candidate) -> Values:
        """The values of a candidate along the dimensions that it reads."""
        recipe = self.space.recipes.encode(candidate.recipe) or {}
        return {**encode_layout(self.space.space, candidate.layout), **self._read(recipe)}

    def _layout_at(self, values: Values) -> ResNetLayout | None:
        """The layout with these values; None if it is not feasible."""
        try:
            layout = decode_layout(self.space.space, values)
        except LayoutError:
            return None
        return layout if self.space.space.contains(layout) else None

    @cached_property
    def _ends(self) -> tuple[Floats, Floats]:
        """The lowest and the highest costs of a sample of the space, (4,) each, which scale the columns."""
        batch = sample_uniform(self.space.space, SCALED_BY, np.random.default_rng(0))
        costs = _costs(batch, self.space.space.image_size)
        return costs.min(axis=0), costs.max(axis=0)


def _costs(batch: LayoutBatch, image_size: tuple[int, int]) -> Floats:
    """The logarithms of parameters, FLOPs, depth and activation bytes, (N, 4)."""
    figures = (batch.params, batch.flops(image_size), batch.depth, batch.activation_bytes(image_size))
    return np.log(np.column_stack(figures).astype(np.float64))


def _layout_column(space: LayoutSpace, name: str, bounds: tuple[int, int]) -> Column:
    kind = name.partition("_")[0]
    if kind == "blocks":
        low, high = bounds
        return Lookup(np.log2(1.0 + np.arange(low, high + 1))[:, None] / math.log2(1.0 + high), low)
    choices: dict[str, Sequence[Any]] = {
        DIMENSIONS.get(field, field): getattr(space, key) for field, key in FORM_KEYS.items()
    }
    choices["squeeze"] = [1 / ratio if ratio else 0.0 for ratio in space.squeeze_ratios]
    choices |= {"width": space.channels, "kernel": space.kernels, "stem": range(len(space.stem_channels))}
    choices["stride"] = space.first_strides if name == "stride_1" else space.strides
    return _choice_column(choices[name] if name in choices else choices[kind])


def _choice_column(values: Sequence[Any]) -> Column:
    """The columns of a choice, whose values have an order unless they are words."""
    if any(isinstance(value, str) for value in values):
        return options(len(values))
    return ordered([float(value) for value in values])


def _recipe_column(part: Choice | Range) -> Column:
    if isinstance(part, Range):
        return Numbers(part.low, part.high, part.log)
    return options(part.count) if len(part.fields) > 1 else _choice_column([option[0] for option in part.options])


def _plain_columns(dimension: BaseDistribution) -> list[Column]:
    assert isinstance(dimension, IntDistribution | FloatDistribution), "the dimensions of candidates are numeric"
    number = Numbers(dimension.low, dimension.high, dimension.log)
    if isinstance(dimension, FloatDistribution) or dimension.step != 1 or dimension.log:
        return [number]
    count = dimension.high - dimension.low + 1
    if not 2 < count <= MOST_OPTIONS:
        return [number]
    return [number, Lookup(np.eye(count) / math.sqrt(2), dimension.low)]


def _some(names: Iterable[str], generator: np.random.Generator) -> list[str]:
    """One to `MOST_MOVED` of the names."""
    given = list(names)
    chosen = generator.permutation(len(given))[: generator.integers(1, MOST_MOVED + 1)]
    return [given[i] for i in chosen]


def _moved(dimension: BaseDistribution, value: Number, generator: np.random.Generator) -> Number:
    """Another value of a dimension: half of the time one near by, otherwise any."""
    assert isinstance(dimension, IntDistribution | FloatDistribution), "the dimensions of candidates are numeric"
    low, high = (math.log(end) if dimension.log else float(end) for end in (dimension.low, dimension.high))
    near, step = generator.random() < 0.5, float(dimension.step or 0)
    here = math.log(value) if dimension.log else float(value)
    reach = max(STEP * (high - low), 0.0 if dimension.log else step)
    place = here + generator.normal() * reach if near else generator.uniform(low, high)
    found = min(max(math.exp(place) if dimension.log else place, dimension.low), dimension.high)
    if not step:
        return found
    steps = round((found - dimension.low) / step)
    if isinstance(dimension, IntDistribution):
        return int(dimension.low + steps * dimension.step)
    return min(float(f"{dimension.low + steps * step:.12g}"), dimension.high)
