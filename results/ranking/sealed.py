"""A DuckDB connection for expressions of a user: it can reach no file, no network, no extension and no setting."""

from __future__ import annotations

from typing import Final

import duckdb

_CONFIG: Final[dict[str, str | bool | int | float | list[str]]] = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "python_enable_replacements": "false",
    "temp_directory": "",
    "lock_configuration": "true",
}


def sealed_connection() -> duckdb.DuckDBPyConnection:
    """A connection to an empty database in memory that reads what is registered with it alone."""
    return duckdb.connect(":memory:", config=_CONFIG)
