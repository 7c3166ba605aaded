"""Command-line flags that stand for keys of the configuration; help and defaults come from its models."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, get_type_hints

from typer.models import OptionInfo

from search.config.dataset_defaults import default_text
from search.config.run_config import RunConfig
from search.layouts import LayoutSpace


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
