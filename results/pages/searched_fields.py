"""The fields of layouts and recipes that differ between the trials of a run, and what they explain of the accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Final

from results.record.events import RECIPE_FIELDS

Row = Mapping[str, Any]

_PER_STAGE: Final = ("blocks", "channels", "strides", "kernels")
_PER_NETWORK: Final = (
    *("block", "groups", "squeeze", "activation", "expansion", "skip_pool", "skip_kernel", "conv_bias"),
    *("stem_channels", "stem_depth", "stem_stride"),
)
_GROUPS: Final = 4
"""Numbers of many values are compared in four groups of equal size."""
_LEAST: Final = 8
"""The fewest trials whose accuracies say something on a field."""


@dataclass(frozen=True)
class SearchedField:
    """A field with its value in each trial that has one."""

    name: str
    values: dict[int, Any]
    """By the number of the trial."""
    number: bool
    """Whether the values are numbers, so that they have an order."""
    logarithmic: bool
    """Whether its range was searched in logarithms."""

    @property
    def names(self) -> list[Any]:
        """The different values, in their order."""
        return sorted(set(self.values.values()), key=lambda it: it if self.number else str(it))


def searched_fields(trials: Sequence[Row], config: Row) -> list[SearchedField]:
    """The fields with at least two values among the rows of the trials table, those of the layout first."""
    columns: dict[str, dict[int, Any]] = {}
    for row in trials:
        columns.setdefault("stages", {})[row["trial"]] = len(row["blocks"])
        for name in _PER_STAGE:
            for stage, value in enumerate(row[name], start=1):
                columns.setdefault(f"stage {stage} {name}", {})[row["trial"]] = value
        for name in _PER_NETWORK:
            columns.setdefault(name, {})[row["trial"]] = row[name]
        for name in RECIPE_FIELDS:
            if name != "epochs":
                columns.setdefault(name, {})[row["trial"]] = row[f"recipe_{name}"]
    if all(row["stem_channels"] == row["channels"][0] for row in trials):
        del columns["stem_channels"]  # it follows the first stage
    found = []
    for name, column in columns.items():
        values = {trial: value for trial, value in column.items() if value is not None}
        if len(set(values.values())) > 1:
            number = all(isinstance(it, int | float) and not isinstance(it, bool) for it in values.values())
            asked = config.get("recipe", {}).get(name)
            in_logarithms = bool(
                number and isinstance(asked, Mapping) and asked.get("log") and min(values.values()) > 0
            )
            found.append(SearchedField(name.replace("_", " "), values, number, in_logarithms))
    return found


def explained(field: SearchedField, accuracies: Mapping[int, float]) -> float | None:
    """The share of the variance of `accuracies`, by trial, that `field` explains alone; None for too few trials.

    It is epsilon squared of a one-way analysis of variance, at least 0: what groups without influence explain by chance
    is taken off. Numbers of more than four values are compared in quarters. Source: Kelley, An Unbiased Correlation
    Ratio Measure, PNAS 21, 1935.
    """
    rows = [(field.values[trial], value) for trial, value in accuracies.items() if trial in field.values]
    if len(rows) < _LEAST:
        return None
    groups = _grouped(rows, field)
    mean = fmean(value for _, value in rows)
    total = sum((value - mean) ** 2 for _, value in rows)
    between = sum(len(group) * (fmean(group) - mean) ** 2 for group in groups)
    if len(groups) < 2 or len(rows) <= len(groups) or total == 0:
        return None
    noise = (total - between) / (len(rows) - len(groups))
    return max(0.0, (between - (len(groups) - 1) * noise) / total)


def _grouped(rows: list[tuple[Any, float]], field: SearchedField) -> list[list[float]]:
    by_value: dict[Any, list[float]] = {}
    for value, accuracy in rows:
        by_value.setdefault(value, []).append(accuracy)
    if not field.number or len(by_value) <= _GROUPS:
        return list(by_value.values())
    groups: list[list[float]] = [[] for _ in range(_GROUPS)]
    seen = 0
    for value in sorted(by_value):  # equal values stay together
        groups[seen * _GROUPS // len(rows)] += by_value[value]
        seen += len(by_value[value])
    return [group for group in groups if group]
