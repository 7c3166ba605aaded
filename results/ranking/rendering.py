"""Writes a leaderboard in any of its output formats."""

from __future__ import annotations

import io
import json
import math
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from results.errors import ResultsError
from results.ranking.ranking_rule import OVER_SEEDS, RANKING_RULE
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


_SUFFIXES: Final = {".csv": "csv", ".json": "json", ".md": "markdown", ".parquet": "parquet", ".txt": "table"}


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
    elif kind is OutputFormat.parquet and sys.stdout.isatty():
        raise ResultsError("format: parquet is binary, but stdout is a terminal; add --output FILE or use a pipe")
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(payload)
        sys.stdout.buffer.flush()


def render_board(board: Board, kind: OutputFormat) -> bytes:
    """The rows of the leaderboard as the bytes of a file; text is in UTF-8."""
    if kind is OutputFormat.parquet:
        return _parquet(board)
    if kind is OutputFormat.markdown:
        return _markdown(board).encode()
    if kind is OutputFormat.table:
        from rich.console import Console

        from results.ranking.terminal import print_table

        text = io.StringIO()
        print_table(board, Console(file=text, width=FILE_WIDTH))
        return text.getvalue().encode()
    return (_csv(board) if kind is OutputFormat.csv else _json(board)).encode()


def _csv(board: Board) -> str:
    from results.ranking.board import LIST_COLUMNS
    from results.ranking.short_columns import dashed

    flat = board.frame()
    for name in LIST_COLUMNS & set(flat.columns):
        flat[name] = [dashed(values) for values in flat[name]]
    return flat.to_csv(index=False, lineterminator="\n")


def _json(board: Board) -> str:
    rows = [{name: _finite(value) for name, value in row.items()} for row in board.table.to_pylist()]
    return json.dumps(rows, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


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
    notes = [OVER_SEEDS if board.over_seeds else "", f"Ranked by {RANKING_RULE}.", *comparability_lines(board)]
    return "\n".join([*lines, "", " ".join(filter(None, notes)), ""])


def _parquet(board: Board) -> bytes:
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(board.table, buffer)
    return buffer.getvalue()
