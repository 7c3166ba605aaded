"""Command-line flags that stand for keys of the configuration; help and defaults come from its models."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import typer
from pydantic import BaseModel

from search.config.dataset_defaults import DATASET_DEFAULTS
from search.config.run_config import RunConfig
from search.errors import ConfigError
from search.layouts import LayoutSpace

_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def config_flag(key: str, *names: str, metavar: str | None = None) -> Any:
    """The option for `key` of the configuration (`space.key` for one of the space), described by the model."""
    model: type[BaseModel] = LayoutSpace if key.startswith("space.") else RunConfig
    field = model.model_fields[key.rpartition(".")[2]]
    shown = _defaults(key, field.default)
    text = f"{' '.join((field.description or '').split())}{shown}"
    return typer.Option(*names, help=text, metavar=metavar, show_default=False)


def _defaults(key: str, usual: Any) -> str:
    """The default of `key`, and those of the data sets that have another, as the end of its help."""
    values: dict[Any, list[str]] = {}
    for dataset, overrides in DATASET_DEFAULTS.items():
        found: Any = overrides
        for part in key.split("."):
            found = found.get(part) if isinstance(found, dict) else None
        if found is not None and found != usual:
            values.setdefault(found, []).append(dataset)
    if usual is None and not values:
        return ""
    shown = [_figure(usual)] + [f"{', '.join(datasets)}: {_figure(value)}" for value, datasets in values.items()]
    return f" [default: {'; '.join(shown)}]"


def _figure(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def nested(flags: Mapping[str, Any]) -> dict[str, Any]:
    """The flags that were given, as nested keys: `space.max_params` becomes `{"space": {"max_params": ...}}`."""
    values: dict[str, Any] = {}
    for key, value in flags.items():
        if value is None:
            continue
        outer, dot, inner = key.partition(".")
        if dot:
            values.setdefault(outer, {})[inner] = value
        else:
            values[outer] = value
    return values


def seconds(text: str | None) -> float | None:
    """A duration such as 90, 90s, 30m, 2h, 1h30m or 1d, in seconds.

    Raises:
        ConfigError: `text` is not a duration.
    """
    if text is None:
        return None
    parts = re.findall(r"(\d+(?:\.\d+)?)([smhd]?)", text)
    if not parts or "".join(number + unit for number, unit in parts) != text or (len(parts) > 1 and not parts[-1][1]):
        raise ConfigError(f"time_budget: {text!r} given; write seconds or a duration such as 45m, 2h or 1h30m")
    return sum(float(number) * _UNITS[unit or "s"] for number, unit in parts)


def size_bytes(text: str | None) -> int | None:
    """A size such as 500000, 750M, 1.5G or 2T, in bytes; the suffixes are powers of 1024.

    Raises:
        ConfigError: `text` is not a size.
    """
    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([KMGT]?)", text, re.IGNORECASE)
    if match is None:
        raise ConfigError(f"disk_quota: {text!r} given; write bytes or a size such as 750M, 20G or 1.5T")
    return int(float(match[1]) * 1024 ** _POWERS[match[2].upper()])
