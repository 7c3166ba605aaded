"""One SELECT over the trials and epochs of runs, which can reach no file, no network, no extension and no setting."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa

from results.errors import FilterError
from results.ranking.board import Board
from results.ranking.column_names import nearest_columns
from results.ranking.filtering import UNKNOWN_COLUMN, named_columns
from results.ranking.sealed import sealed_connection
from results.record.arrow_arrays import without_nan
from results.record.trials_of_runs import RowsChangedError, TrialsOfRuns, open_epochs, open_runs

_VIEWS: Final = {"trials": open_runs, "epochs": open_epochs}
_WHOLE: Final = re.compile(r"(?:^|\()\s*(?:from|describe|summarize|show)\b|\btable\s+(?:trials|epochs)\b")
"""Ways of SQL to mean all columns of a table by its name."""


def answer(sql: str, storage: Path, runs: Sequence[str]) -> tuple[Board, list[str]]:
    """The answer to one SELECT over the views `trials` and `epochs`, with notes on damaged files.

    NaN counts as null. Only the columns that the text names are read.

    Raises:
        FilterError: it is anything else than one SELECT, or the query fails.
        RunNotFoundError: a named run does not exist, or there is none in `storage`.
        ResultsError: no run is readable.
    """
    text = sql.strip().rstrip(";")
    _require_select(text)
    opened = {view: source(storage, runs) for view, source in _VIEWS.items() if re.search(rf"\b{view}\b", text.lower())}
    while True:
        try:
            table = _asked(text, opened)
            break
        except RowsChangedError:
            continue
    notes = dict.fromkeys(note for trials in opened.values() for note in trials.notes)
    return Board(table, table.num_rows, frozenset(), chosen=tuple(table.schema.names), ranked=False), list(notes)


def _require_select(text: str) -> None:
    try:
        text.encode()  # DuckDB takes no lone surrogate, and would raise a TypeError
        statements = duckdb.extract_statements(text)
    except (duckdb.Error, UnicodeError) as error:
        raise FilterError(f"sql: {_first_line(error)}; give one SELECT over trials and epochs") from None
    kinds = [str(statement.type).rpartition(".")[2] for statement in statements]
    if kinds != ["SELECT"]:
        found = " and ".join(kinds) if kinds else "nothing"
        raise FilterError(f"sql: {found} given; give exactly one SELECT over the views trials and epochs")


def _asked(text: str, opened: dict[str, TrialsOfRuns]) -> pa.Table:
    with sealed_connection() as connection:
        for view, trials in opened.items():
            known = [name for name in trials.schema.names if name != "answers"]
            names = known if _WHOLE.search(text.lower()) else named_columns(text, known, views=True)
            table = trials.columns(names)
            connection.register(view, pa.table([without_nan(it) for it in table.columns], schema=table.schema))
        try:
            table = connection.sql(text).to_arrow_table()
        except (duckdb.Error, AttributeError) as error:
            raise FilterError(_message(error, opened)) from None
    names = [
        name if table.schema.names.count(name) == 1 else f"{name}_{i}" for i, name in enumerate(table.schema.names)
    ]
    return table.rename_columns(names)


def _message(error: Exception, opened: dict[str, TrialsOfRuns]) -> str:
    unknown = UNKNOWN_COLUMN.search(str(error))
    columns = [name for trials in opened.values() for name in trials.schema.names]
    if unknown is not None and columns:
        name = (unknown[1] or unknown[2]).lower()
        return f"sql: {name!r:.40} is not a column; use {', '.join(nearest_columns(name, columns))}"
    return f"sql: {_first_line(error)}; a query sees the views trials and epochs alone"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].strip()[:300]
