"""Writes a leaderboard in any of its output formats."""

from __future__ import annotations

import io
import json
import math
import re
import sys
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from results.errors import ResultsError
from results.record.files import replace_file

if TYPE_CHECKING:
    from results.ranking.board import Board

FILE_WIDTH: Final = 160  # columns of a table written to a file: all the short ones fit


class OutputFormat(StrEnum):
    """How a leaderboard is written."""

    table = "table"
    """For a terminal: short columns."""
    csv = "csv"
    """All columns; lists as `3-5-3`."""
    json = "json"
    """A list of objects with all columns; lists stay lists, NaN is null."""
    markdown = "markdown"
    """Short columns."""
    parquet = "parquet"
    """All columns with their types."""
    latex = "latex"
    """Short columns, as a tabular with the rules of the package booktabs."""
    xlsx = "xlsx"
    """All columns, as a sheet of a spreadsheet; lists as `3-5-3`."""


PEOPLE: Final = (OutputFormat.table, OutputFormat.markdown, OutputFormat.latex)
"""The formats with short columns."""
_BINARY: Final = (OutputFormat.parquet, OutputFormat.xlsx)
_SUFFIXES: Final = {
    **{".csv": "csv", ".json": "json", ".md": "markdown", ".parquet": "parquet", ".txt": "table"},
    **{".tex": "latex", ".xlsx": "xlsx"},
}


def format_of(output: Path | None) -> OutputFormat:
    """The format of the file's suffix; a table without a file or a suffix.

    Raises:
        ResultsError: the suffix is not that of a format.
    """
    suffix = output.suffix.lower() if output is not None else ""
    if suffix and suffix not in _SUFFIXES:
        raise ResultsError(f"output: {suffix} is not a known suffix; use {', '.join(_SUFFIXES)}, or give --format")
    return OutputFormat(_SUFFIXES.get(suffix, "table"))


def write_board(board: Board, kind: OutputFormat, output: Path | None = None) -> None:
    """Writes the rows of the leaderboard to the file `output`, or to stdout for None.

    Raises:
        ResultsError: Parquet would go to a terminal, or the file cannot be written.
    """
    if output is None and kind is OutputFormat.table:
        from rich.console import Console

        from results.ranking.terminal import print_table

        print_table(board, Console())
        return
    payload = render_board(board, kind)
    if output is not None:
        try:
            replace_file(output, payload)
        except OSError as error:
            raise ResultsError(f"{output}: {error.strerror or error}; name another --output") from None
    elif kind in _BINARY and sys.stdout.isatty():
        raise ResultsError(f"format: {kind} is binary, but stdout is a terminal; add --output FILE or use a pipe")
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(payload)
        sys.stdout.buffer.flush()


def render_board(board: Board, kind: OutputFormat) -> bytes:
    """The rows of the leaderboard as the bytes of a file; text is in UTF-8."""
    if kind is OutputFormat.parquet:
        return _parquet(board)
    if kind is OutputFormat.xlsx:
        return _xlsx(board)
    if kind in (OutputFormat.markdown, OutputFormat.latex):
        return (_markdown(board) if kind is OutputFormat.markdown else _latex(board)).encode()
    if kind is OutputFormat.table:
        from rich.console import Console

        from results.ranking.terminal import print_table

        text = io.StringIO()
        print_table(board, Console(file=text, width=FILE_WIDTH))
        return text.getvalue().encode()
    return (_csv(board) if kind is OutputFormat.csv else _json(board)).encode()


def _csv(board: Board) -> str:
    from results.ranking.short_columns import dashed

    flat = board.frame()
    for field, values in zip(board.written.schema, board.written.columns, strict=True):
        if hasattr(field.type, "value_type"):
            flat[field.name] = [None if value is None else dashed(value) for value in values.to_pylist()]
    return flat.to_csv(index=False, lineterminator="\n")


def require_library(kind: OutputFormat) -> None:
    """Checks that the library of the format is installed.

    Raises:
        ResultsError: it is not.
    """
    if kind is OutputFormat.xlsx and find_spec("openpyxl") is None:
        raise ResultsError(
            "format: xlsx needs the package openpyxl, which is not installed; "
            "install it with `pip install openpyxl`, or use csv, which spreadsheets open too"
        )


def _xlsx(board: Board) -> bytes:
    from openpyxl import Workbook

    from results.ranking.short_columns import dashed

    require_library(OutputFormat.xlsx)
    book = Workbook(write_only=True)
    sheet = book.create_sheet("leaderboard")
    sheet.freeze_panes = "A2"
    sheet.append(board.written.schema.names)
    for row in board.written.to_pylist():
        cells = [dashed(value) if isinstance(value, list) else _finite(value) for value in row.values()]
        sheet.append([_NO_CELL.sub("?", cell) if isinstance(cell, str) else cell for cell in cells])
    buffer = io.BytesIO()
    book.save(buffer)
    return buffer.getvalue()


_NO_CELL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]|^=")
"""What a spreadsheet's cell cannot hold, or would take for a formula."""
_LATEX: Final = {
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"},
}


def _latex(board: Board) -> str:
    from results.ranking.short_columns import short_columns
    from results.ranking.terminal import comparability_lines

    def text(cell: str) -> str:
        return "".join(_LATEX.get(letter, letter) for letter in cell)

    columns = short_columns(board)
    rows = [" & ".join(map(text, row)) + r" \\" for row in zip(*(cells for _, cells in columns), strict=True)]
    notes = comparability_lines(board)
    return "\n".join(
        [
            "% needs \\usepackage{booktabs}",
            *(f"% {note}" for note in notes),
            f"\\begin{{tabular}}{{{''.join('r' if column.number else 'l' for column, _ in columns)}}}",
            r"\toprule",
            " & ".join(text(column.title) for column, _ in columns) + r" \\",
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def _json(board: Board) -> str:
    rows = [{name: _finite(value) for name, value in row.items()} for row in board.written.to_pylist()]
    return json.dumps(rows, indent=2, allow_nan=False, ensure_ascii=False, default=str) + "\n"


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _markdown(board: Board) -> str:
    from results.ranking.short_columns import short_columns
    from results.ranking.terminal import comparability_lines

    columns = short_columns(board)
    rows = [[column.title for column, _ in columns], ["---:" if column.number else "---" for column, _ in columns]]
    rows += [
        [cell.replace("\\", "\\\\").replace("|", "\\|") for cell in row]
        for row in zip(*(c for _, c in columns), strict=True)
    ]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    notes = " ".join(comparability_lines(board))
    return "\n".join([*lines, "", *([notes, ""] if notes else [])])


def _parquet(board: Board) -> bytes:
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(board.written, buffer)
    return buffer.getvalue()
