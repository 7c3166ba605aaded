"""Command-line flags that stand for keys of the configuration; help and defaults come from its models."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, get_type_hints

from typer.models import OptionInfo

from search.config.dataset_defaults import default_text
from search.config.run_config import RunConfig
from search.errors import ConfigError
from search.layouts import LayoutSpace

_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class ConfigFlag(OptionInfo):
    """An option of a command that stands for a key of the configuration."""

    def __init__(self, key: str, help: str, metavar: str | None) -> None:
        super().__init__(default=..., help=help, metavar=metavar, show_default=False)
        self.key = key


def config_flag(key: str, metavar: str | None = None) -> ConfigFlag:
    """The option for `key` of the configuration (`space.key` for one of the space), described by the model."""
    model = LayoutSpace if key.startswith("space.") else RunConfig
    field = model.model_fields[key.rpartition(".")[2]]
    default = default_text(key, field.default)
    text = " ".join((field.description or "").split())
    return ConfigFlag(key, f"{text} [default: {default}]" if default else text, metavar)


def config_keys(command: Callable[..., Any]) -> dict[str, str]:
    """The parameters of `command` that stand for keys of the configuration, each with its key."""
    hints = get_type_hints(command, include_extras=True)
    return {
        name: option.key
        for name, hint in hints.items()
        for option in getattr(hint, "__metadata__", ())
        if isinstance(option, ConfigFlag)
    }


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
    try:
        return int(float(match[1]) * 1024 ** _POWERS[match[2].upper()])
    except OverflowError:
        raise ConfigError(f"disk_quota: {text!r} given, more than any disk holds; use a size such as 20G") from None
