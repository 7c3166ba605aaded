"""Reads runs: from the Parquet tables if they are intact and current, otherwise from the record."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from results.errors import NewerVersionError, ResultsError
from results.record.folders import OLDER_RUNS, RUN_FILE, is_run, run_not_found
from results.record.lock import dead_holder
from results.record.record import RECORD_NAME, read_record
from results.record.tables import (
    EPOCHS_NAME,
    EPOCHS_SCHEMA,
    RECORD_BYTES_KEY,
    SCHEMA_KEY,
    TRIALS_NAME,
    TRIALS_SCHEMA,
    epochs_table,
    trials_table,
)

NOTES_SHOWN: Final = 2
STALE: Final = -1
"""The length of the record for a table of an earlier version, which no record has."""
DATA_FIELDS: Final = (
    pa.field("dataset", pa.string()),
    pa.field("data", pa.string()),
    pa.field("train_images", pa.int64()),
    pa.field("val_images", pa.int64()),
    pa.field("val_splits", pa.int64()),
    pa.field("refit_of", pa.string()),
)
"""Columns that a leaderboard adds to the trials of a run: its data set, the identity of the images (a digest of the
training set, with the seeds of the validation splits and their share if that is not 0.1, or with `val` where the data
set has its own, `all` where none are left for validation), the numbers of training images, of validation images and of
validation splits, and the trial that a refit trains again. All are null if the run's `run.json` is missing or damaged,
the identity and the numbers of images also if a version wrote it that did not store them."""


@dataclass(frozen=True)
class RunTables:
    """The tables of one run."""

    trials: pa.Table
    """One row per trial, schema `TRIALS_SCHEMA`."""
    make_epochs: Callable[[], pa.Table]
    """Makes `epochs` on demand, because a leaderboard does not need it and it is the larger table to rebuild."""
    notes: list[str]
    """A sentence for each damaged or foreign file and for a driver that died; empty if there is nothing to report."""

    @cached_property
    def epochs(self) -> pa.Table:
        """One row per reported epoch, schema `EPOCHS_SCHEMA`."""
        return self.make_epochs()


@dataclass(frozen=True)
class _Stored:
    table: pa.Table
    record_bytes: int


def read_run(folder: Path, run: str | None = None) -> RunTables:
    """The tables of the run in `folder`, with `run` (by default the folder's present name) in their column `run`.

    A table that is missing, damaged or older than the record is rebuilt in memory from the record; nothing is written.

    Raises:
        RunNotFoundError: the folder does not exist or is not a run.
        NewerVersionError: a newer version wrote the run.
        ResultsError: neither its tables nor its record are usable.
    """
    folder = Path(folder)
    if not is_run(folder):
        raise run_not_found(folder, folder.parent)
    run = run or folder.resolve().name
    notes: list[str] = []
    record_bytes = _record_bytes(folder, notes)
    trials = _stored(folder / TRIALS_NAME, TRIALS_SCHEMA, notes)
    epochs = _stored(folder / EPOCHS_NAME, EPOCHS_SCHEMA, notes)
    if record_bytes is not None and not (
        trials and epochs and trials.record_bytes == epochs.record_bytes == record_bytes
    ):
        state = read_record(folder)
        notes += _few([f"{folder}: {sentence}" for sentence in state.skipped])
        if trials and trials.table.num_rows and state.is_empty:
            notes.append(f"{folder / RECORD_NAME}: no valid event; the tables are shown as they are")
        elif state.is_empty and state.skipped:
            raise ResultsError(f"{folder}: neither its tables nor its record are usable; restore one of the files")
        else:
            return _tables(folder, trials_table(run, state), partial(epochs_table, run, state), notes)
    if trials is None:
        raise ResultsError("; ".join(notes) + f"; restore it or {RECORD_NAME}")
    if epochs is None and not any(EPOCHS_NAME in note for note in notes):
        notes.append(f"{folder / EPOCHS_NAME}: missing; no epochs are shown")
    epochs_of_run = epochs.table if epochs else EPOCHS_SCHEMA.empty_table()
    return _tables(folder, _named(trials.table, run), partial(_named, epochs_of_run, run), notes)


def data_facts(folder: Path) -> tuple[str | int | None, ...]:
    """The values of `DATA_FIELDS` for the run in `folder`."""
    try:
        stored = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))
        config, data = stored["config"], stored.get("data", {})
        validation = stored.get("validation", {})
        usual = OLDER_RUNS["validation_share"]
        share, splits = config.get("validation_share", usual), config.get("validation_splits", 1)
        first = config["split_seed"]
        drawn = f"{first}-{first + splits - 1}" if splits > 1 else f"{first}"
        drawn += "" if share == usual else f"/{share:g}"
        drawn = "all" if config.get("all_data") else "val" if validation.get("own") else drawn
        known = f"{data['sha256'][:12]}/{drawn}" if data else None
        numbers = data.get("train_images"), validation.get("images"), splits
        return str(config["dataset"]), known, *numbers, config.get("refit_of") or None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return (None,) * len(DATA_FIELDS)  # a leaderboard shows the trials of a run whose configuration is lost


def with_data(trials: pa.Table, folder: Path) -> pa.Table:
    """The trials of the run in `folder` with `DATA_FIELDS` as their last columns."""
    for field, value in zip(DATA_FIELDS, data_facts(folder), strict=True):
        trials = trials.append_column(field, pa.array([value] * trials.num_rows, field.type))
    return trials


def _tables(folder: Path, trials: pa.Table, make_epochs: Callable[[], pa.Table], notes: list[str]) -> RunTables:
    if pc.any(pc.equal(trials["status"], "running")).as_py() and (note := driver_note(folder)) is not None:
        notes = [*notes, note]
    return RunTables(trials, make_epochs, notes)


def driver_note(folder: Path) -> str | None:
    """A sentence on the last driver of the run in `folder` if it has died; else None."""
    driver = dead_holder(folder)
    if driver is None:
        return None
    resume = f"python -m search.run --resume {shlex.quote(str(folder))}"
    return f"{folder}: its driver, process {driver}, has died; `{resume}` continues its trials"


def error_sentence(error: Exception) -> str:
    """A sentence on a run that cannot be read."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{os.fsdecode(error.filename)}: cannot be read ({error.strerror})"
    return str(error)


def _few(sentences: list[str]) -> list[str]:
    """The first sentences and the number of others; a trial whose suggestion is lost loses one line per epoch."""
    more = len(sentences) - NOTES_SHOWN
    return sentences if more <= 1 else [*sentences[:NOTES_SHOWN], f"and {more} more such lines"]


def record_size(folder: Path) -> int | None:
    """The bytes of the record in `folder`; None if there is none.

    Raises:
        OSError: it cannot be opened.
    """
    try:
        with (folder / RECORD_NAME).open("rb") as file:
            return file.seek(0, 2)
    except FileNotFoundError:
        return None


def _record_bytes(folder: Path, notes: list[str]) -> int | None:
    path = folder / RECORD_NAME
    try:
        return record_size(folder)
    except OSError as error:
        notes.append(f"{path}: {error.strerror or error}; the tables are shown as they are")
        return None


def _stored(path: Path, schema: pa.Schema, notes: list[str]) -> _Stored | None:
    """The table in the file; None if it does not exist, or with a note if it is damaged or foreign."""
    try:
        # not read_table, which takes a folder named `rate=0.1` for a partition and adds a column
        with path.open("rb") as file, pq.ParquetFile(file, page_checksum_verification=True) as parquet:
            metadata = parquet.schema_arrow.metadata or {}
            version = metadata.get(SCHEMA_KEY, b"no version").decode("ascii", "replace")
            expected = schema.metadata[SCHEMA_KEY].decode()
            if _is_older(version, expected):  # the record has more; without it, the missing columns are null
                return _Stored(_completed(parquet.read(), schema), STALE)
            if _is_older(expected, version):
                raise NewerVersionError(
                    f"{path}: written by a newer version of parambudget ({version}; this one reads up to {expected}); "
                    "upgrade parambudget to read the run"
                )
            if version != expected or not parquet.schema_arrow.equals(schema):
                other = "its columns are not those of" if version == expected else f"its schema is {version} instead of"
                notes.append(f"{path}: {other} {expected}")
                return None
            table = parquet.read().replace_schema_metadata(schema.metadata)
            return _Stored(table, int(metadata[RECORD_BYTES_KEY]))
    except FileNotFoundError:
        return None
    except NewerVersionError:
        raise
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        notes.append(f"{path}: damaged ({' '.join(str(error).split())[:100]})")
        return None


def _is_older(version: str, expected: str) -> bool:
    (kind, _, number), (expected_kind, _, newest) = version.partition("-v"), expected.partition("-v")
    return kind == expected_kind and number.isdecimal() and int(number) < int(newest)


def _completed(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table of an earlier version with the columns of `schema`; KeyError if a column has another type."""
    columns = []
    for field in schema:
        known = field.name in table.schema.names
        if known and table.schema.field(field.name).type != field.type:
            raise KeyError(field.name)
        columns.append(table[field.name] if known else pa.nulls(table.num_rows, field.type))
    return pa.table(columns, schema=schema)


def _named(table: pa.Table, run: str) -> pa.Table:
    column = pa.array([run] * table.num_rows, pa.string())
    return table.set_column(0, TRIALS_SCHEMA.field("run"), column)
