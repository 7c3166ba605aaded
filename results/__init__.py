"""Results of searches: the durable record of a run, its tables, and the leaderboard.

Names load on first use: the help of a command line need not wait for pandas, pyarrow and duckdb, 1 s together.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from results.console import run_app
    from results.errors import FilterError, RecordError, RecordLockedError, ResultsError, RunNotFoundError, UserError
    from results.ranking import rank_table, rank_trials
    from results.reading import RunTables, read_run, read_runs
    from results.record import Record, read_record
    from results.rule import RANKED_STATUSES, RANKING_RULE, is_ranked, rule_key
    from results.state import RunState
    from results.tables import RECIPE_COLUMNS, TableWriter, epochs_table, trials_table, write_tables
    from results.trial_state import Report, SessionState, TrialState
    from results.where import filter_table

__all__ = [
    "RANKED_STATUSES",
    "RANKING_RULE",
    "RECIPE_COLUMNS",
    "FilterError",
    "Record",
    "RecordError",
    "RecordLockedError",
    "Report",
    "ResultsError",
    "RunNotFoundError",
    "RunState",
    "RunTables",
    "SessionState",
    "TableWriter",
    "TrialState",
    "UserError",
    "epochs_table",
    "filter_table",
    "is_ranked",
    "rank_table",
    "rank_trials",
    "read_record",
    "read_run",
    "read_runs",
    "rule_key",
    "run_app",
    "trials_table",
    "write_tables",
]

_MODULES = {
    "console": ("run_app",),
    "errors": ("FilterError", "RecordError", "RecordLockedError", "ResultsError", "RunNotFoundError", "UserError"),
    "ranking": ("rank_table", "rank_trials"),
    "reading": ("RunTables", "read_run", "read_runs"),
    "record": ("Record", "read_record"),
    "rule": ("RANKED_STATUSES", "RANKING_RULE", "is_ranked", "rule_key"),
    "state": ("RunState",),
    "trial_state": ("Report", "SessionState", "TrialState"),
    "tables": ("RECIPE_COLUMNS", "TableWriter", "epochs_table", "trials_table", "write_tables"),
    "where": ("filter_table",),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'results' has no attribute {name!r}")
    return getattr(import_module(f"results.{_HOMES[name]}"), name)
