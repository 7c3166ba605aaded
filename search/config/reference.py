"""The reference of the configuration's keys, made from the fields of its models and their docstrings."""

from __future__ import annotations

import difflib
import re
import textwrap
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from results.wording import BOUNDS, USUAL_NAMES
from search.config.dataset_defaults import default_text, shown_value
from search.config.run_config import RunConfig
from search.errors import ConfigError
from search.layouts import LayoutSpace
from search.recipes.table import FAMILIES, read_with
from trainables.recipe import READ_WITH, Recipe

FOLLOWING: Final = {
    "earlier_max_epochs": "recorded by resumes that change max_epochs",
    "space.in_channels": "taken from the data set",
    "space.classes": "taken from the data set",
    "space.image_size": "taken from the data set",
}
"""Keys that a user cannot give, each with where its value comes from."""

_TABLES: Final[dict[str, type[BaseModel]]] = {"space": LayoutSpace, "recipe": Recipe}
_KINDS: Final[dict[Any, tuple[str, str]]] = {
    int: ("whole number", "whole numbers"),
    float: ("number", "numbers"),
    str: ("string", "strings"),
    bool: ("true or false", "true or false"),
}
"""Types in words, one value and several."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key of the configuration, in words; what does not apply is empty."""

    name: str
    """As in `space.channels`."""
    flag: str
    """The command-line flag that gives it."""
    value: str
    """Type and limits: `whole number, 1 to 100,000`."""
    default: str
    """The default, and those of the data sets that differ."""
    text: str
    """What it does."""
    follows: str
    """Where its value comes from, for a key that a user cannot give."""

    @property
    def table(self) -> str:
        """The table that it is in, empty for the top level."""
        return self.name.partition(".")[0] if "." in self.name else ""


def all_keys(flags: Mapping[str, str]) -> list[Key]:
    """Every key in the order of the models; `flags` has the flag of each key with one."""
    fields = {name: field for name, field in RunConfig.model_fields.items() if name not in _TABLES}
    for table, model in _TABLES.items():
        fields |= {f"{table}.{name}": field for name, field in model.model_fields.items()}
    families = Key(
        name=f"recipe.{FAMILIES}",
        flag="",
        value="table of families, each a table of at least two options, each a table of fields with one value each",
        default="none",
        text="Fields that are searched together: a recipe has one option of each family, and fields that the option "
        "leaves out have their defaults. "
        "Example: recipe.families.mixing = {mixup = {mixup_alpha = 0.2}, cutmix = {cutmix_alpha = 1}}.",
        follows="",
    )
    return [*(_key(name, field, flags.get(name, "")) for name, field in fields.items()), families]


def keys_with_prefix(keys: Iterable[Key], prefix: str) -> list[Key]:
    """The keys whose names start with `prefix`.

    Raises:
        ConfigError: there is none; the message names the key that may be meant.
    """
    names = {key.name: key for key in keys}
    found = [key for name, key in names.items() if name.startswith(prefix)]
    if not found:
        inner = {name.rpartition(".")[2]: name for name in reversed(names)}
        usual = USUAL_NAMES.get(prefix.rpartition(".")[2].lower())
        near = [usual] if usual else difflib.get_close_matches(prefix, [*names, *inner], n=1)
        meant = f"did you mean {inner.get(near[0], near[0])}?" if near else "--keys alone lists them all"
        raise ConfigError(f"no key starts with {prefix!r}; {meant}")
    return found


def as_text(keys: Iterable[Key], width: int) -> str:
    """The keys for a terminal of `width` columns."""
    blocks = []
    for key in keys:
        lines = [f"{key.name} ({key.flag})" if key.flag else key.name, *_wrapped(key.text, width)]
        if key.follows:
            lines += _wrapped(f"Cannot be given: {key.follows}.", width)
        else:
            lines += [*_wrapped(f"Value: {key.value}", width), *_wrapped(f"Default: {key.default}", width)]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def as_markdown(keys: Iterable[Key]) -> str:
    """The keys as a page of the documentation."""
    listed = list(keys)
    given = [key for key in listed if not key.follows]
    parts = [_HEAD]
    for table, title in (("", "The run"), ("space", "The space of layouts"), ("recipe", "The recipe")):
        intro = [_code(_text(RunConfig.model_fields[table]))] if table else []
        parts += [f"## {title}", *intro, _key_table([key for key in given if key.table == table])]
    following = [f"| `{key.name}` | {_code(key.text)} | {_code(key.follows)} |" for key in listed if key.follows]
    parts += [
        "## Keys that cannot be given",
        "\n".join(["| key | what it is | where it comes from |", "| --- | --- | --- |", *following]),
    ]
    return "\n\n".join(parts) + "\n"


_HEAD: Final = """\
<!-- Written by `make docs` from the fields and docstrings of the configuration; do not edit. -->

# Configuration

Every key can be given in a TOML file (`--config FILE`) or on the command line (`--set KEY=VALUE`), and some have a flag
of their own. Later sources win: the defaults, those of the data set, `--config`, `--space`, flags, `--set`.
Whole numbers outside lists and the recipe may be written as `300_000`, `3e5`, `300k` or `0.3M`, in a file in quotes.
`python -m search.run --keys` prints this reference, `--keys recipe` the keys that start with `recipe`."""


def _key(name: str, field: FieldInfo, flag: str) -> Key:
    inner = name.rpartition(".")[2]
    text = _text(field)
    if name.startswith("recipe.") and inner in READ_WITH:
        text += f" Used only with {read_with(inner)}."
    return Key(
        name=name,
        flag=flag,
        value=", ".join(filter(None, _described(field.annotation, field.metadata))),
        default=default_text(name, field.default) or ("none" if field.default == () else "not set"),
        text=text,
        follows=FOLLOWING.get(name, ""),
    )


def _text(field: FieldInfo) -> str:
    return " ".join((field.description or "").split())


def _described(annotation: Any, metadata: Iterable[Any] = (), *, several: bool = False) -> tuple[str, str]:
    """A type in words and its limits in words, the type in the plural for `several`."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        nested = [part for item in inner[1:] for part in (item.metadata if isinstance(item, FieldInfo) else [])]
        return _described(inner[0], [*metadata, *nested], several=several)
    if origin is Callable:
        return "import path of a function", ""
    if origin in (Union, UnionType):
        options = [option for option in inner if option is not type(None)]
        if len(options) == 1:
            return _described(options[0], metadata, several=several)
        return ", or ".join(", ".join(filter(None, _described(option))) for option in options), ""
    if origin is Literal:
        values = [shown_value(value) for value in inner]
        return ("", values[0]) if len(values) == 1 else ("", f"one of {', '.join(values)}")
    if origin is tuple:
        length = "" if inner[-1] is Ellipsis else f"{len(inner)} "
        kind, limits = _described(inner[0], several=True)
        return f"list of {length}{kind}" if kind else "list", f"each {limits}" if limits else ""
    return _KINDS[annotation][several], _limits(annotation, metadata)


def _limits(number: type, metadata: Iterable[Any]) -> str:
    bounds = {name: getattr(item, name) for item in metadata for name in BOUNDS if hasattr(item, name)}
    if number is int and "lt" in bounds:
        bounds["le"] = bounds.pop("lt") - 1
    shown = {name: _shown_bound(bounds[name]) for name in BOUNDS if name in bounds}
    if shown.keys() == {"ge", "le"}:
        return f"{shown['ge']} to {shown['le']}"
    return " and ".join(f"{BOUNDS[name]} {value}" for name, value in shown.items())


def _shown_bound(value: float) -> str:
    """A limit; a power of two that nobody reads digit by digit, as 2^62."""
    large = isinstance(value, int) and value > 2**32 and value.bit_count() == 1
    return f"2^{int(value).bit_length() - 1}" if large else shown_value(value)


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)


def _key_table(keys: list[Key]) -> str:
    flags = any(key.flag for key in keys)
    heads = ["key", *(["flag"] if flags else []), "value", "default", "what it does"]
    rows = [
        [
            f"`{key.name}`",
            *([f"`{key.flag}`" if key.flag else ""] if flags else []),
            key.value,
            key.default,
            _code(key.text),
        ]
        for key in keys
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in (heads, ["---"] * len(heads), *rows))


def _code(text: str) -> str:
    """`text` with its TOML, and the keys that an underscore tells from words, as code."""
    return re.sub(r"[\w.]+ = \{.*\}|\{[^}]*\}|\b[a-z]+(?:_[a-z]+)+\b", r"`\g<0>`", text)
