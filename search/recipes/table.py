"""Reads the table `[recipe]` of a configuration into the parts of a recipe space, and collects all problems."""

from __future__ import annotations

import difflib
import functools
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, NamedTuple

from pydantic import TypeAdapter, ValidationError

from results.wording import USUAL_NAMES, remedy_of
from search.recipes.dimensions import Choice, Number, Range, Setting, shown
from trainables.recipe import READ_WITH, Recipe

OF_THE_RUN = {"epochs": "max_epochs", "seed": "seed"}
"""Settings of a training that are not part of its recipe, each with the key of the run that sets it."""
FAMILIES = "families"
_RANGE_KEYS = ("low", "high", "log", "step")


class Problem(NamedTuple):
    """One thing wrong with a table."""

    key: tuple[str, ...]
    given: Any
    message: str


def read_table(table: Mapping[str, Any]) -> tuple[tuple[Choice | Range, ...], list[Problem]]:
    """Every field of `Recipe` as a choice or range, then the families, and all problems."""
    known = list(Recipe.model_fields)
    keys = {*known, FAMILIES}
    problems = [
        Problem((key,), given, f"no such key{_meant(key, [*known, FAMILIES])}")
        for key, given in table.items()
        if key not in keys
    ]
    families = _read_families(table.get(FAMILIES, {}), [name for name in known if name in table], problems)
    bundled = {field for family in families for field in family.fields}
    parts = [
        _read_field(name, table.get(name, Recipe.model_fields[name].default), problems)
        for name in known
        if name not in bundled
    ]
    return (*(part for part in parts if part is not None), *families), problems


def read_with(name: str) -> str:
    """The condition under which a recipe reads the field `name` of `READ_WITH`: `optimizer sgd, nesterov or muon`."""
    others, values = READ_WITH[name]
    return f"{_either(others)} {_either(values) or 'above 0'}"


def _either(words: Sequence[str]) -> str:
    return " or ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def over_defaults(given: Mapping[str, Any], defaults: Mapping[str, Setting]) -> dict[str, Any]:
    """The table `given` over a data set's `defaults`, which also fill in the fields that the options of a family omit.

    Malformed parts of `given` are passed on unchanged, for `read_table` to report.
    """
    families = given.get(FAMILIES)
    if not isinstance(families, Mapping):
        return {**defaults, **given}
    filled: dict[str, Any] = {}
    bundled: set[str] = set()
    for name, options in families.items():
        tables = _tables(options)
        fields = {field for option in tables.values() for field in option}
        bundled |= fields
        usual = {field: value for field, value in defaults.items() if field in fields}
        filled[name] = {label: {**usual, **option} for label, option in tables.items()} if tables else options
    rest = {field: value for field, value in defaults.items() if field not in bundled}
    return {**rest, **given, FAMILIES: filled}


def _tables(options: Any) -> dict[str, Mapping[str, Any]]:
    """The options of a family if all of them are tables, otherwise an empty dict."""
    if isinstance(options, Mapping) and all(isinstance(option, Mapping) for option in options.values()):
        return dict(options)
    return {}


def _read_field(name: str, given: Any, problems: list[Problem]) -> Choice | Range | None:
    if isinstance(given, Mapping):
        return _read_range(name, given, problems)
    listed = isinstance(given, list | tuple)
    before = len(problems)
    values = [_setting(name, value, (name,), problems) for value in (given if listed else [given])]
    if listed and not values:
        problems.append(Problem((name,), given, "the list is empty; give at least one value"))
    if len(problems) > before:
        return None
    distinct = list(dict.fromkeys(value for value in values if value is not None))
    ordered = distinct if isinstance(distinct[0], str) else sorted(distinct)
    return Choice(name, (name,), tuple((value,) for value in ordered), tuple(map(shown, ordered)))


def _read_range(name: str, given: Mapping[str, Any], problems: list[Problem]) -> Range | None:
    before = len(problems)

    def refuse(message: str, key: str = "") -> None:
        problems.append(Problem((name, key) if key else (name,), given.get(key, given), message))

    if isinstance(Recipe.model_fields[name].default, bool | str):
        refuse("a range given, but the field is not a number; give a list of choices")
        return None
    for key in given:
        if key not in _RANGE_KEYS:
            refuse(f"no such key{_meant(key, _RANGE_KEYS)}", key)
    missing = [key for key in ("low", "high") if key not in given]
    if missing:
        refuse(f"the range has no {' and no '.join(missing)}; give low and high")
    low, high = (_setting(name, given[key], (name, key), problems) if key in given else None for key in ("low", "high"))
    log, step = given.get("log", False), given.get("step")
    if not isinstance(log, bool):
        refuse(f"{log!r} given; use true or false", "log")
    if step is not None and (isinstance(step, bool) or not isinstance(step, int | float) or not 0 < step < math.inf):
        refuse(f"{step!r} given; use a number above 0", "step")
    elif log is True and step is not None:
        refuse(f"{step!r} given with log; leave one of them out", "step")
    elif step is not None and isinstance(low, int) and step != int(step):
        refuse(f"{step!r} given, but the field takes whole numbers; use a whole number", "step")
    if len(problems) > before or not isinstance(low, int | float) or not isinstance(high, int | float):
        return None
    found = Range(name, low, high, log, step if step is None else type(low)(step))
    _check_ends(found, refuse)
    return found if len(problems) == before else None


def _check_ends(found: Range, refuse: Any) -> None:
    if found.low >= found.high:
        refuse(
            f"{shown(found.low)} to {shown(found.high)} is an empty range; give a low below the high, or a single value"
        )
    elif found.log and found.low <= 0:
        refuse(f"{shown(found.low)} given, but log needs a low above 0; raise it or leave log out", "low")
    elif found.step is not None:
        steps = math.floor((found.high - found.low) / found.step + 1e-9)
        last: Number = found.value_at(steps)
        if not math.isclose(last, found.high, rel_tol=1e-9):
            refuse(
                f"{shown(found.high)} given, but steps of {shown(found.step)} from {shown(found.low)} do not reach it; "
                f"use {' or '.join(shown(found.value_at(n)) for n in (steps, steps + 1) if n)}",
                "high",
            )


def _read_families(given: Any, direct: Collection[str], problems: list[Problem]) -> list[Choice]:
    if not isinstance(given, Mapping):
        problems.append(Problem((FAMILIES,), given, f"{given!r} given; give a table of families"))
        return []
    families = []
    owners: dict[str, str] = dict.fromkeys(direct, "outside the family")
    for name, options in given.items():
        family = _read_family(name, options, problems)
        for field in family.fields if family else ():
            if field in owners:
                message = f"{field} is set here and {owners[field]}; set it in one place"
                problems.append(Problem((FAMILIES, name), options, message))
            owners.setdefault(field, f"in families.{name}")
        if family:
            families.append(family)
    return families


def _read_family(name: str, options: Any, problems: list[Problem]) -> Choice | None:
    before, key = len(problems), (FAMILIES, name)
    tables = _tables(options)
    if name in Recipe.model_fields or not name:
        problems.append(Problem(key, options, f"{name!r} given as the name of a family; use a name that no field has"))
    if not tables:
        problems.append(Problem(key, options, "not a table of options; write each as option = {field = value, ...}"))
        return None
    if len(tables) < 2:
        problems.append(
            Problem(key, options, f"{len(tables)} option given; give at least two, or set its fields without a family")
        )
    known = list(Recipe.model_fields)
    for label, option in tables.items():
        for field, value in option.items():
            where = (*key, label, field)
            if field not in known:
                problems.append(Problem(where, value, f"no such key{_meant(field, known)}"))
            elif isinstance(value, Mapping | list | tuple):
                problems.append(Problem(where, value, f"{value!r} given; use a single value in an option"))
            else:
                _setting(field, value, where, problems)
    if len(problems) > before:
        return None
    fields = tuple(field for field in known if any(field in option for option in tables.values()))
    complete: dict[tuple[Setting, ...], str] = {}
    for label, option in tables.items():
        values = tuple(_adapter(f).validate_python(option.get(f, Recipe.model_fields[f].default)) for f in fields)
        if values in complete:
            same = ", ".join(f"{field} {shown(value)}" for field, value in zip(fields, values, strict=True))
            message = f"{label} is the same as {complete[values]} ({same}), for fields left out have their defaults"
            problems.append(Problem(key, options, f"{message}; set a field that differs"))
        complete.setdefault(values, label)
    return Choice(name, fields, tuple(complete), tuple(complete.values()))


def _setting(name: str, given: Any, where: tuple[str, ...], problems: list[Problem]) -> Setting | None:
    """The value `given` for a field, in the field's type; None, with a new problem, if the field does not accept it."""
    if isinstance(given, bool) and not isinstance(default := Recipe.model_fields[name].default, bool | str):
        kind = "a whole number" if isinstance(default, int) else "a number"  # pydantic takes true for 1
        problems.append(Problem(where, given, f"{str(given).lower()} given; use {kind}"))
        return None
    try:
        setting: Setting = _adapter(name).validate_python(given)
        return setting
    except ValidationError as error:
        problems.append(Problem(where, given, f"{given!r} given; {remedy_of(error.errors()[0])}"))
        return None


@functools.cache
def _adapter(name: str) -> TypeAdapter[Setting]:
    field = Recipe.model_fields[name]
    accepted: Any = Annotated[field.annotation, field]
    return TypeAdapter(accepted)


def _meant(key: str, known: Collection[str]) -> str:
    if key in OF_THE_RUN:
        return f"; set the run's {OF_THE_RUN[key]} instead"
    usual = USUAL_NAMES.get(str(key).lower(), "")
    if usual:
        inner = usual.removeprefix("recipe.")
        return f"; did you mean {inner if inner in known else usual}?"
    near = difflib.get_close_matches(str(key), known, n=1)
    if near:
        return f"; did you mean {near[0]}?"
    few = len(known) <= len(_RANGE_KEYS)
    return f"; known: {', '.join(known)}" if few else "; python -m search.run --keys recipe lists them all"
