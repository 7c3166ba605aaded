"""The short columns of a leaderboard as text, for readers of tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from results.ranking.board import Board


@dataclass(frozen=True)
class ShortColumn:
    """A column of the table and Markdown formats."""

    title: str
    source: str
    """The column of the leaderboard that it shows."""
    text: Callable[[Any], str]
    """The text of a value that is not null."""
    number: bool = False
    """Whether it is right-aligned."""
    importance: int = 0
    """On a narrow terminal the least important columns are left out first."""
    needed: Callable[[Board], bool] = lambda board: True
    """Whether the column is informative on the leaderboard."""


def dashed(values: Any) -> str:
    """A list as text, `3-5-3`."""
    return "-".join(map(str, values))


def _listed(value: Any) -> str:
    more = f" and {len(value) - 6} more" if len(value) > 6 else ""
    return " ".join(map(str, value[:6])) + more


def _plain(value: Any) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in str(value))


def _percent(value: Any) -> str:
    return f"{100 * value:.2f} %"


def _thousands(value: Any) -> str:
    return f"{value:,}"


def _extras(value: Any) -> str:
    """The fields in a layout's id except blocks, channels and data set: `stem32` of `3-5-3x64-128-256+stem32+in1`."""
    marks = str(value).split("+")[1:]
    return _plain(" ".join(mark for mark in marks if not mark.startswith(("in", "out"))))


def _error(value: Any) -> str:
    lines = str(value).strip().split("\n")
    line = _plain(lines[-1] if lines[0].startswith("Traceback") else lines[0])  # the one that names the exception
    return line if len(line) <= 40 else line[:37] + "..."


def _is_set(name: str) -> Callable[[Board], bool]:
    return lambda board: any(map(is_there, board.column(name)))


def _limits(value: Any) -> str:
    return "" if value else "outside"


def _flagged(value: Any) -> str:
    return "yes" if value else ""


def _points(value: Any) -> str:
    return f"{100 * value:.1f}"


def is_there(value: Any) -> bool:
    """Whether a value of a leaderboard is neither null nor NaN."""
    return value is not None and value == value


def any_tied(board: Board) -> bool:
    """Whether a row that is not the first of its data set is tied with the first."""
    if not board.ranked or "tied" not in board.table.schema.names:
        return False
    return any(tied and rank != 1 for tied, rank in zip(board.column("tied"), board.column("rank"), strict=True))


def _with_half_widths(board: Board) -> Board:
    """The leaderboard with half the width of the 95% intervals of its accuracies, where it has the bounds."""
    import pyarrow.compute as pc  # the live table of a search needs this module, and no tables

    from results.record.arrow_arrays import arrow_scalar

    table = board.table
    for name in ("val_accuracy", "test_accuracy"):
        if f"{name}_low" in table.schema.names:
            width = pc.subtract(table[f"{name}_high"], table[f"{name}_low"])
            table = table.append_column(f"{name}_half", pc.divide(width, arrow_scalar(2.0, width.type)))
    return replace(board, table=table)


def _is_true(name: str) -> Callable[[Board], bool]:
    return lambda board: any(board.column(name))


def _any_outside(board: Board) -> bool:
    return False in board.column("within_limits")


def _has_extras(board: Board) -> bool:
    return any(map(_extras, board.column("layout_id")))


def _folder_name(value: Any) -> str:
    return _plain(Path(str(value)).name or value)


def _several_sets(board: Board) -> bool:
    return bool({"data", "dataset"} & board.differing)


def _several_runs(board: Board) -> bool:
    return "run" in board.differing


_RECIPE, _CONSTANT, _SORTED = 6, 5, 11
"""The importance of a searched field of the recipe, of a part of the layout that is the same in all rows, and of the
column that orders the rows."""

SHORT_COLUMNS: Final = (
    ShortColumn("rank", "rank", str, number=True, importance=10),
    ShortColumn("data set", "dataset", _folder_name, importance=10, needed=_several_sets),
    ShortColumn("run", "run", _plain, importance=9, needed=_several_runs),
    ShortColumn("trial", "trial", str, number=True, importance=9),
    ShortColumn("trials", "trials", _listed, importance=3),
    ShortColumn("status", "status", _plain, importance=9),
    ShortColumn("blocks", "blocks", dashed, importance=8),
    ShortColumn("channels", "channels", dashed, importance=7),
    ShortColumn("extras", "layout_id", _extras, importance=7, needed=_has_extras),
    ShortColumn("params", "params", _thousands, number=True, importance=10),
    ShortColumn("seeds", "seeds", str, number=True, importance=9),
    ShortColumn("val", "val_accuracy", _percent, number=True, importance=10),
    ShortColumn("±", "val_accuracy_half", _points, number=True, importance=9, needed=_is_set("val_accuracy_half")),
    ShortColumn(
        "± val", "val_accuracy_error", _percent, number=True, importance=9, needed=_is_set("val_accuracy_error")
    ),
    ShortColumn("tests", "tests", str, number=True, importance=4, needed=_is_set("test_accuracy")),
    ShortColumn("test", "test_accuracy", _percent, number=True, importance=8, needed=_is_set("test_accuracy")),
    ShortColumn(
        "± test", "test_accuracy_half", _points, number=True, importance=7, needed=_is_set("test_accuracy_half")
    ),
    ShortColumn(
        "± test", "test_accuracy_error", _percent, number=True, importance=4, needed=_is_set("test_accuracy_error")
    ),
    ShortColumn("epochs", "epochs", str, number=True, importance=9),
    ShortColumn("rung", "rung", str, number=True, importance=9),
    ShortColumn("confirmed", "confirmed", _flagged, importance=4, needed=_is_true("confirmed")),
    ShortColumn("mid-course", "mid_course", _flagged, importance=9, needed=_is_true("mid_course")),
    ShortColumn("limits", "within_limits", _limits, importance=8, needed=_any_outside),
    ShortColumn("error", "error", _error, importance=0, needed=_is_set("error")),
)


TABLE_COLUMNS: Final = (
    *(column.source for column in SHORT_COLUMNS if not column.source.endswith("_half")),
    *("val_accuracy_low", "val_accuracy_high", "test_accuracy_low", "test_accuracy_high"),
    *("data", "rung_epoch", "tied"),
)
"""The columns of a leaderboard from which a table is made, beside those that differ between its rows."""


def short_columns(board: Board) -> list[tuple[ShortColumn, list[str]]]:
    """The short columns that are informative for the rows shown, each with its cells; null is an empty cell.

    A rank that is tied with the first has the mark `=`. Fields of the recipe and seeds that differ between the rows of
    the leaderboard follow the parameters.
    """
    if not board.ranked:
        return [
            (ShortColumn(name, name, str, number=not _is_text(board, name)), list(map(_cell, board.column(name))))
            for name in board.chosen
        ]
    board = _with_half_widths(board)
    order = board.sorted_by
    before = 1 + next(i for i, column in enumerate(SHORT_COLUMNS) if column.source == "params")
    columns = (*SHORT_COLUMNS[:before], *_searched_columns(board), *SHORT_COLUMNS[before:])
    if board.chosen:
        known = {column.source: column for column in reversed(columns) if column.title != "extras"}
        columns = tuple(
            replace(known.get(name) or _plain_column(board, name), needed=lambda board: True) for name in board.chosen
        )
    if order is not None and order not in {column.source for column in columns}:
        columns = (*columns, _plain_column(board, order))
    cells = [
        (
            _weighed(column, board),
            [column.text(value) if is_there(value) else "" for value in board.column(column.source)],
        )
        for column in columns
        if column.source in board.table.schema.names and (column.needed(board) or column.source == order)
    ]
    if any_tied(board):
        marks = ["=" if tied else " " for tied in board.column("tied")]
        cells = [
            (column, list(map(str.__add__, texts, marks)) if column.source == "rank" else texts)
            for column, texts in cells
        ]
    return cells


def _weighed(column: ShortColumn, board: Board) -> ShortColumn:
    """The column with its importance on this leaderboard."""
    if column.source == board.sorted_by:
        return replace(column, importance=_SORTED)
    of_layout = column.title in ("blocks", "channels", "extras")
    same = of_layout and board.total > 1 and column.source not in board.differing
    return replace(column, importance=_CONSTANT) if same else column


def _searched_columns(board: Board) -> list[ShortColumn]:
    names = [name for name in board.table.schema.names if name.startswith("recipe_") or name == "seed"]
    return [
        ShortColumn(
            _title(name),
            name,
            _setting,
            number=True,
            importance=_RECIPE if name not in ("seed", "recipe_epochs") else 0,
        )
        for name in names
        if name in board.differing
    ]


def _is_text(board: Board, name: str) -> bool:
    """Whether the column holds texts."""
    return str(board.table.schema.field(name).type) in ("string", "large_string")


def _cell(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else "" if value is None else _setting(value)


def _plain_column(board: Board, name: str) -> ShortColumn:
    return ShortColumn(_title(name), name, _setting, number=not _is_text(board, name))


def _title(name: str) -> str:
    """The heading of a recipe's column; `epochs` is the heading of the epochs that a trial has trained."""
    if name == "layout_id":
        return "layout"
    return "of epochs" if name == "recipe_epochs" else name.removeprefix("recipe_").replace("_", " ")


def _setting(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    return dashed(value) if isinstance(value, list) else _plain(value)
