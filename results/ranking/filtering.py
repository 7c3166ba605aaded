"""Filtering the trials by one boolean expression, which can read nothing but the table."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from results.errors import FilterError
from results.ranking.column_names import nearest_columns

_CONFIG: Final[dict[str, str | bool | int | float | list[str]]] = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "python_enable_replacements": "false",
    "lock_configuration": "true",
    "threads": "1",
}
_NODES: Final = {
    *("COLUMN_REF", "CONSTANT", "COMPARISON", "CONJUNCTION", "FUNCTION", "OPERATOR", "CAST"),
    *("CASE", "BETWEEN", "LAMBDA", "LAMBDA_REF", "COLLATE", "TYPE"),
}
_MACROS: Final = {"if", "nullif", "split_part", "fdiv", "fmod"}
_REMEDY: Final = "give one condition on the columns, such as `params < 1e6 and blocks[1] = 3`"


def filter_table(table: pa.Table, where: str) -> pa.Table:
    """The rows of the table for which the expression is true, in their order, with the same schema.

    The expression is SQL over the columns: operators and scalar functions whose value depends on their arguments alone.
    NaN counts as null, so that no comparison holds for it (in SQL it would exceed every number).

    Raises:
        FilterError: `where` is anything else than one boolean expression over the columns.
    """
    with duckdb.connect(":memory:", config=_CONFIG) as connection:
        connection.register("trials", _without_nan(table))
        try:
            _check(connection, where, table.schema.names)
            # the list is what was checked, so the text means here what it meant there
            question = f"SELECT [\n{where}\n][1] AS keep FROM trials"
            kind = connection.execute(f"DESCRIBE {question}").fetchall()[0][1]
            if kind != "BOOLEAN":
                raise FilterError(f"{_short(where)} is of type {kind.lower()}, not boolean; {_REMEDY}")
            keep = [row[0] for row in connection.execute(question).fetchall()]
        except (duckdb.Error, UnicodeError, RecursionError) as error:
            raise FilterError(f"{_short(where)}: {_first_line(error)}; {_REMEDY}") from None
    return table.filter(pa.array(keep, pa.bool_()))


def _check(connection: duckdb.DuckDBPyConnection, where: str, columns: list[str]) -> None:
    """Refuses what does not parse as exactly one expression of allowed nodes, functions and columns.

    The frame is a list and not parentheses: `true) OR (true` closes and opens parentheses, while a list of one element
    whose text closes the list parses as something else than a list of one element.
    """
    parsed, model = (_parse(connection, text) for text in (where, "true"))
    if parsed.pop("error"):
        raise FilterError(f"{_short(where)}: {_first_line(parsed['error_message'])}; {_REMEDY}")
    model.pop("error")
    expression, model_expression = _take_condition(parsed), _take_condition(model)
    if _bare(parsed) != _bare(model):
        raise FilterError(f"{_short(where)} is more than one expression; {_REMEDY}")
    elements = _elements(expression)
    if expression.get("function_name") != model_expression["function_name"] or len(elements) != 1:
        raise FilterError(f"{_short(where)} is not exactly one expression; {_REMEDY}")
    if _parse(connection, f"{where}\n, true")["error"]:  # DuckDB allows a comma after the last element of a list
        raise FilterError(f"{_short(where)} ends with a comma; {_REMEDY}")
    nodes = list(_nodes(elements))
    allowed = _functions(connection)
    known = {name.lower() for name in columns}
    parameters = {name for node in nodes if node["class"] == "LAMBDA" for name in _names(node["lhs"])}
    for node in nodes:
        if node["class"] not in _NODES:
            raise FilterError(f"{_short(where)} holds a {node['class'].lower()}; {_REMEDY}")
        if node["class"] == "FUNCTION" and node["function_name"].lower() not in allowed:
            raise FilterError(
                f"{node['function_name']} is not a function for filters; use a scalar one such as len or abs"
            )
        if node["class"] == "COLUMN_REF" and node["column_names"][0] not in parameters:
            path = [name.lower() for name in node["column_names"]]
            name = path[1] if path[0] == "trials" and len(path) > 1 else path[0]
            if name not in known:
                near = ", ".join(nearest_columns(name, columns))
                raise FilterError(f"{name!r:.40} is not a column; use {near}, or 'single quotes' if it is a text")


def _parse(connection: duckdb.DuckDBPyConnection, where: str) -> dict[str, Any]:
    query = f"SELECT * FROM trials WHERE [\n{where}\n]"
    row = connection.execute("SELECT json_serialize_sql(?)", [query]).fetchone()
    assert row is not None  # a SELECT without FROM has one row
    parsed: dict[str, Any] = json.loads(row[0])
    return parsed


def _take_condition(parsed: dict[str, Any]) -> dict[str, Any]:
    """Takes the WHERE clause out of the first statement, empty when there is none."""
    node = parsed["statements"][0]["node"]
    return node.pop("where_clause", None) or {}


def _bare(value: Any) -> Any:
    """The parse tree without positions in the text."""
    if isinstance(value, dict):
        return {key: _bare(item) for key, item in value.items() if not key.startswith("query_location")}
    return [_bare(item) for item in value] if isinstance(value, list) else value


def _elements(expression: dict[str, Any]) -> list[Any]:
    elements: list[Any] = expression.get("arguments") or expression.get("children") or []  # DuckDB 2 or 1
    return elements


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    waiting = [tree]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if "class" in value:
                yield value
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)


def _names(tree: Any) -> set[str]:
    return {node["column_names"][0] for node in _nodes(tree) if node["class"] == "COLUMN_REF"}


def _functions(connection: duckdb.DuckDBPyConnection) -> set[str]:
    """Names that only stand for scalar functions of their arguments: no setting, file, clock, chance or side effect."""
    rows = connection.execute("SELECT function_name, function_type, stability FROM duckdb_functions()").fetchall()
    scalars = {name for name, kind, stability in rows if kind == "scalar" and stability == "CONSISTENT"}
    others = {name for name, kind, stability in rows if kind in ("aggregate", "window") or stability == "VOLATILE"}
    lists = {name for name, kind, _ in rows if kind == "macro" and name.startswith(("list_", "array_"))}
    # DuckDB calls json_serialize_plan, which binds a whole query, and current_localtime, a clock, consistent;
    # version takes no argument
    plain = {name for name in scalars if not name.startswith(("__", "json_", "current_", "version"))}
    return (plain - others) | lists | _MACROS


def _without_nan(table: pa.Table) -> pa.Table:
    for index, column in enumerate(table.schema):
        if pa.types.is_floating(column.type):
            values = table.column(index)
            table = table.set_column(index, column, pc.if_else(pc.is_nan(values), None, values))
    return table


def _short(where: str) -> str:
    text = " ".join(where.split())
    return f"filter {text!r}" if len(text) <= 60 else f"filter {text[:57] + '...'!r}"


def _first_line(error: object) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].strip()
