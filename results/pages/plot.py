"""A plot as data: its marks in the coordinates of an SVG drawing, and the table of the numbers that it shows."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from results.pages.scales import Scale

WIDTH: Final = 480
HEIGHT: Final = 320
FIDELITIES: Final = 6
"""How many shades there are for the length of a training, from `f1` to `f6`."""


@dataclass(frozen=True)
class Table:
    """Numbers of a plot by column; None is what is not known."""

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]

    def by_column(self) -> list[list[Any]]:
        """The values of each column, with None for numbers that are not finite, which JSON does not have."""
        return [[_known(row[place]) for row in self.rows] for place in range(len(self.columns))]

    def csv(self) -> str:
        """The table as a CSV file with a header."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows(self.rows)
        return text.getvalue()


@dataclass(frozen=True)
class Mark:
    """A circle, a rectangle, a path or a text."""

    shape: str
    style: str
    """Classes of the style sheet."""
    x: float = 0.0
    y: float = 0.0
    width: float = 0.0
    """Also the radius of a circle."""
    height: float = 0.0
    path: str = ""
    text: str = ""
    """What a text says, or what the mark's tooltip says."""
    trial: str = ""
    """RUN/NUMBER of the trial that the mark is for."""


@dataclass
class Plot:
    """A drawing with an axis to the right and one upwards."""

    name: str
    """Names the plot's files; unique on a page."""
    title: str
    summary: str
    """What there is to see, in a sentence or two, also for those who do not see it."""
    x: Scale
    y: Scale
    table: Table
    width: int = WIDTH
    height: int = HEIGHT
    left: int = 48
    right: int = 16
    top: int = 28
    bottom: int = 44
    grid: bool = True
    run: str = ""
    marks: list[Mark] = field(default_factory=list)

    def px(self, value: float) -> float:
        """The horizontal place of a value."""
        return round(self.left + self.x.at(value) * (self.width - self.left - self.right), 1)

    def py(self, value: float) -> float:
        """The vertical place of a value."""
        return round(self.height - self.bottom - self.y.at(value) * (self.height - self.top - self.bottom), 1)

    def dot(self, x: float, y: float, style: str, tip: str, trial: str = "", radius: float = 3.5) -> None:
        """Adds a circle with a tooltip."""
        self.marks.append(Mark("circle", style, self.px(x), self.py(y), radius, text=tip, trial=trial))

    def line(self, points: Iterable[tuple[float, float]], style: str, tip: str = "", trial: str = "") -> None:
        """Adds a line through the points whose values are finite."""
        known = [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]
        if len(known) > 1:
            path = "M" + "L".join(f"{self.px(x):g} {self.py(y):g}" for x, y in known)
            self.marks.append(Mark("path", style, path=path, text=tip, trial=trial))

    def step(self, points: Sequence[tuple[float, float]], style: str, tip: str = "") -> None:
        """Adds a line that keeps each value until the next point."""
        if points:
            (x, y), *rest = points
            path = f"M{self.px(x):g} {self.py(y):g}" + "".join(f"H{self.px(x):g}V{self.py(y):g}" for x, y in rest)
            self.marks.append(Mark("path", style, path=path, text=tip))

    def points(self, points: Iterable[tuple[float, float]], style: str) -> None:
        """Adds many dots without tooltips as one path, whose round line ends they are."""
        path = "".join(f"M{self.px(x):g} {self.py(y):g}h0" for x, y in points)
        if path:
            self.marks.append(Mark("path", style, path=path))

    def vertical(self, x: float, style: str, label: str = "") -> None:
        """Adds a line from bottom to top with a label at its upper end."""
        place, end = self.px(x), self.height - self.bottom
        self.marks.append(Mark("path", style, path=f"M{place:g} {self.top}V{end}"))
        if label:
            after = place < self.width - 110
            anchor, shift = ("start", 4) if after else ("end", -4)
            self.marks.append(Mark("text", f"label {anchor}", place + shift, self.top - 4, text=label))

    def box(self, x0: float, x1: float, y: float, height: float, style: str, tip: str = "", trial: str = "") -> None:
        """Adds a rectangle from `x0` to `x1` whose middle is at `y`, `height` high in the drawing."""
        left, wide = self.px(x0), max(0.8, self.px(x1) - self.px(x0))
        top = round(self.py(y) - height / 2, 1)
        self.marks.append(Mark("rect", style, left, top, round(wide, 1), round(height, 1), text=tip, trial=trial))

    def label(self, x: float, y: float, text: str, anchor: str = "start", shift: float = 6.0, rise: float = 4) -> None:
        """Adds a text beside a point."""
        self.marks.append(Mark("text", f"label {anchor}", self.px(x) + shift, self.py(y) + rise, text=text))


def shade(epoch: int | None, fidelities: Sequence[int]) -> str:
    """The class for a training of `epoch` epochs where `fidelities` are all lengths: `f1` is short, `f6` long."""
    if epoch is None or epoch not in fidelities:
        return "f1"
    if len(fidelities) == 1:
        return f"f{FIDELITIES}"
    return f"f{1 + round(fidelities.index(epoch) * (FIDELITIES - 1) / (len(fidelities) - 1))}"


def _known(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
