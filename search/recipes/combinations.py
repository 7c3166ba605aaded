"""Combinations of the dimensions of a recipe space: which values contradict each other, how many recipes differ."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from search.recipes.dimensions import Choice, Number, Range
from trainables.recipe import READ_WITH, Recipe, reads

MAX_COMBINATIONS = 10_000
"""Up to this number all combinations are checked; beyond, every pair of values with the rest at their first."""
MAX_NAMED = 8
"""Most contradictions that one message lists."""

Parts = Sequence[Choice | Range]
Build = Callable[[dict[str, Number]], Recipe]
"""The recipe whose dimensions have the values."""


class Extent(NamedTuple):
    """The number of recipes in a space."""

    stepped: int
    """Distinct recipes, with a range without steps counted as one value."""
    continuous: tuple[str, ...]
    """Ranges without steps that some recipe reads, which make the number infinite."""


def contradictions(dims: Parts, problems: Callable[[dict[str, Number]], list[str]]) -> list[str]:
    """One message for each problem that `problems` finds in combinations of values of `dims`, or of a range's ends."""
    failing: dict[str, list[tuple[Number, ...]]] = {}
    for probe in _probes(dims):
        for message in problems(_values(dims, probe)):
            failing.setdefault(message, []).append(probe)
    found = []
    for message, refused in failing.items():
        # A dimension that fails at all its values is not the cause.
        involved = [
            dim.named(refused[0][i])
            for i, dim in enumerate(dims)
            if len({probe[i] for probe in refused}) < len(dim.ends)
        ]
        found.append(
            f"{' with '.join(involved)} is a possible combination; {message}" if len(involved) > 1 else message
        )
    if len(found) > MAX_NAMED:
        found[MAX_NAMED:] = [
            f"{len(found) - MAX_NAMED} more contradictory combinations; use a family to set fields together"
        ]
    return found


def measured(dims: Parts, build: Build) -> Extent:
    """The number of distinct recipes, found without listing them.

    Few dimensions determine which fields a recipe reads. For each choice of those, the number of recipes is the product
    of the distinct values of the other dimensions, where values that the recipe does not read are the same.
    """
    shaping = [dim for dim in dims if _decides_what_is_read(dim, dims)]
    others = [dim for dim in dims if dim not in shaping]
    stepped: dict[Recipe, int] = {}
    continuous: set[str] = set()
    for chosen in itertools.product(*map(_every, shaping)):
        recipe = build(_values(shaping, chosen)).canonical()
        if recipe not in stepped:
            unread = recipe.unread
            stepped[recipe] = math.prod(dim.distinct(unread) for dim in others)
            continuous |= {dim.name for dim in dims if dim.count is None and not unread.issuperset(dim.fields)}
    return Extent(sum(stepped.values()), tuple(dim.name for dim in dims if dim.name in continuous))


def _decides_what_is_read(dim: Choice | Range, dims: Parts) -> bool:
    """Whether it depends on the value of `dim` which of the fields in `dims` a recipe reads."""
    settings = [dim.settings(value) for value in _every(dim)]
    return any(
        len({reads(name, given[other]) for given in settings}) > 1
        for name, (others, _) in READ_WITH.items()
        for other in others
        if other in dim.fields and any(name in one.fields for one in dims)
    )


def _probes(dims: Parts) -> Iterator[tuple[Number, ...]]:
    ends = [dim.ends for dim in dims]
    if math.prod(map(len, ends)) <= MAX_COMBINATIONS:
        yield from itertools.product(*ends)
        return
    first = tuple(values[0] for values in ends)
    met = set()
    for i, j in itertools.combinations(range(len(dims)), 2):
        for a, b in itertools.product(ends[i], ends[j]):
            probe = (*first[:i], a, *first[i + 1 : j], b, *first[j + 1 :])
            if probe not in met:
                met.add(probe)
                yield probe


def _every(dim: Choice | Range) -> Iterator[Number]:
    """All values of a dimension with steps; for one without, its ends and its usual value."""
    return iter((*dim.ends, dim.usual)) if dim.count is None else map(dim.value_at, range(dim.count))


def _values(dims: Parts, chosen: Sequence[Number]) -> dict[str, Number]:
    return {dim.name: value for dim, value in zip(dims, chosen, strict=True)}
