"""Learning curves as a CSV file, with one row per epoch of the trials on a leaderboard."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
from pyarrow import csv

from results.errors import ResultsError
from results.record.files import replace_file
from results.record.folders import find_runs
from results.record.reading import read_run
from results.record.tables import EPOCHS_SCHEMA

if TYPE_CHECKING:
    from results.ranking.board import Board


def write_curves(storage: Path, runs: Sequence[str | Path], board: Board, output: Path) -> None:
    """Writes the epochs of the trials of `board` to the CSV file `output`, with the columns of `EPOCHS_SCHEMA`.

    `storage` and `runs` are those from which the board was read; a null is an empty cell. For a board over seeds, the
    file has the epochs of all trainings.

    Raises:
        RunNotFoundError: a run no longer exists.
        ResultsError: the file cannot be written.
    """
    trials = board.column("trials") if board.over_seeds else [[trial] for trial in board.column("trial")]
    wanted = {(run, trial) for run, some in zip(board.column("run"), trials, strict=True) for trial in some}
    tables = []
    for run, folder in find_runs(storage, runs).items():
        if run in {name for name, _ in wanted}:
            epochs = read_run(folder, run).epochs
            mask = [(run, trial) in wanted for trial in epochs["trial"].to_pylist()]
            tables.append(epochs.filter(pa.array(mask, pa.bool_())))
    buffer = io.BytesIO()
    csv.write_csv(pa.concat_tables(tables) if tables else EPOCHS_SCHEMA.empty_table(), buffer)
    try:
        replace_file(output, buffer.getvalue())
    except OSError as error:
        raise ResultsError(f"{output}: {error.strerror or error}; name another --curves") from None
