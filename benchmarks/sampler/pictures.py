"""Line charts as self-contained SVG: a few panels with a logarithmic value axis and bands of standard error."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT = 520, 400
LEFT, RIGHT, TOP, BOTTOM = 62, 14, 34, 44
ROW = 20
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#555555", "#cc79a7", "#e69f00", "#56b4e9", "#a08000")
"""Okabe and Ito's palette, told apart with colour-blind eyes too; two of it darkened to show on white."""
DASHES = ("", "7 3", "2 3")


@dataclass(frozen=True)
class Line:
    """A curve: value and half the height of its band at 1, 2, ... on the horizontal axis, (N,)."""

    label: str
    values: NDArray[np.float64]
    errors: NDArray[np.float64]


@dataclass(frozen=True)
class Panel:
    """One chart."""

    title: str
    lines: Sequence[Line]


def draw(panels: Sequence[Panel], x_label: str, y_label: str) -> str:
    """The panels side by side over one legend; lines of one label have one colour.

    Raises:
        ValueError: there is no line.
    """
    labels = list(dict.fromkeys(line.label for panel in panels for line in panel.lines))
    if not labels:
        raise ValueError("0 lines to draw; give at least one")
    rows = math.ceil(len(labels) / 2)
    width, height = WIDTH * len(panels), HEIGHT + ROW * rows + 12
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    styles = {label: (COLOURS[i % len(COLOURS)], DASHES[i // 3 % len(DASHES)]) for i, label in enumerate(labels)}
    for i, panel in enumerate(panels):
        parts.append(f'<g font-size="12" transform="translate({WIDTH * i} 0)">')
        parts += _panel(panel, styles, x_label, y_label)
        parts.append("</g>")
    for i, (label, style) in enumerate(styles.items()):
        x, y = LEFT + (i % 2) * width // 2, HEIGHT + 8 + ROW * (i // 2)
        parts.append(f'<path d="M{x} {y}h30" {_stroke(style)}/>')
        parts.append(f'<text x="{x + 38}" y="{y + 4}" font-size="12">{escape(label)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(panel: Panel, styles: dict[str, tuple[str, str]], x_label: str, y_label: str) -> Iterator[str]:
    longest = max(len(line.values) for line in panel.lines)
    shown = np.concatenate([line.values for line in panel.lines])
    positive = shown[shown > 0]
    low = _tick_at_or_below(float(positive.min())) if positive.size else 0.1
    high = max(_tick_at_or_above(float(positive.max())) if positive.size else 1.0, 2 * low)
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM

    def x(trial: float) -> float:
        return LEFT + (right - LEFT) * trial / longest

    def y(value: float) -> float:
        share = math.log(max(min(value, high), low) / low) / math.log(high / low)
        return bottom - (bottom - TOP) * share

    yield f'<text x="{LEFT}" y="20" font-size="14" font-weight="bold">{escape(panel.title)}</text>'
    for value in _ticks(low, high):
        yield f'<path d="M{LEFT} {y(value):.1f}H{right}" stroke="#dddddd"/>'
        yield f'<text x="{LEFT - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{value:g}</text>'
    for trial in _whole_ticks(longest):
        yield f'<path d="M{x(trial):.1f} {bottom}v5" stroke="#333333"/>'
        yield f'<text x="{x(trial):.1f}" y="{bottom + 18}" text-anchor="middle">{trial}</text>'
    yield f'<path d="M{LEFT} {TOP}V{bottom}H{right}" fill="none" stroke="#333333"/>'
    yield f'<text x="{(LEFT + right) / 2}" y="{HEIGHT - 8}" text-anchor="middle">{escape(x_label)}</text>'
    middle = (TOP + bottom) / 2
    yield f'<text transform="translate(16 {middle}) rotate(-90)" text-anchor="middle">{escape(y_label)}</text>'
    for line in panel.lines:
        edges = np.nan_to_num(line.errors)
        upper = [f"{x(i + 1):.1f} {y(v):.1f}" for i, v in enumerate(line.values + edges)]
        lower = [f"{x(i + 1):.1f} {y(v):.1f}" for i, v in enumerate(line.values - edges)]
        colour = styles[line.label][0]
        yield f'<path d="M{"L".join(upper + lower[::-1])}Z" fill="{colour}" fill-opacity="0.12"/>'
    for line in panel.lines:
        points = [f"{x(i + 1):.1f} {y(v):.1f}" for i, v in enumerate(line.values)]
        yield f'<path d="M{"L".join(points)}" {_stroke(styles[line.label])}/>'


def _stroke(style: tuple[str, str]) -> str:
    colour, dash = style
    return f'fill="none" stroke="{colour}" stroke-width="2"' + (f' stroke-dasharray="{dash}"' if dash else "")


def _ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times the powers of ten from `low` to `high`."""
    exponents = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
    ticks = [float(f"{digit}e{exponent}") for exponent in exponents for digit in (1, 2, 5)]
    return [tick for tick in ticks if low * (1 - 1e-9) <= tick <= high * (1 + 1e-9)]


def _tick_at_or_below(value: float) -> float:
    return _ticks(value / 10, value)[-1]


def _tick_at_or_above(value: float) -> float:
    return _ticks(value, value * 10)[0]


def _whole_ticks(longest: int) -> list[int]:
    """About five round places from 0 to `longest`."""
    step = max(1, round(_tick_at_or_above(longest / 5)))
    return list(range(0, longest + 1, step))
