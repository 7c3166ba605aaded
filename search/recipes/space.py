"""The space of recipes: fields that are fixed, chosen from a list or a range, or bundled into families."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError, model_serializer, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from search.errors import ConfigError
from search.recipes.combinations import Extent, contradictions, measured
from search.recipes.dimensions import Choice, Number, Range, Values
from search.recipes.neighbours import neighbours
from search.recipes.table import FAMILIES, Problem, read_table
from trainables.recipe import READ_WITH, Recipe, reads

TELLING = ("optimizer", "learning_rate", "weight_decay", "batch_size", "schedule")
"""Fields that are always shown, because they characterise a recipe."""


class RecipeSpace(BaseModel):
    """The recipes to search, read from the table `[recipe]` of a configuration.

    A field is `value`, `[value, ...]` or `{low = ..., high = ..., log = true}` (or `step = ...` instead of `log`), and
    `families` has options that set several fields together. Fields that are left out have their defaults in `Recipe`.

    Raises:
        pydantic.ValidationError: a field refuses a value, or values contradict each other; it lists all problems.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    parts: tuple[Choice | Range, ...] = ()
    """One part for every field of `Recipe` or family of fields; read from the table, never given by this name."""

    @model_validator(mode="before")
    @classmethod
    def _read(cls, table: Any) -> Any:
        if not isinstance(table, Mapping):
            return table
        parts, problems = read_table(table)
        if problems:
            raise _refused(problems)
        return {"parts": parts}

    @model_validator(mode="after")
    def _sense(self) -> RecipeSpace:
        kept = self.values_of("keep_weights")
        if len(set(kept)) > 1:  # trials that differ only in this would train the same twice
            message = f"{' and '.join(kept)} given, but the choice does not change the training; give one"
            raise _refused([Problem(("keep_weights",), kept, message)])
        problems = contradictions(self.searched, self._problems)
        if problems:
            raise _refused([Problem((), None, problem) for problem in problems])
        return self

    def problems_over(self, epochs: int) -> list[str]:
        """One sentence for each contradiction between recipes of the space and a training of `epochs` epochs."""
        return contradictions(self.searched, lambda values: self.decode(values).problems_over(epochs))

    def problems_on(self, image_size: tuple[int, int]) -> list[str]:
        """One sentence for each recipe, or combination, that contradicts images of `image_size` (height, width)."""
        return contradictions(self.searched, lambda values: self.decode(values).problems_on(image_size))

    @model_serializer(mode="plain")
    def _table(self) -> dict[str, Any]:
        table: dict[str, Any] = {}
        families: dict[str, Any] = {}
        for part in self.parts:
            (table if part.name in Recipe.model_fields else families)[part.name] = part.to_json()
        return table | ({FAMILIES: families} if families else {})

    @cached_property
    def searched(self) -> tuple[Choice | Range, ...]:
        """The parts with more than one value, in the order of the dimensions."""
        return tuple(part for part in self.parts if part.count != 1)

    def decode(self, values: Mapping[str, Number]) -> Recipe:
        """The canonical recipe whose dimensions have `values`; a dimension that is left out has its usual value.

        Raises:
            ValueError: a value is outside its dimension.
        """
        return self._build(values).canonical()

    def encode(self, recipe: Recipe) -> Values | None:
        """The values of all dimensions that decode to `recipe`, equal for equal recipes; None if the space lacks it.

        A dimension that the recipe does not read has its usual value: the field's default, or else the middle of the
        range or the first choice.
        """
        located = self._located(recipe)
        return None if isinstance(located, str) else located

    def why_not(self, recipe: Recipe) -> str | None:
        """Why `recipe` is not in the space, for the first of its fields that does not fit; None if it is."""
        located = self._located(recipe)
        return located if isinstance(located, str) else None

    @property
    def size(self) -> int | None:
        """The number of distinct recipes; None if a range without steps makes it infinite."""
        return None if self._extent.continuous else self._extent.stepped

    def values_of(self, field: str) -> list[Any]:
        """The values that a field of the recipe may have: every choice, or the two ends of a range."""
        (part,) = [part for part in self.parts if field in part.fields]
        ends = range(part.count) if isinstance(part, Choice) else part.ends
        return [part.settings(value)[field] for value in ends]

    @property
    def continuous(self) -> tuple[str, ...]:
        """Names of the ranges without steps that some recipe reads, which make the space infinite."""
        return tuple(self._extent.continuous)

    @property
    def fixed(self) -> Recipe | None:
        """The recipe, if there is only one."""
        first, *others = (recipe for _, recipe in itertools.islice(self.nearby({}), 2))
        return None if others else first

    def in_order(self) -> Iterator[Recipe]:
        """Each recipe once, in a stable order, the last dimension fastest.

        Raises:
            ConfigError: a range without steps makes the space infinite.
        """
        if self._extent.continuous:
            name = self._extent.continuous[0]
            raise ConfigError(f"sampler: grid cannot list every value of the range recipe.{name}; use a list of values")
        return self._walk()

    def draw(self, generator: np.random.Generator) -> Recipe:
        """A recipe with every dimension drawn uniformly, log-uniformly in a logarithmic range."""
        return self.decode({dim.name: dim.draw(generator) for dim in self.searched})

    def nearby(self, values: Mapping[str, Number]) -> Iterator[tuple[float, Recipe]]:
        """Each recipe once with its squared distance from the proposal `values`, nearest first.

        Every dimension is scaled to [0, 1]; one that `values` leaves out, or that the recipe does not read, adds
        nothing. Ranges without steps keep the proposed value until everything else is exhausted; then they are moved
        in finer and finer steps without end, and the distances start again.
        """
        return neighbours(self.searched, lambda: self._extent.continuous, self.decode, values)

    @property
    def unread(self) -> list[str]:
        """Names of the fields that have another value than the default but that no recipe of the space reads."""
        defaults = {name: field.default for name, field in Recipe.model_fields.items()}
        return [
            name
            for name, (others, _) in READ_WITH.items()
            if not any(reads(name, value) for other in others for value in self.values_of(other))
            and any(value != defaults[name] for value in self.values_of(name))
        ]

    def describe(self) -> list[tuple[str, str]]:
        """The name and the values, as text, of each dimension."""
        return [(dim.name, dim.text) for dim in self.searched]

    def describe_fixed(self) -> list[tuple[str, str]]:
        """The name and the value of each field that is fixed and read, if it is in `TELLING` or not the default."""
        unread = self.unread
        return [
            (part.name, part.text)
            for part in self.parts
            if isinstance(part, Choice) and part.count == 1 and part.name in Recipe.model_fields
            if part.name not in unread
            if part.name in TELLING or part.options[0][0] != Recipe.model_fields[part.name].default
        ]

    @cached_property
    def _fixed_settings(self) -> dict[str, Any]:
        return {name: value for part in self.parts if part.count == 1 for name, value in part.settings(0).items()}

    @cached_property
    def _extent(self) -> Extent:
        return measured(self.searched, self._build)

    def _problems(self, values: Mapping[str, Number]) -> list[str]:
        try:
            self._build(values)
        except ValidationError as error:
            listed = error.errors(include_url=False)[0]["msg"].removeprefix("Value error, ")
            return re.split(r"; (?=\w+: )", listed)
        return []

    def _build(self, values: Mapping[str, Number]) -> Recipe:
        settings = dict(self._fixed_settings)
        for dim in self.searched:
            settings.update(dim.settings(values.get(dim.name, dim.usual)))
        return Recipe.model_validate(settings)

    def _located(self, recipe: Recipe) -> Values | str:
        unread = recipe.unread
        located: Values = {}
        for part in self.parts:
            value = part.locate(recipe, unread)
            if value is None:
                return part.refusal(recipe)
            if part.count != 1:
                located[part.name] = value
        return located

    def _walk(self) -> Iterator[Recipe]:
        names = [dim.name for dim in self.searched]
        # A range without steps gets here only if no recipe reads it.
        axes = [[dim.usual] if dim.count is None else map(dim.value_at, range(dim.count)) for dim in self.searched]
        for chosen in itertools.product(*axes):
            values = dict(zip(names, chosen, strict=True))
            recipe = self.decode(values)
            # Values that differ only in unread fields decode to one recipe, listed at the values that it encodes to.
            if self.encode(recipe) == values:
                yield recipe


def _refused(problems: list[Problem]) -> ValidationError:
    """All problems as one validation error, each located at its key."""
    errors = [
        InitErrorDetails(
            type=PydanticCustomError("value_error", "{message}", {"message": problem.message}),
            loc=problem.key,
            input=problem.given,
        )
        for problem in problems
    ]
    return ValidationError.from_exception_data("RecipeSpace", errors)
