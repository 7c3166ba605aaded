"""Suggests columns for a name that is not one."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

HEADINGS = {"val": "val_accuracy", "test": "test_accuracy", "accuracy": "val_accuracy", "extras": "layout_id"}
"""Headings of the table that are not names of columns, with the columns that they show."""


def nearest_columns(name: str, columns: Sequence[str]) -> list[str]:
    """Up to three of `columns` that `name` may mean, the likeliest first: by heading, then by spelling."""
    plain = name.lstrip("-").replace(".", "_").replace(" ", "_")
    meant = (HEADINGS.get(name), plain, f"recipe_{plain}")
    known = [column for column in meant if column is not None and column in columns]
    return [*known, *(near for near in get_close_matches(name, columns, n=3, cutoff=0) if near not in known)][:3]
