"""What is wrong with a configuration, as sentences: each names the key, the value, the limit and the remedy."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from results.wording import USUAL_NAMES, remedy_of
from search.errors import ConfigError
from search.layouts import LayoutSpace
from trainables.recipe import Recipe

_TABLES: dict[str, set[str]] = {
    "space": set(LayoutSpace.model_fields),
    "recipe": set(Recipe.model_fields),
}
"""The keys of each table of a configuration."""


def problems_of(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """A sentence for each problem that `model` has found, each once."""
    return list(dict.fromkeys(_sentence(item, model) for item in error.errors(include_url=False)))


def one_line(problems: list[str]) -> str:
    """The problems as one line."""
    if len(problems) == 1:
        return problems[0]
    return f"{len(problems)} problems: " + " | ".join(problems)


def refuse_misplaced(file: Path, content: Mapping[str, Any], model: type[BaseModel], *, of_space: bool) -> None:
    """Nothing, unless `content` of `file` has keys at its top level that belong into another file or table.

    `model` is the whole configuration; `of_space` says that the file is for the space's keys alone.

    Raises:
        ConfigError: it has.
    """
    whole = set(model.model_fields)
    found: list[tuple[set[str], str]]
    if of_space:
        own = _TABLES["space"]
        remedy = f"not keys of a space; give {file} with --config, or keep only the keys of [space] in it"
        found = [
            (whole - own, remedy),
            (_TABLES["recipe"] - own - whole, "not keys of a space; put them under [recipe] in a file for --config"),
        ]
    else:
        found = [
            (_TABLES["space"] - whole, f"keys of [space]; put them under that heading, or give {file} with --space"),
            (_TABLES["recipe"] - _TABLES["space"] - whole, "keys of [recipe]; put them under that heading"),
        ]
    problems = [
        f"{file}: {', '.join(names)} at the top level: {remedy}"
        for keys, remedy in found
        if (names := [name for name in content if name in keys])
    ]
    if problems:
        raise ConfigError(one_line(problems))


def _sentence(item: Any, model: type[BaseModel]) -> str:
    location, kind = item["loc"], item["type"]
    key = ".".join(map(str, location))
    message = item["msg"].removeprefix("Value error, ")
    if kind == "extra_forbidden":
        return f"{key}: no such key{_nearest(location, model)}"
    if kind == "value_error":
        return f"{key}.{message}" if key and message.split(":")[0].isidentifier() else _join(key, message)
    if kind in ("missing", "too_long", "tuple_type"):  # missing is a place of a list that is too short
        given = location[:-1] if kind == "missing" and isinstance(location[-1], int) else location
        field = _field(given, model)
        if field is not None:
            return f"{'.'.join(map(str, given))}: {item['input']!r} given; use {_list_of(field)}"
    return f"{key}: {item['input']!r} given; {remedy_of(item)}"


def _list_of(field: FieldInfo) -> str:
    """What a list for `field` is, with its default as the example."""
    kinds = get_args(field.annotation)
    length = "a list" if not kinds or kinds[-1] is Ellipsis else f"a list of {len(kinds)} values"
    example = list(field.default) if isinstance(field.default, tuple) and field.default else None
    return length if example is None else f"{length} such as {str(example).lower()}"  # as TOML has true and false


def _field(location: tuple[int | str, ...], model: type[BaseModel]) -> FieldInfo | None:
    fields: dict[str, FieldInfo] = model.model_fields
    for part in location[:-1]:
        inner = fields[str(part)].annotation if str(part) in fields else None
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return None
        fields = inner.model_fields
    return fields.get(str(location[-1]))


def _join(key: str, message: str) -> str:
    return f"{key}: {message}" if key else message


def _nearest(location: tuple[int | str, ...], model: type[BaseModel]) -> str:
    name, table = str(location[-1]), str(location[0]) if len(location) > 1 else ""
    tables = [other for other, keys in _TABLES.items() if name in keys and other != table]
    own = _TABLES.get(table, set(model.model_fields))
    others = {key: f"{other}.{key}" for other, keys in _TABLES.items() if other != table for key in keys}
    meant = [f"{other}.{name}" for other in tables]
    if table and name in model.model_fields:
        meant = [*meant, f"{name} outside of [{table}]"]
    if not meant and name.lower() in USUAL_NAMES:
        meant = [USUAL_NAMES[name.lower()]]
    meant = meant or difflib.get_close_matches(name, own, n=1)
    meant = meant or [others[key] for key in difflib.get_close_matches(name, others, n=1, cutoff=0.8)]
    if meant:
        return f"; did you mean {' or '.join(meant)}?"
    return f"; python -m search.run --keys{' ' if table else ''}{table} lists them all"
