"""The features by which a model compares values: columns of numbers, one or several for each dimension of a space.

Numbers have their position in [0, 1], logarithmic ones that of their logarithm, and choices without an order one column
per option. What a candidate does not read is NaN, and its features are halfway between those of all values.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Numbers:
    """One column: the position of a value between the ends of its dimension."""

    def __init__(self, low: float, high: float, log: bool = False) -> None:
        self._of = np.log if log else np.asarray
        self._low, self._high = float(self._of(low)), float(self._of(high))

    def columns(self, values: Floats) -> Floats:
        """The column of `values` (N,), of which NaN is not read, (N, 1)."""
        found: Floats = (self._of(values) - self._low) / ((self._high - self._low) or 1.0)
        return np.where(np.isnan(found), 0.5, found)[:, None]


class Lookup:
    """The columns of the options of a choice, whose values are whole numbers from `first` on."""

    def __init__(self, table: Floats, first: int = 0) -> None:
        self._table, self._first = np.vstack([table, table.mean(axis=0)]), first

    def columns(self, values: Floats) -> Floats:
        """The columns of `values` (N,), of which NaN is not read, (N, K)."""
        places = np.where(np.isnan(values), len(self._table) - 1, values - self._first).astype(np.intp)
        found: Floats = self._table[places]
        return found


Column = Numbers | Lookup


def options(count: int) -> Lookup:
    """The columns of a choice without an order: two options are 1 apart."""
    return Lookup(np.eye(count) / math.sqrt(2))


def ordered(numbers: Sequence[float]) -> Lookup:
    """The column of a choice of numbers, by logarithms if the largest is at least ten times the smallest."""
    given = np.array(numbers, dtype=np.float64)
    if given.min() > 0 and given.max() >= 10 * given.min():
        given = np.log(given)
    spread = float(np.ptp(given)) or 1.0
    return Lookup(((given - given.min()) / spread)[:, None])


class Columns:
    """The columns of all dimensions of a space, and their groups."""

    def __init__(self, of: Mapping[str, Sequence[Column]], further: int = 0) -> None:
        self.of = of
        found, group = [], 0
        for columns in of.values():
            for column in columns:
                found += [group] * column.columns(np.array([np.nan])).shape[1]
                group += 1
        self.groups = np.array([*found, *range(group, group + further)], dtype=np.intp)

    def features(self, values: Mapping[str, Floats], n: int) -> Floats:
        """The features of `n` rows with these values, (N, F)."""
        found = [column.columns(values[name]) for name, columns in self.of.items() for column in columns]
        return np.hstack(found) if found else np.zeros((n, 0))
