"""The events of a record: their fields, checked, and the JSON line that holds one.

A number that is not finite is stored as the string "NaN", "Infinity" or "-Infinity" (JSON has no such numbers) and read
back as a float, in fields that are numbers only.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from numbers import Integral, Real
from typing import Any, Final

from pydantic_core import from_json

from results.errors import RecordError

Check = Callable[[str, Any], Any]
"""Takes a field's name and value, returns the value in its stored type or raises RecordError."""

INT64_MAX: Final = 2**63 - 1  # what the tables' int64 columns hold
TRIAL_ENDS: Final = ("completed", "stopped", "diverged", "out-of-memory", "lost", "failed")
RETRY_REASONS: Final = ("out-of-memory", "lost")
SESSION_ENDS: Final = ("done", "interrupted", "time-budget", "epoch-budget", "disk-quota", "exhausted", "failed")


def _refuse(name: str, value: object, limit: str) -> RecordError:
    return RecordError(f"{name}: {value!r:.80} given; use {limit}")


def _whole(least: int) -> Check:
    def check(name: str, value: Any) -> int:
        if type(value) is int and least <= value <= INT64_MAX:
            return value  # what every line of a record has; asking for Integral takes a third of a replay
        if isinstance(value, bool) or not isinstance(value, Integral) or not least <= int(value) <= INT64_MAX:
            raise _refuse(name, value, f"a whole number from {least} to 2**63 - 1")
        return int(value)

    return check


_POSITIVE: Final = _whole(1)
_ANY_WHOLE: Final = _whole(-INT64_MAX)


def _number(name: str, value: Any) -> float:
    if type(value) is float:
        return value
    if isinstance(value, str) and value in ("NaN", "Infinity", "-Infinity"):
        return float(value)
    if isinstance(value, bool) or not isinstance(value, Real):
        raise _refuse(name, value, "a number")
    try:
        return float(value)
    except OverflowError:
        raise _refuse(name, value, "a number that a double holds") from None


def _fraction(name: str, value: Any) -> float:
    number = _number(name, value)
    if not math.isnan(number) and not 0 <= number <= 1:
        raise _refuse(name, value, "a fraction in [0, 1], or NaN")
    return number


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise _refuse(name, value, "true or false")
    return value


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise _refuse(name, value, "a string")
    # Parquet holds no lone surrogate
    return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode()


def _optional(check: Check) -> Check:
    return lambda name, value: None if value is None else check(name, value)


def _one_of(*choices: str) -> Check:
    def check(name: str, value: Any) -> str:
        if value not in choices:
            raise _refuse(name, value, f"one of {', '.join(choices)}")
        return str(value)

    return check


def _wholes(name: str, value: Any) -> list[int]:
    if not isinstance(value, list | tuple) or not value:
        raise _refuse(name, value, "a list of whole numbers, one per stage")
    return [_POSITIVE(name, number) for number in value]


def _scalar(name: str, value: Any) -> Any:
    if isinstance(value, str):
        return _text(name, value)
    if isinstance(value, bool) or value is None:
        return value
    if type(value) is float and math.isfinite(value):
        return value
    if isinstance(value, Integral):
        return _ANY_WHOLE(name, value)
    if not isinstance(value, Real) or not math.isfinite(value):  # "NaN" may be a string here: no way back to the float
        raise _refuse(name, value, "a finite number, true, false or a string")
    return float(value)


def _scalars(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise _refuse(name, value, "names with numbers, flags or strings")
    return {_text(name, key): _scalar(f"{name}.{key}", item) for key, item in value.items()}


def _fields(checks: Mapping[str, Check]) -> Check:
    names = checks.keys()

    def check(name: str, value: Any) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise _refuse(name, value, f"the fields {', '.join(checks)}")
        if value.keys() != names:
            parts = [f"{key} is missing" for key in sorted(names - value.keys())]
            parts += [f"{key} is not a field of the schema" for key in sorted(map(str, value.keys() - names))]
            raise RecordError(f"{name}: {'; '.join(parts)}")
        try:
            return {key: take(key, value[key]) for key, take in checks.items()}
        except RecordError as error:  # whose field is named here alone: to name each one takes a fifth of a replay
            raise RecordError(f"{name}.{error}") from None

    return check


LAYOUT_FIELDS: Final[dict[str, Check]] = {
    **dict.fromkeys(("blocks", "channels", "strides", "kernels"), _wholes),
    **dict.fromkeys(("stem_channels", "skip_kernel"), _whole(0)),
    "conv_bias": _flag,
    **dict.fromkeys(("in_channels", "classes"), _whole(1)),
    "block": _text,
    "groups": _whole(1),
    "squeeze": _whole(0),
    "activation": _text,
}
"""Fields of a layout, in the order of the trials table's columns."""

LAYOUT_DEFAULTS: Final[dict[str, Any]] = {"block": "basic", "groups": 1, "squeeze": 0, "activation": "relu"}
"""What every layout was before it had these fields: lines of older records lack them."""

RECIPE_FIELDS: Final[dict[str, Check]] = {
    "optimizer": _optional(_text),
    **dict.fromkeys(("learning_rate", "weight_decay", "momentum", "adaptive_clipping"), _optional(_number)),
    "batch_size": _optional(_whole(1)),
    "label_smoothing": _optional(_number),
    **dict.fromkeys(("head_init", "schedule"), _optional(_text)),
    "warmup_epochs": _optional(_number),
    **dict.fromkeys(("cosine_epochs", "step_epochs"), _optional(_whole(0))),
    "step_factor": _optional(_number),
    "patience_epochs": _optional(_whole(0)),
    "decay_norms": _optional(_flag),
    **dict.fromkeys(("gradient_clipping", "muon_rate_factor"), _optional(_number)),
    "lookahead_steps": _optional(_whole(0)),
    **dict.fromkeys(("lookahead_share", "sam_radius", "ema_decay"), _optional(_number)),
    **dict.fromkeys(("stochastic_depth", "dropout"), _optional(_number)),
    **dict.fromkeys(("restart_epochs", "restart_factor"), _optional(_whole(0))),
    "cooldown_share": _optional(_number),
    "crop_padding": _optional(_whole(0)),
    "padding_mode": _optional(_text),
    "flip": _optional(_flag),
    "cutout": _optional(_whole(0)),
    **dict.fromkeys(("rotation_degrees", "mixup_alpha", "cutmix_alpha"), _optional(_number)),
    **dict.fromkeys(("flip_order", "policy"), _optional(_text)),
    **dict.fromkeys(("policy_operations", "policy_magnitude"), _optional(_whole(0))),
    **dict.fromkeys(("erasing", "ricap_beta"), _optional(_number)),
    "precision": _optional(_text),
    "keep_weights": _optional(_text),
    "epochs": _optional(_whole(0)),
}
"""Fields of a recipe, each a scalar or null where the recipe does not use it."""

_EVENTS: Final[dict[str, Check]] = {
    name: _fields({**fields, "time_s": _number})
    for name, fields in {
        "session": {"session": _whole(0), "concurrency": _whole(0), "pid": _whole(0), "resources": _scalars},
        "session-ended": {"session": _whole(0), "reason": _one_of(*SESSION_ENDS), "wall_time_s": _number},
        "limits": {"min_params": _whole(0), "max_params": _whole(1), "max_epochs": _whole(1)},
        "suggested": {
            "trial": _whole(0),
            "layout": _fields(LAYOUT_FIELDS),
            "layout_id": _text,
            "params": _whole(0),
            "flops": _whole(0),
            "depth": _optional(_whole(1)),
            "recipe": _fields(RECIPE_FIELDS),
            "seed": _ANY_WHOLE,
            "proposal": _scalars,
        },
        "started": {"trial": _whole(0), "session": _whole(0)},
        "report": {
            "trial": _whole(0),
            "epoch": _whole(1),
            "rung": _optional(_whole(1)),
            "val_accuracy": _fraction,
            "val_loss": _number,
            "train_accuracy": _fraction,
            **dict.fromkeys(("train_loss", "learning_rate", "train_time_s", "eval_time_s"), _number),
            "session": _whole(0),
            "reused": _optional(_text),
        },
        "retried": {
            "trial": _whole(0),
            "reason": _one_of(*RETRY_REASONS),
            "error": _optional(_text),
            "session": _whole(0),
        },
        "ended": {"trial": _whole(0), "status": _one_of(*TRIAL_ENDS), "error": _optional(_text)},
        "reopened": {"trial": _whole(0)},
        "evaluated": {
            "trial": _whole(0),
            "epoch": _whole(1),
            "test_accuracy": _fraction,
            "test_loss": _number,
            "flip": _flag,
        },
    }.items()
}


_ABSENT: Final[dict[str, dict[str, Any]]] = {"report": {"reused": None}, "evaluated": {"flip": False}}
"""Fields that an event need not name, with what their absence means."""


def checked_event(event: object, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The event with its fields in their stored types, `event` first.

    Raises:
        RecordError: the event is unknown, or a field is missing, unknown or outside its range.
    """
    if not isinstance(event, str) or event not in _EVENTS:
        raise RecordError(f"{event!r:.80} is not an event; use one of {', '.join(_EVENTS)}")
    checked: dict[str, Any] = _EVENTS[event](event, _ABSENT.get(event, {}) | dict(fields))
    return {"event": event, **checked}


def encode_event(event: Mapping[str, Any]) -> bytes:
    """A checked event as one line of ASCII JSON with its newline."""
    return json.dumps(_finite(event), allow_nan=False, separators=(",", ":")).encode("ascii") + b"\n"


def decode_event(line: bytes) -> dict[str, Any]:
    """The checked event of a line; `encode_event` inverts it.

    A recipe's missing fields, and a missing depth, are null, a layout's are `LAYOUT_DEFAULTS`: the line was written
    before there were these.

    Raises:
        RecordError: the line is no JSON object, or no event with its fields.
    """
    try:
        fields = from_json(line)  # in half of json.loads' time, and equal keys and texts are one object
    except ValueError as error:
        reason, *_ = str(error).split(" at line")  # of a text that is one line
        raise RecordError(f"not JSON ({reason})") from None
    if not isinstance(fields, dict):
        raise RecordError("not a JSON object")
    if isinstance(fields.get("recipe"), dict):
        fields["recipe"] = dict.fromkeys(RECIPE_FIELDS) | fields["recipe"]
        fields.setdefault("depth", None)
    if isinstance(fields.get("layout"), dict):
        fields["layout"] = LAYOUT_DEFAULTS | fields["layout"]
    return checked_event(fields.pop("event", None), fields)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value
