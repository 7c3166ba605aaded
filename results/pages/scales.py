"""Axes: what places a value between 0 and 1, with round ticks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

Format = Callable[[float], str]


@dataclass(frozen=True)
class Scale:
    """An axis from `low` to `high`."""

    title: str
    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    """Where the ticks are, from 0 to 1, with their texts."""
    logarithmic: bool = False

    def at(self, value: float) -> float:
        """The place of `value`, 0 at the low end and 1 at the high end; values outside are outside [0, 1]."""
        value, low, high = (math.log(v) if self.logarithmic else v for v in (value, self.low, self.high))
        return (value - low) / (high - low)


def linear(values: Iterable[float], title: str, text: Format, *, most: int = 6, from_zero: bool = False) -> Scale:
    """A linear axis that holds all finite values and ends at round numbers; [0, 1] if there are none."""
    known = [value for value in values if math.isfinite(value)]
    low, high = (0.0 if from_zero else min(known), max(known)) if known else (0.0, 1.0)
    if low == high:
        low, high = (
            (0.0, high) if from_zero and high > 0 else (low - abs(low) / 20 - 1e-3, high + abs(high) / 20 + 1e-3)
        )
    step = _round_step((high - low) / (most - 1))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    low, high = first * step, last * step
    marks = [place * step for place in range(first, last + 1)]
    return Scale(title, low, high, tuple(((mark - low) / (high - low), text(mark)) for mark in marks))


def logarithmic(values: Iterable[float], title: str, text: Format) -> Scale:
    """A logarithmic axis that holds all positive values; linear if they span less than a factor of four."""
    known = [value for value in values if math.isfinite(value) and value > 0]
    if not known or max(known) / min(known) < 4:
        return linear(known, title, text)
    low, high = min(known), max(known)
    factors = (1, 2, 5) if high / low < 1000 else (1,)
    powers = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 2)
    marks = [factor * 10.0**power for power in powers for factor in factors]
    low = max((mark for mark in marks if mark <= low * 1.001), default=low)
    high = min((mark for mark in marks if mark >= high * 0.999), default=high)
    span = math.log(high / low)
    inside = [mark for mark in marks if low * 0.999 <= mark <= high * 1.001]
    return Scale(title, low, high, tuple((math.log(mark / low) / span, text(mark)) for mark in inside), True)


def categories(names: Sequence[Any], title: str) -> Scale:
    """An axis with a tick for each name, at 0, 1, 2 and so on."""
    most = max(1, len(names) - 1)
    margin = 0.5
    span = most + 2 * margin if len(names) > 1 else 2 * margin
    low = -margin
    ticks = tuple(((place - low) / span, str(name)) for place, name in enumerate(names))
    return Scale(title, low, low + span, ticks)


def percent(value: float) -> str:
    """A fraction in percent, without digits that say nothing: `95%`, `95.5%`."""
    return f"{round(100 * value, 2):g}%"


def whole(value: float) -> str:
    """A number as short as an axis needs it: `5M`, `200k`, `18`."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.4g}{letter}"
    return f"{value:.3g}"


def duration(seconds: float) -> str:
    """A duration as people say it: `45 s`, `12 min`, `3 h 20 min`, `2 d 4 h`."""
    if seconds < 59.5:
        return f"{seconds:.2g} s" if seconds < 9.5 else f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    for size, name, part, small in ((1440, "d", 60, "h"), (60, "h", 1, "min")):
        if minutes >= size:
            count, rest = divmod(minutes, size)
            return f"{count} {name} {rest // part} {small}" if rest // part else f"{count} {name}"
    raise AssertionError(minutes)


def _round_step(rough: float) -> float:
    size: float = 10.0 ** math.floor(math.log10(rough))
    return next(size * factor for factor in (1, 2, 5, 10) if size * factor >= rough * 0.999)
