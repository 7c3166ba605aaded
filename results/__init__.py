"""Results of searches: the durable record of a run, its tables, and the leaderboard.

Names load on first use: the help of a command line need not wait for pandas, pyarrow and duckdb, 1 s together.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from results.errors import FilterError as FilterError
    from results.errors import NewerVersionError as NewerVersionError
    from results.errors import RecordError as RecordError
    from results.errors import RecordLockedError as RecordLockedError
    from results.errors import ResultsError as ResultsError
    from results.errors import RunNotFoundError as RunNotFoundError
    from results.errors import UserError as UserError
    from results.ranking.query import rank_table as rank_table
    from results.ranking.query import rank_trials as rank_trials
    from results.record.reading import RunTables as RunTables
    from results.record.reading import read_run as read_run
    from results.record.record import Record as Record
    from results.record.record import read_record as read_record
    from results.record.state import RunState as RunState
    from results.record.tables import TableWriter as TableWriter
    from results.record.tables import epochs_table as epochs_table
    from results.record.tables import trials_table as trials_table
    from results.record.tables import write_tables as write_tables
    from results.record.trial_state import Report as Report
    from results.record.trial_state import SessionState as SessionState
    from results.record.trial_state import TrialState as TrialState

_MODULES = {
    "errors": (
        *("FilterError", "NewerVersionError", "RecordError", "RecordLockedError", "ResultsError", "RunNotFoundError"),
        "UserError",
    ),
    "ranking.query": ("rank_table", "rank_trials"),
    "record.reading": ("RunTables", "read_run"),
    "record.record": ("Record", "read_record"),
    "record.state": ("RunState",),
    "record.tables": ("TableWriter", "epochs_table", "trials_table", "write_tables"),
    "record.trial_state": ("Report", "SessionState", "TrialState"),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'results' has no attribute {name!r}")
    return getattr(import_module(f"results.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(_HOMES)
