"""Random tables of recipe spaces, and their recipes by brute force straight from the table."""

import itertools
import math
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

from hypothesis import strategies as st

from search.recipes import RecipeSpace
from trainables.recipe import Recipe

Option = tuple[float, dict[str, Any]]
"""Place of a value in [0, 1] and what it sets."""

DIMENSIONS: list[dict[str, Any]] = [
    {"optimizer": ["sgd", "nesterov", "adam", "adamw"]},
    {
        "families": {
            "update": {"plain": {"optimizer": "sgd"}, "clipped": {"optimizer": "adam", "adaptive_clipping": 0.1}}
        }
    },
    {"momentum": [0.9, 0.5, 0.99]},
    {"momentum": {"low": 0.5, "high": 0.8, "step": 0.1}},
    {"schedule": ["step", "constant", "cosine"]},
    {"warmup_epochs": [2, 1]},
    {"step_epochs": {"low": 5, "high": 15, "step": 5}},
    {"step_factor": [0.1, 0.333]},
    {"crop_padding": {"low": 0, "high": 2}},
    {"padding_mode": ["reflect", "zeros"]},
    {"families": {"border": {"none": {"crop_padding": 0}, "black": {"padding_mode": "zeros"}, "mirror": {}}}},
    {"batch_size": {"low": 2, "high": 5, "log": True}},
    {"flip": [True, False]},
    {"first_image_size": {"low": 0, "high": 16, "step": 8}},
    {"resizing_share": [0.3, 0.8]},
    {"mix_strength": ["constant", "growing", "fading"]},
    {"families": {"augmentation": {"cutout": {"cutout": 8}, "mixup": {"cutout": 0, "mixup_alpha": 0.5}}}},
]
"""Tables of a dimension each; those that set the same fields exclude each other."""


def bundled(table: Mapping[str, Any]) -> set[str]:
    """The fields a table sets."""
    families = table.get("families", {}).values()
    return set(table) - {"families"} | {f for options in families for option in options.values() for f in option}


def merged(tables: list[dict[str, Any]]) -> dict[str, Any]:
    """One table of those that set different fields."""
    result: dict[str, Any] = {"families": {}}
    for table in tables:
        if not bundled(table) & bundled(result):
            families = result["families"] | table.get("families", {})
            result |= table | {"families": families}
    return result


finite_tables = st.lists(st.sampled_from(DIMENSIONS), max_size=4, unique_by=str).map(merged)


def dimensions_of(table: dict[str, Any]) -> dict[str, list[Option]]:
    """The values of every dimension, straight from the table; fields in the order of `Recipe`, then families."""
    found: dict[str, list[Option]] = {}
    for field in Recipe.model_fields:
        given = table.get(field)
        if isinstance(given, list):
            values = given if isinstance(given[0], str) else sorted(given)
            found[field] = [(i / (len(values) - 1), {field: value}) for i, value in enumerate(values)]
        elif isinstance(given, dict):
            low, high, step = given["low"], given["high"], given.get("step", 1)
            values = [round(low + i * step, 9) for i in range(round((high - low) / step) + 1)]
            scale = math.log if given.get("log") else float
            places = [(scale(v) - scale(low)) / (scale(high) - scale(low)) for v in values]
            found[field] = [(place, {field: value}) for place, value in zip(places, values, strict=True)]
    for family, options in table["families"].items():
        found[family] = [(i / (len(options) - 1), option) for i, option in enumerate(options.values())]
    return found


def products(table: dict[str, Any]) -> Iterator[tuple[dict[str, float], Recipe]]:
    """Every combination of values: their places, and the recipe as given."""
    dims = dimensions_of(table)
    for chosen in itertools.product(*dims.values()):
        sets = {field: value for _, option in chosen for field, value in option.items()}
        places = {name: place for name, (place, _) in zip(dims, chosen, strict=True)}
        yield places, Recipe.model_validate(sets)


def space_of(table: Mapping[str, Any] | str) -> RecipeSpace:
    return RecipeSpace.model_validate(tomllib.loads(table) if isinstance(table, str) else table)


INFINITE = """
optimizer = ["sgd", "adam"]
learning_rate = {low = 0.01, high = 0.5, log = true}
momentum = {low = 0.8, high = 0.99}
batch_size = {low = 64, high = 512, step = 64}
"""
