"""The leaderboard as a table for a terminal of at least 60 columns."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from results.ranking.intervals import INTERVALS
from results.ranking.ranking_rule import MID_COURSE, OVER_SEEDS, PER_DATA_SET, RANKING_RULE
from results.ranking.short_columns import ShortColumn, any_tied, short_columns
from results.ranking.ties import TIES

if TYPE_CHECKING:
    from results.ranking.board import Board

_NARROW: Final = {"learning rate": "lr", "batch size": "batch", "weight decay": "decay"}
"""Usual short names of the recipe's fields, for a narrow terminal; filters take them as well."""


def print_table(board: Board, console: Console) -> None:
    """Prints the rows of the leaderboard, and below them the ranking rule.

    Where it is too wide, the headings of the recipe's fields are shortened or broken at their spaces; then columns are
    left out, the least important first, until the rest fits the console's width.
    """
    columns = short_columns(board)
    dropped: list[ShortColumn] = []
    unlimited = console.options.update(max_width=10_000)  # within the real width, every table would seem to fit

    def too_wide() -> bool:
        return console.measure(_table(columns), options=unlimited).maximum > console.width

    if too_wide():
        columns = [(replace(column, title=_narrow(column)), cells) for column, cells in columns]
    while len(columns) > 1 and too_wide():
        least = min(reversed(columns), key=lambda pair: pair[0].importance)  # the last one of equal importance
        columns.remove(least)
        dropped.append(least[0])
    console.print(_table(columns))
    for line in _lines(board, dropped):
        console.print(Text(line, style="dim"))


def comparability_lines(board: Board) -> list[str]:
    """Sentences on rows whose accuracies are not directly comparable."""
    lines, ranks = [], board.column("rank")
    if ranks.count(1) > 1:
        lines.append(PER_DATA_SET)
    reached = zip(ranks, board.column("rung_epoch"), strict=True)
    epochs = sorted({epoch for rank, epoch in reached if rank is not None and epoch is not None})
    if len(epochs) > 1:
        listed = ", ".join(map(str, epochs[:-1])) + f" and {epochs[-1]}"
        lines.append(f"Mixed fidelities: accuracies after {listed} epochs; --full-fidelity keeps completed trials.")
    if not board.over_seeds and any(board.column("mid_course")):
        lines.append(MID_COURSE)
    intervals = not board.over_seeds and any(low is not None for low in board.column("val_accuracy_low"))
    if any_tied(board):
        lines.append(f"{INTERVALS} {TIES}")
    elif intervals:
        lines.append(INTERVALS)
    return lines


def _narrow(column: ShortColumn) -> str:
    if not column.source.startswith("recipe_"):
        return column.title
    return _NARROW.get(column.title, column.title.replace(" ", "\n"))


def _table(columns: list[tuple[ShortColumn, list[str]]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for column, _ in columns:
        table.add_column(column.title, justify="right" if column.number else "left", no_wrap=True)
    for row in zip(*(cells for _, cells in columns), strict=True):
        table.add_row(*map(Text, row))  # as Text, because a run may be named like markup, `[red]`
    return table


def _lines(board: Board, dropped: list[ShortColumn]) -> list[str]:
    lines = [*([OVER_SEEDS] if board.over_seeds else []), f"Ranked by {RANKING_RULE}."]
    lines += comparability_lines(board)
    if board.total > board.table.num_rows:
        rows = "layouts and recipes" if board.over_seeds else "trials"
        lines.append(f"{board.table.num_rows} of {board.total} {rows}; --top {board.total} shows all.")
    if dropped:
        names = ", ".join(column.title.replace("\n", " ") for column in dropped)
        lines.append(f"Left out at this width: {names}; --format csv has all columns.")
    return lines
