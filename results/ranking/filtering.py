"""Filtering the trials by one boolean expression, which can reach no file, no network and no setting."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, Final

import duckdb
import numpy as np
import pyarrow as pa

from results.errors import FilterError
from results.ranking.board import LIST_COLUMNS
from results.ranking.column_names import column_meant, nearest_columns, short_names
from results.ranking.sealed import sealed_connection
from results.record.arrow_arrays import whole_numbers, without_nan
from results.record.events import TRIAL_ENDS
from results.record.trial_state import OPEN_STATUSES
from results.record.trials_of_runs import COLUMNS, TrialsOfRuns

UNKNOWN_COLUMN: Final = re.compile(r'Referenced (?:column|table) "(.+?)" not found|have a column named "(.+?)"')
_NUMBER: Final = r"(\d+(?:\.\d*)?)"
_COMPARES: Final = r"\"?\s*(?:<>|[<>=!]=?|between)\s*\"?"
_COMPARED: Final = re.compile(rf"([a-z_.]+){_COMPARES}{_NUMBER}|{_NUMBER}{_COMPARES}([a-z_.]+)", re.IGNORECASE)
"""A name compared with a number on either side."""
_PERCENT: Final = re.compile(r"\d\s*%\s*(?:$|\)|and\b|or\b)", re.IGNORECASE)
_COUNT: Final = re.compile(r"count\s*\(\s*\*\s*\)", re.IGNORECASE)
_UNNAMED: Final = re.compile(r"#|columns|(?:^|[(,.\[]|\b(?:select|distinct|all)\b)\s*\*", re.IGNORECASE)
"""Ways of SQL to mean columns without their names: by position, by a pattern, all of them, the whole row."""
_TEXTS: Final = re.compile(
    r"([a-z_.]+)\"?\s*(=|==|<>|!=|\bnot\s+in\b|\bin\b)\s*(\((?:\s*'(?:[^']|'')*'\s*,?)+\)|'(?:[^']|'')*')",
    re.IGNORECASE,
)
"""A name compared with a text, or with several."""
_LIST_COMPARED: Final = re.compile(rf"([a-z_.]+){_COMPARES}('[^']*'|{_NUMBER})", re.IGNORECASE)
_TABLE: Final = re.compile(r"\btrials\b(?!\s*\.)", re.IGNORECASE)
_REMEDY: Final = "give one condition on the columns, such as `params < 1e6 and blocks[1] = 3`"


def matching_rows(trials: TrialsOfRuns, where: str) -> np.ndarray[Any, Any]:
    """The places of the trials for which the expression is true, ascending.

    The expression is SQL over the columns of `trials`, as after WHERE. It can neither read or write a file, nor reach
    the network, nor change a setting. NaN counts as null, so that no comparison holds for it (in SQL it would exceed
    every number). Headings of the table and the recipe's fields without `recipe_` name their columns as well.

    Raises:
        FilterError: `where` is anything else than one boolean expression over the columns.
    """
    _places(COLUMNS.empty_table(), where)  # with all columns, so that what is unknown is found before a file is read
    try:
        return _places(trials.columns(named_columns(where, COLUMNS.names)), where)
    except FilterError:
        return _places(trials.columns(COLUMNS.names), where)


def filter_table(table: pa.Table, where: str) -> pa.Table:
    """The rows of the table for which the expression is true, by the rules of `matching_rows`, in their order.

    Raises:
        FilterError: `where` is anything else than one boolean expression over the columns.
    """
    return table.take(whole_numbers(_places(table, where)))


def named_columns(text: str, columns: Sequence[str], *, views: bool = False) -> list[str]:
    """Those of `columns` that the SQL `text` can mean: all of them if it may mean columns without their names.

    The name of the table alone means all columns, unless the text names `views`.
    """
    if _UNNAMED.search(_COUNT.sub("", text)) or (not views and _TABLE.search(text)):
        return list(columns)
    lower = text.lower()
    others = short_names(columns)
    named = {name for name in columns if name in lower} | {others[name] for name in others if name.lower() in lower}
    return [name for name in columns if name in named] or list(columns[:1])


def _places(table: pa.Table, where: str) -> np.ndarray[Any, Any]:
    with sealed_connection() as connection:
        trials = with_short_names(table)
        connection.register("trials", trials)
        numbered = connection.from_arrow(trials.append_column("row_of_table", whole_numbers(np.arange(len(table)))))
        try:
            condition = _expression(where)
            # without the numbers of the rows, so that the expression cannot name them
            kinds = [str(kind) for kind in connection.view("trials").select(condition).types]
            if kinds != ["BOOLEAN"]:
                raise FilterError(f"{_short(where)} is of type {', '.join(kinds).lower():.40}, not boolean; {_REMEDY}")
            kept = numbered.set_alias("trials").filter(condition).select("row_of_table").fetchnumpy()["row_of_table"]
        except (duckdb.Error, UnicodeError) as error:
            raise FilterError(_message(where, error, table.schema.names)) from None
    return np.sort(np.asarray(kept, np.int64))


def share_note(where: str, columns: Sequence[str]) -> str | None:
    """A sentence on an accuracy that `where` compares with a number above 1, which no accuracy reaches; else None."""
    for left, right_number, left_number, right in _COMPARED.findall(where):
        column = column_meant((left or right).lower().removeprefix("trials."), columns)
        number = float(right_number or left_number)
        if column is not None and column.endswith("_accuracy") and number > 1:
            example = number if number <= 100 else 95
            return f"{column} is a share from 0 to 1, and {number:g} is given; write {example / 100:g} for {example:g}%"
    return None


def unknown_value_notes(where: str, trials: TrialsOfRuns) -> list[str]:
    """A sentence for each text that `where` compares with a column of texts in which no trial has it."""
    notes = []
    for name, _, compared in _TEXTS.findall(where):
        column = column_meant(name.lower().removeprefix("trials."), COLUMNS.names)
        if column is None or not pa.types.is_string(COLUMNS.field(column).type):
            continue
        there = trials.columns([column])[column].unique().to_pylist()
        known = {*filter(None, there), *((*OPEN_STATUSES, *TRIAL_ENDS) if column == "status" else ())}
        for text in re.findall(r"'((?:[^']|'')*)'", compared):
            value = text.replace("''", "'")
            if value not in known:
                near = get_close_matches(value, sorted(known), n=1, cutoff=0.5)
                meant = f"did you mean {near[0]!r}?" if near else f"there is {', '.join(sorted(known)[:5]) or 'none'}"
                notes.append(f"no trial has {value!r:.40} as its {column}; {meant}")
    return notes


def _expression(where: str) -> duckdb.Expression:
    """`where` parsed as exactly one expression.

    It must parse on its own, so that it closes no parenthesis that it did not open, and in parentheses, so that nothing
    else of a SELECT follows the expression, as in `true LIMIT 1`.
    """
    where.encode()  # DuckDB takes no lone surrogate, and would raise a TypeError
    duckdb.SQLExpression(where)
    return duckdb.SQLExpression(f"(\n{where}\n)")


def _message(where: str, error: Exception, columns: list[str]) -> str:
    unknown = UNKNOWN_COLUMN.search(str(error))
    if unknown is None:
        if _PERCENT.search(where):
            return f"{_short(where)}: there is no percent sign; accuracies are shares from 0 to 1, write 0.95 for 95%"
        if list_note := _list_note(where, columns):
            return list_note
        return f"{_short(where)}: {(str(error).splitlines() or [type(error).__name__])[0].strip()}; {_REMEDY}"
    name = (unknown[1] or unknown[2]).lower()
    near = ", ".join(nearest_columns(name, columns))
    return f"{name!r:.40} is not a column; use {near}, or 'single quotes' if it is a text"


def _list_note(where: str, columns: list[str]) -> str | None:
    """A sentence on a column of lists that `where` compares with a text or a number; None if there is none."""
    for name, given, _ in _LIST_COMPARED.findall(where):
        column = column_meant(name.lower().removeprefix("trials."), columns)
        if column is not None and column in LIST_COLUMNS:
            stages = re.findall(r"\d+", given) or ["8", "24"]
            return (
                f"{column} is a list with a number per stage, and {given} is given; "
                f"write {column} = [{', '.join(stages)}], or {column}[1] = {stages[0]} for the first stage"
            )
    return None


def with_short_names(table: pa.Table) -> pa.Table:
    """The table with its columns once more under their other names, and null in place of NaN."""
    table = pa.table([without_nan(column) for column in table.columns], schema=table.schema)
    for name, column in short_names(table.schema.names).items():
        table = table.append_column(name, table.column(column))
    return table


def _short(where: str) -> str:
    text = " ".join(where.split())
    return f"filter {text!r}" if len(text) <= 60 else f"filter {text[:57] + '...'!r}"
