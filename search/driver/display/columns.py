"""The columns of the live table: those that tell the trials apart, as many as a terminal has room for."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table
from rich.text import Text

from results import RunState, TrialState
from results.ranking.intervals import wilson_interval
from results.ranking.short_columns import dashed

GAP, NARROW_GAP, NARROW = 2, 1, 60
"""Spaces between two columns, also on terminals with fewer columns than `NARROW`."""
SHAPE = ("blocks", "channels", "extras")


@dataclass(frozen=True, slots=True)
class Row:
    """A trial in the live table."""

    rank: int | None
    """Its rank, if it is one of the best."""
    trial: TrialState
    at_work: bool
    """Whether it is being trained."""
    accuracy: float | None
    """Validation accuracy at its last rung, or of its last epoch while it has reached none."""


class Differences:
    """The fields that differ between the trials of a run, found once per trial."""

    def __init__(self) -> None:
        self._first: dict[str, Any] = {}
        self._seen = 0
        self._found: set[str] = set()

    def take(self, state: RunState) -> list[str]:
        """The names of the fields that differ, the layout's before the recipe's."""
        for trial in itertools.islice(state.trials.values(), self._seen, None):
            fields = {name: shape_text(trial, name) for name in SHAPE} | trial.recipe | {"seed": trial.seed}
            fields.pop("epochs", None)
            self._first = self._first or fields
            self._found |= {name for name, value in fields.items() if self._first.get(name) != value}
        self._seen = len(state.trials)
        return [name for name in self._first if name in self._found]


def shape_text(trial: TrialState, name: str) -> str:
    """One of `SHAPE` as text; the extras are the marks of a layout's id except those for the images and classes."""
    if name != "extras":
        return dashed(trial.layout[name])
    return " ".join(mark for mark in trial.layout_id.split("+")[1:] if not mark.startswith(("in", "out")))


@dataclass(frozen=True, slots=True)
class _Column:
    title: list[str]
    """Lines, because the names of a recipe's fields are longer than their values."""
    cells: list[str]
    importance: int
    """On a narrow terminal the least important columns are left out first."""
    right: bool = True

    @property
    def width(self) -> int:
        return max(map(len, [*self.title, *self.cells]))


def table_of(
    rows: Sequence[Row], differing: Sequence[str], max_epochs: int, width: int, val_images: int | None = None
) -> tuple[Table, int]:
    """A table of the `rows` at most `width` columns wide, and its width; with `val_images` it has intervals."""
    gap = GAP if width >= NARROW else NARROW_GAP
    columns = _fitting(_columns(rows, differing, max_epochs, val_images), width, gap)
    table = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), header_style="dim")
    for column in columns:
        title = Text("\n".join(column.title))
        table.add_column(title, justify="right" if column.right else "left", vertical="bottom", no_wrap=True)
    for row, cells in zip(rows, zip(*(column.cells for column in columns), strict=True), strict=True):
        table.add_row(*map(Text, cells), style="bold" if row.rank == 1 else "cyan" if row.at_work else "")
    return table, _width(columns, gap)


def _columns(rows: Sequence[Row], differing: Sequence[str], max_epochs: int, val_images: int | None) -> list[_Column]:
    def column(title: str, cells: list[str], importance: int, right: bool = True) -> _Column:
        widest = max([*map(len, title.split()), *map(len, cells)], default=0)
        return _Column(textwrap.wrap(title, widest) or [""], cells, importance, right)

    shape = [name for name in SHAPE if name in differing] if differing else ["blocks", "channels"]
    settings = [name for name in differing if name not in SHAPE]
    important = {"blocks": 5, "channels": 3, "extras": 2}
    return [
        column("", [f"{row.rank or '':>2}{'.' if row.rank else ' '}{'~' if row.at_work else ' '}" for row in rows], 9),
        column("trial", [str(row.trial.trial) for row in rows], 9),
        *(column(name, [shape_text(row.trial, name) for row in rows], important[name], False) for name in shape),
        column("params", [f"{row.trial.params:,}" for row in rows], 6),
        *(
            column(name.replace("_", " "), [_setting(row.trial, name) for row in rows], 1 if name == "seed" else 4)
            for name in settings
        ),
        column("epochs", [_epochs(row, max_epochs) for row in rows], 7),
        column("val", ["" if row.accuracy is None else f"{row.accuracy:.2%}" for row in rows], 9),
        *([column("±", [_half_width(row.accuracy, val_images) for row in rows], 2)] if val_images else []),
    ]


def _half_width(accuracy: float | None, images: int) -> str:
    """Half of the 95% interval, in points."""
    if accuracy is None:
        return ""
    low, high = wilson_interval(accuracy, images)
    return f"{50 * (high - low):.1f}"


def _fitting(columns: list[_Column], width: int, gap: int) -> list[_Column]:
    left = list(columns)
    while len(left) > 1 and _width(left, gap) > width:
        left.remove(min(reversed(left), key=lambda column: column.importance))
    return left


def _width(columns: Sequence[_Column], gap: int) -> int:
    return sum(column.width for column in columns) + gap * (len(columns) - 1)


def _epochs(row: Row, max_epochs: int) -> str:
    return f"{row.trial.epochs}/{max_epochs}" if row.at_work else str(row.trial.rung_epoch or row.trial.epochs)


def _setting(trial: TrialState, name: str) -> str:
    value = trial.seed if name == "seed" else trial.recipe.get(name)
    return "" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)
