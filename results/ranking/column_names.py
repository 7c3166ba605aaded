"""The columns of the leaderboard that a user's name for one means."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Final

from results.ranking.short_columns import SHORT_COLUMNS
from results.wording import USUAL_NAMES

HEADINGS: Final = {
    "layout": "layout_id",
    **{column.title: column.source for column in SHORT_COLUMNS},
    "accuracy": "val_accuracy",
}
"""Headings of the table with the columns that they show."""

_SUGGESTED: Final = ("trial", "status", "params", "val_accuracy")
"""Suggested for a name that is like no column's."""


def column_meant(name: str, columns: Sequence[str]) -> str | None:
    """The one of `columns` that `name` means: a column, a heading of the table or a field of the recipe, in this order.

    A field of the recipe may be written as `learning_rate`, `recipe.learning_rate` or `lr`.
    """
    plain = name.strip().replace(".", "_").replace(" ", "_")
    field = plain.removeprefix("recipe_")
    key = USUAL_NAMES.get(field, f"recipe.{field}")
    meant = (name, HEADINGS.get(name), plain, key.replace(".", "_"), key.removeprefix("space."))
    return next((column for column in meant if column is not None and column in columns), None)


def short_names(columns: Sequence[str]) -> dict[str, str]:
    """Every other name of one of `columns`, with the column that it means."""
    fields = [name.removeprefix("recipe_") for name in columns if name.startswith("recipe_")]
    names = dict.fromkeys((*HEADINGS, *fields, *USUAL_NAMES))
    found = {name: column_meant(name, columns) for name in names if name not in columns}
    return {name: column for name, column in found.items() if column is not None}


def nearest_columns(name: str, columns: Sequence[str]) -> list[str]:
    """Up to three of `columns` that `name` may mean, the likeliest first; for a name that is like none, usual ones."""
    plain = name.lstrip("-")
    meant = column_meant(plain, columns)
    near = get_close_matches(plain, columns, n=3, cutoff=0.5)
    found = list(dict.fromkeys([*([meant] if meant else []), *near]))[:3]
    return found or [column for column in _SUGGESTED if column in columns] or list(columns[:3])
