"""The events of a record: their fields with types and bounds, and the JSON line that holds one.

A number that is not finite is stored as the string "NaN", "Infinity" or "-Infinity" (JSON has no such numbers) and read
back as a float, in fields that are numbers only.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Annotated, Any, Final, Literal, NotRequired, get_args, get_type_hints

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError, with_config
from pydantic_core import ErrorDetails, from_json
from typing_extensions import TypedDict

from results.errors import RecordError
from results.wording import remedy_of

INT64_MAX: Final = 2**63 - 1  # what the tables' int64 columns hold
_NOT_FINITE: Final = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}

TrialEnd = Literal["completed", "stopped", "diverged", "out-of-memory", "lost", "failed"]
TRIAL_ENDS: Final[tuple[str, ...]] = get_args(TrialEnd)


def _number(value: Any) -> Any:
    if isinstance(value, float | int):
        return value
    if isinstance(value, str) and value in _NOT_FINITE:
        return _NOT_FINITE[value]
    raise ValueError("use a number")  # pydantic would take whatever can be turned into a float, such as a NumPy bool


def _fraction(value: float) -> float:
    if not (0 <= value <= 1 or math.isnan(value)):
        raise ValueError("use a fraction in [0, 1], or NaN")
    return value


def _scalar(value: Any) -> Any:
    if value is None or isinstance(value, str) or (isinstance(value, int) and abs(value) <= INT64_MAX):
        return value
    if isinstance(value, float) and math.isfinite(value):  # "NaN" may be a string here: no way back to the float
        return value
    raise ValueError("use a string, true, false or a finite number; whole numbers have at most 63 bits")


Whole = Annotated[int, Field(ge=0, le=INT64_MAX)]
Positive = Annotated[int, Field(ge=1, le=INT64_MAX)]
Number = Annotated[float, BeforeValidator(_number)]
Fraction = Annotated[Number, AfterValidator(_fraction)]
PerStage = Annotated[list[Positive], Field(min_length=1)]
Scalars = dict[str, Annotated[Any, AfterValidator(_scalar)]]


@with_config(extra="forbid", strict=True)
class _Fields(TypedDict):
    """Fields that must all be there, with exactly these types, and no others."""


class LayoutFields(_Fields):
    """A layout, in the order of the trials table's columns."""

    blocks: PerStage
    channels: PerStage
    strides: PerStage
    kernels: PerStage
    stem_channels: Whole
    skip_kernel: Whole
    conv_bias: bool
    in_channels: Positive
    classes: Positive
    block: str
    groups: Positive
    squeeze: Whole
    activation: str
    expansion: Whole
    skip_pool: bool
    stem_depth: Positive
    stem_stride: Positive


class RecipeFields(_Fields):
    """A recipe, in the order of the trials table's columns; null is what the recipe does not use."""

    optimizer: str | None
    learning_rate: Number | None
    weight_decay: Number | None
    momentum: Number | None
    adaptive_clipping: Number | None
    batch_size: Positive | None
    keep_last_batch: bool | None
    label_smoothing: Number | None
    conv_init: str | None
    head_init: str | None
    schedule: str | None
    warmup_epochs: Number | None
    cosine_epochs: Whole | None
    step_epochs: Whole | None
    step_factor: Number | None
    patience_epochs: Whole | None
    decay_norms: bool | None
    gradient_clipping: Number | None
    muon_rate_factor: Number | None
    lookahead_steps: Whole | None
    lookahead_share: Number | None
    sam_radius: Number | None
    ema_decay: Number | None
    stochastic_depth: Number | None
    dropout: Number | None
    restart_epochs: Whole | None
    restart_factor: Whole | None
    cooldown_share: Number | None
    milestones: str | None
    exponential_factor: Number | None
    plateau_epochs: Whole | None
    plateau_metric: str | None
    first_image_size: Whole | None
    resizing_share: Number | None
    crop_padding: Whole | None
    padding_mode: str | None
    flip: bool | None
    cutout: Whole | None
    rotation_degrees: Number | None
    mixup_alpha: Number | None
    cutmix_alpha: Number | None
    mix_probability: Number | None
    mix_strength: str | None
    resized_crop: Number | None
    jitter_brightness: Number | None
    jitter_contrast: Number | None
    jitter_saturation: Number | None
    jitter_hue: Number | None
    flip_order: str | None
    policy: str | None
    policy_operations: Whole | None
    policy_magnitude: Whole | None
    erasing: Number | None
    ricap_beta: Number | None
    precision: str | None
    keep_weights: str | None
    epochs: Whole | None


class SessionStarted(_Fields):
    """A driver has started to work on the run."""

    event: Literal["session"]
    session: Whole
    concurrency: Whole
    pid: Whole
    resources: Scalars
    time_s: Number


class SessionEnded(_Fields):
    """The driver has stopped."""

    event: Literal["session-ended"]
    session: Whole
    reason: Literal["done", "interrupted", "time-budget", "epoch-budget", "disk-quota", "exhausted", "failed"]
    wall_time_s: Number
    time_s: Number


class LimitsSet(_Fields):
    """The run's trials are held to these limits from now on."""

    event: Literal["limits"]
    min_params: Whole
    max_params: Positive
    max_epochs: Positive
    time_s: Number


class TrialSuggested(_Fields):
    """The sampler has proposed a trial."""

    event: Literal["suggested"]
    trial: Whole
    layout: LayoutFields
    layout_id: str
    params: Whole
    flops: Whole
    depth: Positive | None
    recipe: RecipeFields
    seed: Annotated[int, Field(ge=-INT64_MAX, le=INT64_MAX)]
    proposal: Scalars
    time_s: Number


class TrialStarted(_Fields):
    """A trial has been launched."""

    event: Literal["started"]
    trial: Whole
    session: Whole
    time_s: Number


class EpochReported(_Fields):
    """A trial has finished an epoch, or taken it from an earlier run; the fields are the epochs table's columns."""

    event: Literal["report"]
    trial: Whole
    epoch: Positive
    rung: Positive | None
    val_accuracy: Fraction
    val_loss: Number
    train_accuracy: Fraction
    train_loss: Number
    learning_rate: Number
    train_time_s: Number
    eval_time_s: Number
    session: Whole
    reused: Annotated[NotRequired[str | None], Field(default=None)]
    answers: Annotated[NotRequired[str | None], Field(default=None)]
    time_s: Number


class TrialRetried(_Fields):
    """A trial broke off and is to be launched again."""

    event: Literal["retried"]
    trial: Whole
    reason: Literal["out-of-memory", "lost"]
    error: str | None
    session: Whole
    time_s: Number


class TrialEnded(_Fields):
    """A trial has reached its final status."""

    event: Literal["ended"]
    trial: Whole
    status: TrialEnd
    error: str | None
    time_s: Number


class TrialReopened(_Fields):
    """A trial that had ended is to be trained further."""

    event: Literal["reopened"]
    trial: Whole
    time_s: Number


class TrialsConfirmed(_Fields):
    """Trials that had been stopped early are to be trained to `epochs`, best first, whatever their rungs decide."""

    event: Literal["confirmed"]
    trials: Annotated[list[Whole], Field(min_length=1)]
    epochs: Positive
    time_s: Number


class TrialEvaluated(_Fields):
    """The network of one of the trial's epochs has been measured on the test set."""

    event: Literal["evaluated"]
    trial: Whole
    epoch: Positive
    test_accuracy: Fraction
    test_loss: Number
    flip: Annotated[NotRequired[bool], Field(default=False)]
    classes: Annotated[NotRequired[list[str] | None], Field(default=None)]
    confusion: Annotated[NotRequired[list[list[Whole]] | None], Field(default=None)]
    time_s: Number


_EVENTS: Final[TypeAdapter[Any]] = TypeAdapter(
    Annotated[
        SessionStarted
        | SessionEnded
        | LimitsSet
        | TrialSuggested
        | TrialStarted
        | EpochReported
        | TrialRetried
        | TrialEnded
        | TrialReopened
        | TrialsConfirmed
        | TrialEvaluated,
        Field(discriminator="event"),
    ],
    config=ConfigDict(defer_build=True),  # a leaderboard of sound tables reads no event, so it saves 30 ms
)

LAYOUT_FIELDS: Final[dict[str, Any]] = get_type_hints(LayoutFields)
"""The fields of a layout with their Python types."""

LAYOUT_DEFAULTS: Final[dict[str, Any]] = {
    **{"block": "basic", "groups": 1, "squeeze": 0, "activation": "relu"},
    **{"expansion": 0, "skip_pool": False, "stem_depth": 1, "stem_stride": 1},
}
"""What every layout was before it had these fields: lines of older records lack them. An expansion of 0 is the one that
the kind of block has where none is chosen."""

RECIPE_FIELDS: Final[dict[str, Any]] = get_type_hints(RecipeFields)
"""The fields of a recipe with their Python types."""

REPORT_FIELDS: Final[dict[str, Any]] = {
    name: kind for name, kind in get_type_hints(EpochReported).items() if name != "event"
}
"""The fields of a report with their Python types."""


def checked_event(event: object, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The event with its fields in their stored types, `event` first; NumPy's numbers and tuples are taken too.

    Raises:
        RecordError: the event is unknown, or a field is missing, unknown or outside its range.
    """
    return _checked({"event": event, **_plain(fields)})


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
    return _checked(fields)


def _checked(fields: Mapping[str, Any]) -> dict[str, Any]:
    try:
        checked: dict[str, Any] = _EVENTS.validate_python(fields)
    except ValidationError as error:
        sentences = "; ".join(map(_sentence, error.errors()))
        raise RecordError(" ".join(sentences.split())) from None
    return checked


def _sentence(item: ErrorDetails) -> str:
    name = ".".join(map(str, item["loc"]))
    match item["type"]:
        case "missing":
            return f"{name} is missing"
        case "extra_forbidden":
            return f"{name} is not a field of the schema"
        case "union_tag_not_found":
            return "event is missing"
        case "union_tag_invalid":
            names = item["ctx"]["expected_tags"].replace("'", "")
            return f"{item['ctx']['tag']!r:.80} is not an event; use one of {names}"
    return f"{name}: {item['input']!r:.80} given; {remedy_of(item)}"


def _plain(value: Any) -> Any:
    """The value as JSON holds it: no NumPy numbers, lists for tuples, lone surrogates (Parquet takes none) escaped."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, Mapping):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, bool) or not isinstance(value, Real):
        return value
    return int(value) if isinstance(value, Integral) else float(value)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value
