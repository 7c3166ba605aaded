"""The trials of many runs, of which only the columns that a reader asks for are read from the files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from results.errors import ResultsError
from results.record.arrow_arrays import arrow_array, arrow_scalar, numpy_numbers, whole_numbers
from results.record.compacted_file import (
    COMPACTED_NAME,
    COMPACTED_ROWS,
    STAMPS_KEY,
    open_compacted,
    stamp_of,
    write_compacted,
)
from results.record.folders import find_runs
from results.record.reading import (
    DATA_FIELDS,
    RunTables,
    data_facts,
    driver_note,
    error_sentence,
    read_run,
    record_size,
    with_data,
)
from results.record.tables import EPOCHS_NAME, EPOCHS_SCHEMA, RECORD_BYTES_KEY, SCHEMA_KEY, TRIALS_NAME, TRIALS_SCHEMA

COLUMNS: Final = pa.schema([*TRIALS_SCHEMA, *DATA_FIELDS])
"""The columns of the trials of runs: those of the trials table, and those of the run."""

_OF_RUN: Final = ("run", *(field.name for field in DATA_FIELDS))
_SMALL: Final = 1000  # rows below which starting threads takes longer than they save
_BROKEN: Final = (pa.ArrowException, OSError, ValueError, KeyError)


class RowsChangedError(Exception):
    """A file was replaced or proved damaged after its first read; what was read before does not fit it any more."""


class _Kind(NamedTuple):
    """One of the two tables of a run."""

    file: str
    schema: pa.Schema
    columns: pa.Schema
    """Those of the file and those of the run."""
    of: Callable[[RunTables, Path], pa.Table]
    """All columns, of the tables and the folder of a run."""


_TRIALS: Final = _Kind(TRIALS_NAME, TRIALS_SCHEMA, COLUMNS, lambda tables, folder: with_data(tables.trials, folder))
_EPOCHS: Final = _Kind(EPOCHS_NAME, EPOCHS_SCHEMA, EPOCHS_SCHEMA, lambda tables, folder: tables.epochs)


class _Part:
    """The rows of one run in their file, which is current."""

    def __init__(self, run: str, folder: Path, kind: _Kind) -> None:
        self.run, self.folder, self._kind = run, folder, kind
        self.facts = dict(zip(_OF_RUN, (run, *data_facts(folder)), strict=True))
        self._record_bytes = record_size(folder)
        self._ranges: list[tuple[Any, Any] | None] | None = None
        with self._open() as parquet:
            self.rows: int = parquet.metadata.num_rows

    def _open(self) -> pq.ParquetFile:
        """The run's table, if it is of this version, as long as the record, and the one that was opened first.

        Raises:
            ValueError: it is not.
        """
        parquet = pq.ParquetFile(pa.OSFile(str(self.folder / self._kind.file)), page_checksum_verification=True)
        mark = parquet.metadata.metadata or {}
        record_bytes = int(mark.get(RECORD_BYTES_KEY, -1))
        current = mark.get(SCHEMA_KEY) == self._kind.schema.metadata[SCHEMA_KEY]
        if not current or self._record_bytes not in (None, record_bytes):
            raise ValueError("not current")
        if self._record_bytes is None or not hasattr(self, "rows"):
            self._record_bytes = record_bytes
            if not parquet.schema_arrow.equals(self._kind.schema):
                raise ValueError("other columns")
        elif parquet.metadata.num_rows != self.rows:
            raise ValueError("another table")
        return parquet

    def read(self, names: Sequence[str]) -> pa.Table:
        """The columns `names` of the file, which `run` is not."""
        with self._open() as parquet:
            return parquet.read(columns=list(names), use_threads=self.rows > _SMALL)

    def ranges(self) -> list[tuple[Any, Any] | None]:
        """Least and largest value of each column of the file as its end has them; None where it has none."""
        if self._ranges is None:
            with self._open() as parquet:
                groups = [parquet.metadata.row_group(i) for i in range(parquet.metadata.num_row_groups)]
                self._ranges = [_range_of([group.column(i) for group in groups]) for i in range(len(self._kind.schema))]
        return self._ranges


class _TablePart:
    """The rows of a run, or of several, as a table in memory."""

    def __init__(self, table: pa.Table, columns: pa.Schema, folder: Path | None = None) -> None:
        self.folder = folder
        self.rows = table.num_rows
        absent = [field for field in columns if field.name not in table.schema.names]
        for field in absent:
            table = table.append_column(field, pa.nulls(self.rows, field.type))
        self.table = table

    def read(self, names: Sequence[str]) -> pa.Table:
        """The columns `names`."""
        return self.table.select(list(names))

    def ranges(self) -> list[tuple[Any, Any] | None]:
        """None for each column: nobody has looked for them."""
        return [None] * len(TRIALS_SCHEMA)


class _CompactPart:
    """The trials of many runs in one file, without those that have changed since it was written."""

    def __init__(self, path: Path, mark: bytes, starts: np.ndarray[Any, Any], places: np.ndarray[Any, Any]) -> None:
        self.folder = None
        self.rows = len(places)
        self._path, self._mark, self._places = path, mark, places
        self._whole = bool(len(starts)) and int(starts[-1]) == len(places)

    def read(self, names: Sequence[str]) -> pa.Table:
        """The columns `names`.

        Raises:
            ValueError: the file has been replaced.
        """
        with open_compacted(self._path) as parquet:
            if parquet.metadata.metadata[STAMPS_KEY] != self._mark:
                raise ValueError("another table")
            table = parquet.read(columns=list(names), use_threads=self.rows > _SMALL)
        return table if self._whole else table.take(whole_numbers(self._places))

    def ranges(self) -> list[tuple[Any, Any] | None]:
        """None for each column: a look at the values is as quick in one file."""
        return [None] * len(TRIALS_SCHEMA)


_AnyPart = _Part | _TablePart | _CompactPart
Again = Callable[[], list[Any]]


class TrialsOfRuns:
    """The trials of runs, or their epochs, one run after the other; columns are read when asked for, and kept."""

    def __init__(
        self, parts: list[_AnyPart], notes: Sequence[str] = (), kind: _Kind = _TRIALS, again: Again = list
    ) -> None:
        self._parts, self._kind = parts, kind
        self.schema = kind.columns
        """The columns that there are."""
        self._again = again
        self._columns: dict[str, pa.ChunkedArray] = {}
        self.notes = list(notes)
        """A sentence for each damaged or foreign file."""

    @classmethod
    def of(cls, table: pa.Table) -> Self:
        """The trials of a table with the columns of `COLUMNS`; those that it lacks are null."""
        return cls([_TablePart(table, COLUMNS)])

    @property
    def num_rows(self) -> int:
        """The number of trials."""
        return sum(part.rows for part in self._parts)

    def columns(self, names: Sequence[str]) -> pa.Table:
        """The columns `names` of all trials; those of the run, such as `dataset`, are dictionary arrays.

        Raises:
            RowsChangedError: a file has changed since the first read, or is damaged; ask for all columns anew.
            ResultsError: no run is left that can be read.
        """
        missing = [name for name in names if name not in self._columns]
        if missing:
            read = [_with_facts(part, self._read(part, missing), missing) for part in self._parts]
            table = pa.concat_tables(read).unify_dictionaries()
            self._columns |= {name: table[name] for name in missing}
        return pa.table({name: self._columns[name] for name in names})

    def rows(self, places: np.ndarray[Any, Any], names: Sequence[str]) -> pa.Table:
        """The columns `names`, with the types of `COLUMNS`, of the trials at `places`, in that order."""
        schema = pa.schema([COLUMNS.field(name) for name in names])
        order = np.argsort(places, kind="stable")
        tables = [pa.table([pa.nulls(0, field.type) for field in schema], schema=schema)]
        for part, inside in self._split(places[order]):
            table = _with_facts(part, self._read(part, names), names)
            chosen = table if len(inside) == part.rows else table.take(whole_numbers(inside))
            tables.append(chosen.cast(schema))
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        return pa.concat_tables(tables).take(whole_numbers(back))

    def differ(self, name: str, places: np.ndarray[Any, Any] | None = None) -> bool:
        """Whether the column `name` has two values in the trials at `places`, ascending, by default in all."""
        ranges = [] if name in _OF_RUN else [part.ranges()[TRIALS_SCHEMA.get_field_index(name)] for part in self._parts]
        if ranges and None not in ranges and not pa.types.is_list(TRIALS_SCHEMA.field(name).type):
            values = {value for both in ranges for value in both or ()}
            if len(values) < 2 or places is None:
                return len(values) > 1
        found: set[Any] = set()
        every = np.arange(self.num_rows) if places is None else places
        for part, inside in self._split(every):
            column = _with_facts(part, self._read(part, [name]), [name])[name]
            found |= _two_values(column if len(inside) == part.rows else column.take(whole_numbers(inside)))
            if len(found) > 1:
                return True
        return False

    def driver_notes(self) -> list[str]:
        """A sentence for each run whose driver died while trials were running, if it is not in `notes`."""
        running = pc.equal(self.columns(["status"])["status"], arrow_scalar("running", pa.string()))
        folders = [part.folder for part, _ in self._split(numpy_numbers(pc.indices_nonzero(running)))]
        found = [driver_note(folder) for folder in folders if folder is not None]
        return [note for note in found if note is not None and note not in self.notes]

    def _split(self, places: np.ndarray[Any, Any]) -> Iterator[tuple[_AnyPart, np.ndarray[Any, Any]]]:
        """The parts that have some of `places`, which ascend, with the places counted in the part."""
        starts = np.cumsum([0, *(part.rows for part in self._parts)])
        for part, (start, (first, last)) in zip(
            self._parts, zip(starts, pairwise(np.searchsorted(places, starts)), strict=False), strict=True
        ):
            if last > first:
                yield part, places[first:last] - start

    def _read(self, part: _AnyPart, names: Sequence[str]) -> pa.Table:
        stored = [name for name in names if name not in _OF_RUN] if isinstance(part, _Part) else names
        try:
            return part.read(stored)
        except _BROKEN:
            self._columns.clear()
            number = self._parts.index(part)
            if isinstance(part, _Part):
                self._parts[number : number + 1] = _rebuilt(part.run, part.folder, self._kind, self.notes)
            else:
                self._parts[number : number + 1] = self._again()
            if not self._parts:
                raise ResultsError("; ".join(self.notes)) from None
            raise RowsChangedError from None


def open_runs(storage: str | Path = "runs", names: Sequence[str | Path] = ()) -> TrialsOfRuns:
    """The trials of all runs below `storage`, or of those named by name or path.

    A run whose table is not current is rebuilt from its record. A damaged run is left out, with a note.

    Raises:
        RunNotFoundError: a named run does not exist, or there is none in `storage`.
        ResultsError: no run is readable.
    """
    return _opened(Path(storage), names, _TRIALS)


def open_epochs(storage: str | Path = "runs", names: Sequence[str | Path] = ()) -> TrialsOfRuns:
    """The epochs of all runs below `storage`, or of those named by name or path, as `open_runs` has their trials.

    Raises:
        RunNotFoundError: a named run does not exist, or there is none in `storage`.
        ResultsError: no run is readable.
    """
    return _opened(Path(storage), names, _EPOCHS)


def _opened(storage: Path, names: Sequence[str | Path], kind: _Kind) -> TrialsOfRuns:
    notes: list[str] = []
    runs = find_runs(storage, names)
    compacted = _compacted(storage, runs) if kind is _TRIALS and not names else None
    part, inside = compacted or (None, {})
    parts: list[_AnyPart] = [] if part is None else [part]
    parts += _separate({run: folder for run, folder in runs.items() if run not in inside}, kind, notes)
    if not parts:
        raise ResultsError("; ".join(notes))
    return TrialsOfRuns(parts, notes, kind, lambda: _separate(inside, kind, notes))


def _separate(runs: Mapping[str, Path], kind: _Kind, notes: list[str]) -> list[_AnyPart]:
    """The rows of runs, each from its own files."""
    parts: list[_AnyPart] = []
    for run, folder in runs.items():
        try:
            parts.append(_Part(run, folder, kind))
        except _BROKEN:
            parts += _rebuilt(run, folder, kind, notes)
    return parts


def _compacted(storage: Path, runs: Mapping[str, Path]) -> tuple[_CompactPart, dict[str, Path]] | None:
    """Those of `runs` whose trials are in the compacted file of the storage and have not changed; None if none are."""
    path = storage / COMPACTED_NAME
    try:
        with open_compacted(path) as parquet:
            mark = parquet.metadata.metadata[STAMPS_KEY]
        stamps = json.loads(mark)
        starts = np.cumsum([0, *(rows for rows, *_ in stamps.values())])
    except _BROKEN:
        return None
    inside, places = {}, []
    for (run, (_, *stamp)), start, end in zip(stamps.items(), starts, starts[1:], strict=False):
        if run in runs and runs[run].name == run and stamp_of(runs[run]) == stamp:
            inside[run] = runs[run]
            places.append(np.arange(start, end))
    return (_CompactPart(path, mark, starts, np.concatenate(places)), inside) if inside else None


def compact(storage: Path) -> tuple[int, int]:
    """Writes the trials of small runs of `storage` that do not run to one file; returns the numbers of both.

    A reader sees the old file or the new one, and takes the trials of a run that has changed since from its own file.

    Raises:
        RunNotFoundError: there is no run.
        OSError: the file cannot be written.
    """
    stamps: dict[str, list[Any]] = {}
    tables = []
    for run, folder in find_runs(storage).items():
        stamp = stamp_of(folder)
        try:
            part = _Part(run, folder, _TRIALS)
            if part.rows > COMPACTED_ROWS or folder.parent != storage:
                continue
            names = [name for name in TRIALS_SCHEMA.names if name != "run"]
            table = _with_facts(part, part.read(names), COLUMNS.names).cast(COLUMNS)
        except _BROKEN:
            continue
        if "running" not in table["status"].to_pylist():
            stamps[run] = [part.rows, *stamp]
            tables.append(table)
    if tables:
        write_compacted(storage, pa.concat_tables(tables), json.dumps(stamps).encode())
    return len(tables), sum(table.num_rows for table in tables)


def _rebuilt(run: str, folder: Path, kind: _Kind, notes: list[str]) -> list[_AnyPart]:
    """The rows of a run whose table is not current; none, with a note, if it cannot be read."""
    try:
        tables: RunTables = read_run(folder, run)
    except (ResultsError, OSError) as error:
        notes.append(error_sentence(error))
        return []
    notes += tables.notes
    return [_TablePart(kind.of(tables, folder), kind.columns, folder)]


def _with_facts(part: _AnyPart, stored: pa.Table, names: Sequence[str]) -> pa.Table:
    """The columns `names`: those of the run as dictionary arrays, the others from `stored`."""
    columns = []
    for name in names:
        if name not in _OF_RUN:
            columns.append(stored[name])
        elif not isinstance(part, _Part):
            columns.append(stored[name].cast(COLUMNS.field(name).type).dictionary_encode())
        else:
            value = arrow_array([part.facts[name]], COLUMNS.field(name).type).dictionary_encode()
            indices = pa.repeat(value.indices[0], part.rows)
            columns.append(pa.DictionaryArray.from_arrays(indices, value.dictionary))
    return pa.table(columns, names=list(names))


def _range_of(chunks: Sequence[Any]) -> tuple[Any, Any] | None:
    found = [chunk.statistics for chunk in chunks]
    if any(statistics is None or not statistics.has_min_max for statistics in found):
        empty = all(s is not None and s.null_count == chunk.num_values for s, chunk in zip(found, chunks, strict=True))
        return () if empty else None  # type: ignore[return-value]
    return min(s.min for s in found), max(s.max for s in found)


def _two_values(column: pa.ChunkedArray) -> set[Any]:
    """Up to two different values of the column that are neither null nor NaN."""
    if pa.types.is_list(column.type):
        first = column[0].as_py() if len(column) else None
        same = column.combine_chunks()
        lengths, flat = pc.list_value_length(same), numpy_numbers(same.flatten())
        if first is None or pc.count_distinct(lengths).as_py() > 1:
            return set(map(str, same.to_pylist()))
        rows = flat.reshape(-1, len(first)) if first else flat.reshape(len(column), 0)
        other = np.flatnonzero((rows != rows[0]).any(axis=1))
        return {tuple(rows[0]), *(tuple(rows[place]) for place in other[:1])}
    values = column.drop_null()
    if pa.types.is_floating(values.type):
        values = values.filter(pc.invert(pc.is_nan(values)))
    return set(values.unique()[:2].to_pylist())
