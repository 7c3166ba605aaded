"""What dimensions of a recipe space do together: which values contradict each other, how many recipes differ."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from pydantic import ValidationError

from search.recipes.dimensions import Choice, Number, Range
from trainables.recipe import Recipe

MAX_COMBINATIONS = 10_000
"""Most combinations that are all looked at; of more, each pair of values with the other dimensions at their first."""
MAX_NAMED = 8
"""Most contradictions that one message lists."""

Parts = Sequence[Choice | Range]
Build = Callable[[dict[str, Number]], Recipe]
"""The recipe whose dimensions have the values; it raises pydantic.ValidationError where they contradict each other."""


class Extent(NamedTuple):
    """How many recipes a space holds."""

    stepped: int
    """Distinct recipes, a range without steps counted as one value."""
    continuous: tuple[str, ...]
    """Ranges without steps that some recipe reads."""


def contradictions(dims: Parts, build: Build) -> list[str]:
    """One message for each way in which values of `dims` contradict each other, of a range its ends."""
    probes = list(_probes(dims))
    failing: dict[str, list[tuple[Number, ...]]] = {}
    for probe in probes:
        try:
            build(_values(dims, probe))
        except ValidationError as error:
            listed = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
            for message in re.split(r"; (?=\w+: )", listed):
                failing.setdefault(message, []).append(probe)
    found = []
    for message, refused in failing.items():
        # A dimension that fails at all its values has no part in it.
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
            f"{len(found) - MAX_NAMED} more combinations contradict themselves; use a family to set fields together"
        ]
    return found


def measured(dims: Parts, build: Build) -> Extent:
    """The number of distinct recipes without a look at each.

    Few dimensions decide which fields a recipe reads. For each choice of those, the recipes are the product of what
    the other dimensions set and the recipe reads; choices that a recipe does not read are the same one.
    """
    shaping = _shaping(dims, build)
    others = [dim for dim in dims if dim not in shaping]
    stepped: dict[Recipe, int] = {}
    continuous: set[str] = set()
    for chosen in itertools.product(*(_every(dim) for dim in shaping)):
        recipe = _built(build, _values(shaping, chosen))
        if recipe is not None and (recipe := recipe.canonical()) not in stepped:
            unread = recipe.unread
            stepped[recipe] = math.prod(dim.distinct(unread) for dim in others)
            continuous |= {dim.name for dim in dims if dim.count is None and not unread.issuperset(dim.fields)}
    return Extent(sum(stepped.values()), tuple(dim.name for dim in dims if dim.name in continuous))


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


def _shaping(dims: Parts, build: Build) -> list[Choice | Range]:
    """The dimensions whose value changes which searched fields are read."""
    fields = frozenset(field for dim in dims for field in dim.fields)
    read: dict[tuple[int, tuple[Number, ...]], frozenset[str]] = {}
    found: set[int] = set()
    for probe in _probes(dims):
        recipe = _built(build, _values(dims, probe))
        if recipe is not None:
            unread = recipe.unread & fields
            for i in range(len(dims)):
                if read.setdefault((i, (*probe[:i], *probe[i + 1 :])), unread) != unread:
                    found.add(i)
    return [dims[i] for i in sorted(found)]


def _every(dim: Choice | Range) -> Iterator[Number]:
    """All values of a dimension with steps; of one without, those that show what it changes."""
    return iter((*dim.ends, dim.usual)) if dim.count is None else map(dim.value_at, range(dim.count))


def _built(build: Build, values: dict[str, Number]) -> Recipe | None:
    try:
        return build(values)
    except ValidationError:
        return None


def _values(dims: Parts, chosen: Sequence[Number]) -> dict[str, Number]:
    return {dim.name: value for dim, value in zip(dims, chosen, strict=True)}
