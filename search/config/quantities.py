"""Numbers as people write them: counts such as 20k, durations such as 1h30m and sizes such as 20G."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from search.config.run_config import RunConfig
from search.layouts import LayoutSpace

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_POWERS: Final = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}
_LONGEST_S: Final = 100 * 365 * 86400
"""Seconds that no search takes, and that the clocks of all systems hold."""
_MOST: Final = 2**62
_COUNT: Final = re.compile(r"([+-]?)(\d{1,3}(?:,\d{3})+|\d[\d_]*)(?:\.(\d+))?(?:e\+?(\d+))?\s*([KMGT]?)", re.IGNORECASE)


def seconds(text: str) -> float:
    """A duration such as 90, 90s, 30m, 2h, 1h30m or 1d, in seconds.

    Raises:
        ValueError: `text` is not a duration, or longer than 100 years.
    """
    parts = re.findall(r"(\d+(?:\.\d+)?)([smhd]?)", text)
    if not parts or "".join(number + unit for number, unit in parts) != text or (len(parts) > 1 and not parts[-1][1]):
        raise ValueError(f"{_cut(text)} given; write seconds or a duration such as 45m, 2h or 1h30m")
    found = sum(float(number) * _UNITS[unit or "s"] for number, unit in parts)
    _require_short(found, text)
    return found


def size_bytes(text: str) -> int:
    """A size such as 500000, 750M, 1.5G or 2T, in bytes; the suffixes are powers of 1024.

    Raises:
        ValueError: `text` is not a size, or larger than any disk.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGT]?)", text, re.IGNORECASE)
    if match is None:
        raise ValueError(f"{_cut(text)} given; write bytes or a size such as 750M, 20G or 1.5T")
    size = float(match[1]) * 1024 ** _POWERS[match[2].upper()]
    if size > _MOST:
        raise ValueError(f"{_cut(text)} given, more than any disk holds; use a size such as 20G")
    return int(size)


def count(text: str) -> int:
    """A whole number such as 300000, 300_000, 300,000, 1e6, 20k or 1.5M; the suffixes are powers of 1000.

    Raises:
        ValueError: `text` is not a whole number, or above 2^62.
    """
    match = _COUNT.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{_cut(text)} given; use a whole number such as 300000, 300k or 5M")
    sign, whole, decimals, power, suffix = match.groups(default="")
    digits, decimals = re.sub("[,_]", "", whole), decimals.rstrip("0")
    zeros = int(power[:9] or "0") + 3 * _POWERS[suffix.upper()] - len(decimals)
    if len(digits) + zeros > 40:
        raise ValueError(f"{_cut(text)} given; use at most 2^62")
    if zeros < 0:  # as in 1.5
        raise ValueError(f"{_cut(text)} given; use a whole number")
    return int(sign + digits + decimals + "0" * zeros)


_READERS: Final[dict[str, Callable[[str], float]]] = {"time_budget_s": seconds, "disk_quota": size_bytes}
"""How a text is read, for keys that are no counts."""


def read_quantities(given: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The configuration's values `given` with its quantities as numbers, and what is wrong with those left out.

    A bool is no number, although Python and pydantic take it for 0 or 1.
    """
    problems: list[str] = []
    read = _read_table(given, RunConfig, "", problems)
    if isinstance(read.get("space"), Mapping):
        read["space"] = _read_table(read["space"], LayoutSpace, "space.", problems)
    return read, problems


def _read_table(given: Mapping[str, Any], model: type[BaseModel], prefix: str, problems: list[str]) -> dict[str, Any]:
    kept = {}
    for name, value in given.items():
        field = model.model_fields.get(name)
        kind = None if field is None else _number(field.annotation)
        try:
            kept[name] = value if kind is None else _quantity(name, value, kind)
        except ValueError as error:
            problems.append(f"{prefix}{name}: {error}")
    return kept


def _quantity(name: str, value: Any, kind: type) -> Any:
    if any(isinstance(item, bool) for item in _items(value)):
        whole = "a whole number" if kind is int else "a number"
        raise ValueError(f"{str(value).lower()} given; use {whole}")
    if isinstance(value, str):
        return _READERS.get(name, count)(value) if name in _READERS or kind is int else value
    if name == "time_budget_s" and isinstance(value, int | float):
        _require_short(value, f"{value}")
    if kind is int and isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _require_short(time_s: float, given: str) -> None:
    if time_s > _LONGEST_S:
        raise ValueError(f"{_cut(given)} given, longer than 100 years; use a duration such as 1h30m")


def _cut(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:37]}...")


def _items(value: Any) -> Iterator[Any]:
    yield from value if isinstance(value, list | tuple) else (value,)


def _number(annotation: Any) -> type | None:
    """int or float for a field that holds such numbers, one, several or none at all; None for other fields."""
    if annotation in (int, float):
        return annotation  # type: ignore[no-any-return]
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin in (Annotated, tuple):
        return _number(inner[0])
    if origin is Literal:
        return int if all(type(value) is int for value in inner) else None
    if origin in (Union, UnionType):
        kinds = {_number(one) for one in inner if one is not NoneType}
        return kinds.pop() if len(kinds) == 1 else None
    return None
