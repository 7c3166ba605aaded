"""Which columns somebody may have meant."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

HEADINGS = {"val": "val_accuracy", "test": "test_accuracy", "accuracy": "val_accuracy", "extras": "layout_id"}
"""Headings of the table that are no column's name, and what they show."""


def nearest_columns(name: str, columns: Sequence[str]) -> list[str]:
    """Up to three of `columns`, the likeliest first: by heading, else by spelling."""
    known = [HEADINGS[name]] if HEADINGS.get(name) in columns else []
    return [*known, *(near for near in get_close_matches(name, columns, n=3, cutoff=0) if near not in known)][:3]
