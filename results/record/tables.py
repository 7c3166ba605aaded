"""The two Parquet tables of a run, trials and epochs: their schemas, and writing them."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from results.record.events import LAYOUT_FIELDS, RECIPE_FIELDS, REPORT_FIELDS
from results.record.files import is_full, replace_file
from results.record.record import Record
from results.record.state import RunState
from results.record.trial_state import Report, TrialState

TRIALS_NAME: Final = "trials.parquet"
EPOCHS_NAME: Final = "epochs.parquet"
SCHEMA_KEY: Final = b"parambudget.schema"
RECORD_BYTES_KEY: Final = b"parambudget.record_bytes"
WRITE_SHARE: Final = 20  # a write every 20 of its durations costs at most 5 % of the wall clock

_INT, _FLOAT, _TEXT, _FLAG = pa.int64(), pa.float64(), pa.string(), pa.bool_()
_WHOLES = pa.list_(pa.field("element", pa.int64()))  # the name that Parquet gives, so that both ways are equal
_ARROW_TYPES: dict[Any, Any] = {int: _INT, float: _FLOAT, str: _TEXT, bool: _FLAG, list[int]: _WHOLES}
_ARROW_TYPES |= {kind | None: arrow for kind, arrow in _ARROW_TYPES.items()}

TRIALS_SCHEMA: Final = pa.schema(
    [("run", _TEXT), ("trial", _INT), ("status", _TEXT), ("layout_id", _TEXT)]
    + [(name, _ARROW_TYPES[kind]) for name, kind in LAYOUT_FIELDS.items()]
    + [("params", _INT), ("flops", _INT), ("depth", _INT)]
    + [(f"recipe_{name}", _ARROW_TYPES[kind]) for name, kind in RECIPE_FIELDS.items()]
    + [("seed", _INT), ("epochs", _INT), ("rung", _INT), ("rung_epoch", _INT)]
    + [(name, _FLOAT) for name in ("val_accuracy", "val_loss", "test_accuracy", "train_time_s", "eval_time_s")]
    + [
        ("test_epoch", _INT),
        ("test_flip", _FLAG),
        ("test_images", _INT),
        ("started_s", _FLOAT),
        ("ended_s", _FLOAT),
        ("confirmed", _FLAG),
        ("retries", _INT),
        ("reused", _TEXT),
        ("error", _TEXT),
        ("within_limits", _FLAG),
        ("answers", _TEXT),
    ],
    metadata={SCHEMA_KEY: b"trials-v5"},
)
"""One row a trial."""

EPOCHS_SCHEMA: Final = pa.schema(
    [("run", _TEXT), *((name, _ARROW_TYPES[kind]) for name, kind in REPORT_FIELDS.items() if name != "answers")],
    metadata={SCHEMA_KEY: b"epochs-v2"},
)
"""One row a reported epoch."""


def trials_table(run: str, state: RunState) -> pa.Table:
    """One row a trial in the order of their numbers, with the columns of `TRIALS_SCHEMA`."""
    trials = [state.trials[number] for number in sorted(state.trials)]
    columns: dict[str, list[Any]] = {"run": [run] * len(trials)}
    columns |= {name: [getattr(trial, name) for trial in trials] for name in _OF_TRIAL}
    columns |= {name: [trial.layout[name] for trial in trials] for name in LAYOUT_FIELDS}
    columns |= {f"recipe_{name}": [trial.recipe[name] for trial in trials] for name in RECIPE_FIELDS}
    return _table(columns, TRIALS_SCHEMA)


def epochs_table(run: str, state: RunState) -> pa.Table:
    """One row a report in the order of trial and epoch, with the columns of `EPOCHS_SCHEMA`."""
    reports = [(trial, report) for trial in sorted(state.reports) for report in state.reports[trial]]
    columns: dict[str, list[Any]] = {"run": [run] * len(reports), "trial": [trial for trial, _ in reports]}
    columns |= {name: [getattr(report, name) for _, report in reports] for name in _OF_REPORT}
    return _table(columns, EPOCHS_SCHEMA)


def write_tables(folder: Path, state: RunState, record_bytes: int) -> None:
    """Replaces both tables of the run in `folder`, each whole or not at all.

    `record_bytes` is the length of the record that `state` folds: a reader takes the tables for current while the
    record has that length.
    """
    run = folder.resolve().name
    mark = {RECORD_BYTES_KEY: str(record_bytes).encode()}
    for name, table in ((EPOCHS_NAME, epochs_table(run, state)), (TRIALS_NAME, trials_table(run, state))):
        buffer = io.BytesIO()
        marked = table.replace_schema_metadata({**table.schema.metadata, **mark})
        pq.write_table(marked, buffer, write_page_checksum=True)
        replace_file(folder / name, buffer.getvalue())


class TableWriter:
    """Writes a live run's tables at most so often that writing costs 5 % of the wall clock."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.folder = Path(folder)
        self._clock = clock
        self._due_s = float("-inf")
        self._size = -1

    def update(self, record: Record, force: bool = False) -> bool:
        """Writes the tables from the record's state when they are due and behind, or forced; returns whether it did.

        On a full disk it does not: a reader takes the record instead, and the next update tries again.
        """
        started_s = self._clock()
        if (started_s < self._due_s or record.size == self._size) and not force:
            return False
        written = True
        try:
            write_tables(self.folder, record.state, record.size)
            self._size = record.size
        except OSError as error:
            if not is_full(error):
                raise
            written = False
        ended_s = self._clock()
        self._due_s = ended_s + WRITE_SHARE * (ended_s - started_s)
        return written


_OF_TRIAL = tuple(name for name in TRIALS_SCHEMA.names if hasattr(TrialState, name))
_OF_REPORT = tuple(name for name in EPOCHS_SCHEMA.names if hasattr(Report, name))


def _table(columns: dict[str, list[Any]], schema: pa.Schema) -> pa.Table:
    return pa.table([pa.array(columns[field.name], field.type) for field in schema], schema=schema)
