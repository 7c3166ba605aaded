"""A dimension of a recipe space: a list of choices, or a range of numbers.

Both have the same methods: they return the fields that a value of the dimension sets, the value that a recipe has, and
the position of a value in [0, 1].
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from trainables.recipe import Recipe

Setting = bool | int | float | str
"""A value of a field of `Recipe`."""
Number = int | float
"""A value of a dimension: an index into choices, or the field's own value in a range."""
Values = dict[str, Number]
"""A value for each of several dimensions."""


@dataclass(frozen=True)
class Choice:
    """A list of options, each with a value for all `fields`: the values of one field, or a family of several fields."""

    name: str
    fields: tuple[str, ...]
    options: tuple[tuple[Setting, ...], ...]
    labels: tuple[str, ...]

    @cached_property
    def count(self) -> int:
        """The number of options."""
        return len(self.options)

    @property
    def ends(self) -> tuple[Number, ...]:
        """The values that reveal every contradiction with another dimension: all of them."""
        return tuple(range(self.count))

    @cached_property
    def usual(self) -> Number:
        """The value for a recipe that reads none of the fields: the option with the defaults, or else the first."""
        defaults = tuple(Recipe.model_fields[field].default for field in self.fields)
        return self.options.index(defaults) if defaults in self.options else 0

    def value_at(self, index: int) -> Number:
        """The value with number `index`."""
        return index

    def index(self, value: Number) -> int:
        """The number of the option nearest to `value`."""
        return min(max(round(value), 0), self.count - 1)

    def fraction(self, value: Number) -> float:
        """The position of `value`, from 0 for the first option to 1 for the last."""
        return value / max(1, self.count - 1)

    def settings(self, value: Number) -> dict[str, Setting]:
        """The fields that option `value` sets, with their values.

        Raises:
            ValueError: there is no such option.
        """
        if value not in range(self.count):
            raise ValueError(
                f"{self.name}: option {value} given, but there are {self.count}; use 0 to {self.count - 1}"
            )
        return dict(zip(self.fields, self.options[int(value)], strict=True))

    def locate(self, recipe: Recipe, unread: frozenset[str]) -> Number | None:
        """The first option equal to `recipe` in all fields outside `unread`; None if there is none."""
        if unread.issuperset(self.fields):
            return self.usual
        found = tuple(getattr(recipe, field) for field in self.fields)
        for index, option in enumerate(self.options):
            if all(a == b or field in unread for field, a, b in zip(self.fields, option, found, strict=True)):
                return index
        return None

    def distinct(self, unread: frozenset[str]) -> int:
        """The number of options that differ in a field outside `unread`."""
        kept = [i for i, field in enumerate(self.fields) if field not in unread]
        return len({tuple(option[i] for i in kept) for option in self.options})

    def draw(self, generator: np.random.Generator) -> Number:
        """A value drawn uniformly."""
        return int(generator.integers(self.count))

    @property
    def text(self) -> str:
        """The options as text."""
        return ", ".join(f'"{label}"' if "," in label else label for label in self.labels)

    def refusal(self, recipe: Recipe) -> str:
        """Why `recipe` matches none of the options."""
        if self.fields != (self.name,):
            found = ", ".join(f"{field} {shown(getattr(recipe, field), quote=True)}" for field in self.fields)
            return f"{self.name}: {found} matches none of {self.text}"
        relation = "not" if self.count == 1 else "not among"
        return f"{self.name} {shown(getattr(recipe, self.name), quote=True)} is {relation} {self.text}"

    def named(self, value: Number) -> str:
        """The name and one value, for messages."""
        return f"{self.name} {self.labels[int(value)]}"

    def to_json(self) -> Any:
        """The choice as a configuration writes it; a family is a table of its options."""
        if self.fields != (self.name,):
            return {
                label: dict(zip(self.fields, option, strict=True))
                for label, option in zip(self.labels, self.options, strict=True)
            }
        values = [option[0] for option in self.options]
        return values[0] if self.count == 1 else values


@dataclass(frozen=True)
class Range:
    """The numbers from `low` to `high`, inclusive, for one field; whole numbers if the field takes whole numbers."""

    name: str
    low: Number
    high: Number
    log: bool = False
    step: Number | None = None

    @property
    def fields(self) -> tuple[str, ...]:
        """The one field."""
        return (self.name,)

    @property
    def whole(self) -> bool:
        """Whether the range has only whole numbers."""
        return isinstance(self.low, int)

    @cached_property
    def count(self) -> int | None:
        """The number of values; None for all real numbers between the ends."""
        if self.step is None and not self.whole:
            return None
        return round((self.high - self.low) / (self.step or 1)) + 1

    @property
    def ends(self) -> tuple[Number, ...]:
        """The values that reveal contradictions with another dimension: both ends."""
        return (self.low, self.high)

    @cached_property
    def usual(self) -> Number:
        """The value for a recipe that does not read the field: its default, or else the middle."""
        default = Recipe.model_fields[self.name].default
        middle = math.sqrt(self.low * self.high) if self.log else (self.low + self.high) / 2
        return self.nearest(default if self.low <= default <= self.high else middle)

    def value_at(self, index: int) -> Number:
        """The value with number `index`."""
        value = self.low + index * (self.step or 1)
        return value if self.whole else float(f"{value:.12g}")  # 0.3, not 0.30000000000000004

    def index(self, value: Number) -> int:
        """The number of the value nearest to `value`, in a range with steps."""
        return round((min(max(value, self.low), self.high) - self.low) / (self.step or 1))

    def nearest(self, value: Number) -> Number:
        """The value nearest to `value`."""
        return min(max(value, self.low), self.high) if self.count is None else self.value_at(self.index(value))

    def fraction(self, value: Number) -> float:
        """The position of `value`, from 0 at the low end to 1 at the high end."""
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def value_of(self, fraction: float) -> Number:
        """The value at `fraction` in [0, 1]; the inverse of `fraction` up to rounding."""
        if self.log:
            return self.nearest(self.low * (self.high / self.low) ** fraction)
        return self.nearest(self.low + (self.high - self.low) * fraction)

    def settings(self, value: Number) -> dict[str, Setting]:
        """The field with `value`, or with the step that is equal to it up to rounding.

        Raises:
            ValueError: it is outside the range, or between two steps.
        """
        nearest = self.nearest(value)
        if not math.isclose(nearest, value, rel_tol=1e-9):
            raise ValueError(f"{self.name}: {value} given, but the range is {self.text}; use {shown(nearest)}")
        return {self.name: nearest}

    def locate(self, recipe: Recipe, unread: frozenset[str]) -> Number | None:
        """The value of `recipe`'s field, or the usual one if the field is in `unread`; None if outside the range."""
        if self.name in unread:
            return self.usual
        value: Number = getattr(recipe, self.name)
        return value if self.nearest(value) == value else None

    def distinct(self, unread: frozenset[str]) -> int:
        """The number of values that differ outside `unread`, in a range with steps."""
        return 1 if self.name in unread else self.count or 1

    def draw(self, generator: np.random.Generator) -> Number:
        """A value drawn uniformly, in the logarithm if the range is logarithmic."""
        if self.log:
            margin = 0.5 if self.whole else 0.0  # as in Optuna, so that the first and the last number are not rarer
            exponent = generator.uniform(math.log(self.low - margin), math.log(self.high + margin))
            return self.nearest(math.exp(exponent))
        if self.count is None:
            return float(generator.uniform(self.low, self.high))
        return self.value_at(int(generator.integers(self.count)))

    @property
    def text(self) -> str:
        """The range as text."""
        steps = f" by {shown(self.step)}" if self.step is not None else ""
        return f"{shown(self.low)} to {shown(self.high)}{steps}{', log' if self.log else ''}"

    def refusal(self, recipe: Recipe) -> str:
        """Why `recipe` is outside the range."""
        return f"{self.name} {shown(getattr(recipe, self.name))} is not in {self.text}"

    def named(self, value: Number) -> str:
        """The name and one value, for messages."""
        return f"{self.name} {shown(value)}"

    def to_json(self) -> Any:
        """The range as a configuration writes it."""
        table: dict[str, Any] = {"low": self.low, "high": self.high}
        return table | ({"log": True} if self.log else {}) | ({} if self.step is None else {"step": self.step})


def shown(value: Setting, quote: bool = False) -> str:
    """A setting as a configuration writes it; strings are quoted only with `quote`."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return repr(value) if quote else value
    if isinstance(value, int):
        return str(value)
    return f"{value:g}" if float(f"{value:g}") == value else repr(value)
