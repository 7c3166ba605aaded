"""The file of a storage that has the trials of many small runs, so that a reader need not open them all.

It is a copy, valid run by run while the files of the run have the sizes and times that it names; anyone may delete it.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from results.record.folders import RUN_FILE
from results.record.record import RECORD_NAME
from results.record.tables import SCHEMA_KEY, TRIALS_NAME, TRIALS_SCHEMA

COMPACTED_NAME: Final = ".trials-of-runs.parquet"
COMPACTED_ROWS: Final = 1000
"""Trials up to which a run is compacted: opening its file takes longer than reading them."""
STAMPS_KEY: Final = b"parambudget.stamps"
"""The metadata that holds, for each run in the order of the rows, the number of its rows and its stamp, as JSON."""


def stamp_of(folder: Path) -> list[int]:
    """Sizes and times of change of the files of a run that decide about its trials; -1 for one that is missing."""
    stamp = []
    for name in (RECORD_NAME, TRIALS_NAME, RUN_FILE):
        try:
            status = os.stat(os.path.join(folder, name))
        except OSError:
            stamp += [-1, -1]
        else:
            stamp += [status.st_size, status.st_mtime_ns]
    return stamp


def open_compacted(path: Path) -> pq.ParquetFile:
    """The file at `path`, if this version wrote it.

    Raises:
        OSError: there is none.
        ValueError: another version wrote it.
    """
    parquet = pq.ParquetFile(pa.OSFile(str(path)), page_checksum_verification=True)
    if (parquet.metadata.metadata or {}).get(SCHEMA_KEY) != TRIALS_SCHEMA.metadata[SCHEMA_KEY]:
        raise ValueError("another version")
    return parquet


def write_compacted(storage: Path, table: pa.Table, stamps: bytes) -> None:
    """Replaces the file of the storage, whole or not at all; several writers do not disturb each other."""
    marked = table.replace_schema_metadata({**TRIALS_SCHEMA.metadata, STAMPS_KEY: stamps})
    handle, temporary = tempfile.mkstemp(prefix=f"{COMPACTED_NAME}.", dir=storage)
    try:
        with os.fdopen(handle, "wb") as file:
            pq.write_table(marked, file, write_page_checksum=True)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, storage / COMPACTED_NAME)
    except BaseException:
        os.unlink(temporary)
        raise
