"""The leaderboard as a table for a terminal of at least 60 columns."""

from __future__ import annotations

from dataclasses import replace
from textwrap import wrap
from typing import TYPE_CHECKING, Final

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from results.ranking.intervals import INTERVALS
from results.ranking.ranking_rule import MID_COURSE, OVER_SEEDS, PER_DATA_SET, RANKING_RULE
from results.ranking.short_columns import ShortColumn, any_tied, short_columns
from results.ranking.ties import TIES

if TYPE_CHECKING:
    from results.ranking.board import Board

_NARROW: Final = {"learning rate": "lr", "batch size": "batch", "weight decay": "decay"}
"""Usual short names of the recipe's fields, for a narrow terminal; filters take them as well."""


GAP: Final = "  "


def print_table(board: Board, console: Console) -> None:
    """Prints the rows of the leaderboard, and below them the ranking rule.

    Where it is too wide, the headings of the recipe's fields are shortened or broken at their spaces; then columns are
    left out, the least important first, until the rest fits the console's width. Two runs beside each other keep their
    columns: long values are cut there.
    """
    columns = short_columns(board)
    dropped: list[ShortColumn] = []
    if not board.ranked and board.notes:
        columns = _cut(columns, console.width)
    if _width(columns) > console.width:
        columns = [(replace(column, title=_narrow(column)), cells) for column, cells in columns]
    while len(columns) > 1 and _width(columns) > console.width:
        least = min(reversed(columns), key=lambda pair: pair[0].importance)  # the last one of equal importance
        columns.remove(least)
        dropped.append(least[0])
    heading, rows = _table_lines(columns)
    _print(console, heading, "bold")
    _print(console, rows)
    for line in _lines(board, dropped):
        _print(console, wrap(line, console.width, break_long_words=False, break_on_hyphens=False), "dim")


def comparability_lines(board: Board) -> list[str]:
    """Sentences on the ranks of the rows, on accuracies that are not directly comparable, and on marks."""
    if not board.ranked:
        return list(board.notes)
    lines = [*([OVER_SEEDS] if board.over_seeds else []), f"Ranked by {RANKING_RULE}."]
    ranks = board.column("rank")
    if ranks.count(1) > 1:
        lines.append(PER_DATA_SET)
    reached = zip(ranks, board.column("rung_epoch"), strict=True)
    epochs = sorted({epoch for rank, epoch in reached if rank is not None and epoch is not None})
    if len(epochs) > 1:
        listed = ", ".join(map(str, epochs[:-1])) + f" and {epochs[-1]}"
        lines.append(f"Mixed fidelities: accuracies after {listed} epochs; --full-fidelity keeps completed trials.")
    if not board.over_seeds and any(board.column("mid_course")):
        lines.append(MID_COURSE)
    plain = not board.over_seeds and not board.chosen
    intervals = plain and any(low is not None for low in board.column("val_accuracy_low"))
    explained = [*([INTERVALS] if intervals else []), *([TIES] if any_tied(board) else [])]
    return [*lines, *([" ".join(explained)] if explained else [])]


def _cut(columns: list[tuple[ShortColumn, list[str]]], width: int) -> list[tuple[ShortColumn, list[str]]]:
    """The columns, of which those behind the first have cells of equal share of `width` at most."""
    (_, names), *others = columns
    most = max(8, (width - max(map(cell_len, names))) // max(1, len(others)) - len(GAP))
    shortened = [
        (column, [cell if len(cell) <= most else f"{cell[: most - 1]}…" for cell in cells]) for column, cells in others
    ]
    return [columns[0], *shortened]


def _narrow(column: ShortColumn) -> str:
    if not column.source.startswith("recipe_"):
        return column.title
    return _NARROW.get(column.title, column.title.replace(" ", "\n"))


def _print(console: Console, lines: list[str], style: str = "") -> None:
    """Prints lines as they are: a run may be named like markup, `[red]`."""
    console.print(Text("\n".join(lines), style), soft_wrap=True)


def _widths(columns: list[tuple[ShortColumn, list[str]]]) -> list[int]:
    return [max(map(cell_len, (*column.title.split("\n"), *cells))) for column, cells in columns]


def _width(columns: list[tuple[ShortColumn, list[str]]]) -> int:
    return sum(_widths(columns)) + len(GAP) * (len(columns) - 1)


def _table_lines(columns: list[tuple[ShortColumn, list[str]]]) -> tuple[list[str], list[str]]:
    """The lines of the heading, and the lines below it: one that divides, and one for each row."""
    widths = _widths(columns)
    titles = [column.title.split("\n") for column, _ in columns]
    height = max(map(len, titles))
    heading = zip(*(title + [""] * (height - len(title)) for title in titles), strict=True)

    def line(cells: tuple[str, ...]) -> str:
        blanks = [" " * (width - cell_len(cell)) for cell, width in zip(cells, widths, strict=True)]
        numbers = (column.number for column, _ in columns)
        padded = [b + cell if number else cell + b for cell, b, number in zip(cells, blanks, numbers, strict=True)]
        return GAP.join(padded).rstrip()

    rows = [line(row) for row in zip(*(cells for _, cells in columns), strict=True)]
    return list(map(line, heading)), ["─" * _width(columns), *rows]


def _lines(board: Board, dropped: list[ShortColumn]) -> list[str]:
    lines = comparability_lines(board)
    if board.ranked and board.total > board.table.num_rows:
        rows = "layouts and recipes" if board.over_seeds else "trials"
        rest = f": {board.picked}" if board.picked else f"; --top {board.total} shows all"
        lines.append(f"{board.table.num_rows} of {board.total} {rows}{rest}.")
    if dropped:
        names = ", ".join(column.title.replace("\n", " ") for column in dropped)
        lines.append(f"Left out at this width: {names}; --format csv has all columns.")
    return lines
