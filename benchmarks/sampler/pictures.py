"""Line charts as SVG, with a few panels, a logarithmic vertical axis and bands of standard error."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#555555", "#cc79a7", "#e69f00", "#56b4e9", "#a08000")
"""Okabe and Ito's palette for colour-blind readers, with two colours darkened for a white background."""
DASHES: Final = ("-", "--", ":")


@dataclass(frozen=True)
class Line:
    """A curve: its value and half the height of its band at 1, 2, ... on the horizontal axis, (N,)."""

    label: str
    values: NDArray[np.float64]
    errors: NDArray[np.float64]


@dataclass(frozen=True)
class Panel:
    """One chart."""

    title: str
    lines: Sequence[Line]


def draw(panels: Sequence[Panel], x_label: str, y_label: str) -> str:
    """The panels side by side above one legend; lines with the same label have the same colour.

    Raises:
        ValueError: there is no line.
    """
    labels = list(dict.fromkeys(line.label for panel in panels for line in panel.lines))
    if not labels:
        raise ValueError("0 lines to draw; give at least one")
    styles = {label: (COLOURS[i % len(COLOURS)], DASHES[i // 3 % len(DASHES)]) for i, label in enumerate(labels)}
    # Labels stay text, and the same figures give the same file.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "parambudget", "font.family": "sans-serif"}):
        figure = Figure(figsize=(5.2 * len(panels), 4.2 + 0.12 * len(labels)), layout="constrained")
        drawn: dict[str, Line2D] = {}
        for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
            drawn |= _draw_panel(axes, panel, styles)
            axes.set(title=panel.title, xlabel=x_label, ylabel=y_label)
        figure.legend([drawn[label] for label in labels], labels, loc="outside lower center", ncols=2, frameon=False)
        picture = io.StringIO()
        figure.savefig(picture, format="svg", metadata={"Date": None})
    return picture.getvalue()


def _draw_panel(axes: Axes, panel: Panel, styles: dict[str, tuple[str, str]]) -> dict[str, Line2D]:
    """The curves by label; a curve ends at the value 0, the optimum, which is not on a logarithmic axis."""
    axes.set_yscale("log", nonpositive="mask")
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    drawn: dict[str, Line2D] = {}
    for line in panel.lines:
        colour, dashes = styles[line.label]
        x = np.arange(1, len(line.values) + 1)
        (drawn[line.label],) = axes.plot(x, line.values, dashes, color=colour, linewidth=1.6, gid=f"curve {line.label}")
        low = np.maximum(line.values - line.errors, line.values / 10)
        axes.fill_between(x, low, line.values + line.errors, color=colour, alpha=0.12, linewidth=0)
    return drawn
