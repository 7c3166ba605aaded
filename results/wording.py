"""Wording shared by the commands: numbers of things, and remedies for values that pydantic refuses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_KINDS: Final = {
    **dict.fromkeys(("int_parsing", "int_type", "int_from_float"), "use a whole number"),
    **dict.fromkeys(("float_parsing", "float_type"), "use a number"),
    "finite_number": "use a finite number",
    **dict.fromkeys(("bool_parsing", "bool_type"), "use true or false"),
    "string_type": "use a string",
    "list_type": "use a list",
    **dict.fromkeys(("model_type", "dict_type"), "use a table of keys"),
}
BOUNDS: Final = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
"""Limits of a number, as pydantic names them, in words."""
_BROKEN: Final = {"greater_than_equal": "ge", "greater_than": "gt", "less_than_equal": "le", "less_than": "lt"}
USUAL_NAMES: Final = {
    "lr": "learning_rate",
    "bs": "batch_size",
    "batch": "batch_size",
    "wd": "weight_decay",
    "opt": "optimizer",
    "scheduler": "schedule",
    "lr_schedule": "schedule",
    "lr_scheduler": "schedule",
}
"""What a field of the recipe is called elsewhere, with its name here."""


def counted(number: int, noun: str) -> str:
    """The number with its noun: `1 trial`, `2,000 trials`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def remedy_of(item: Mapping[str, Any]) -> str:
    """The remedy for one of a ValidationError's `errors()`, such as `use at least 1`, or else its message."""
    kind: str = item["type"]
    if kind in _BROKEN:
        name = _BROKEN[kind]
        return f"use {BOUNDS[name]} {item['ctx'][name]}"
    if kind == "literal_error":
        return f"use {item['ctx']['expected'].replace(chr(39), '')}"
    message: str = item["msg"].removeprefix("Value error, ")
    return _KINDS.get(kind, message[:1].lower() + message[1:])
