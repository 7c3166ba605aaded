"""A storage whose small runs are copied to one file shows the same rows, also when runs change after that."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from results import rank_trials, read_record, write_tables
from results.console import run_app
from results.record.compacted_file import COMPACTED_NAME
from results.record.record import Record
from results.record.tables import SCHEMA_KEY, TRIALS_SCHEMA
from results.record.trials_of_runs import TrialsOfRuns, compact, open_runs
from results.runs import app
from tests.results.test_tables import write_whole
from tests.support.results_fixtures import run_trial, start_session


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    for name in ("alpha", "beta", "gamma"):
        write_whole(tmp_path / name)
    return tmp_path


def rows(storage: Path) -> list[Any]:
    return rank_trials(storage).astype(object).where(lambda frame: frame.notna(), None).values.tolist()


def from_one_file(trials: TrialsOfRuns) -> int:
    """The number of trials that are read from the file of the storage."""
    return sum(part.rows for part in trials._parts if type(part).__name__ == "_CompactPart")


def test_the_rows_are_those_of_the_runs(storage: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = rows(storage)
    assert run_app(app, ["--storage", str(storage), "--compact"]) == 0
    assert capsys.readouterr().out == f"18 trials of 3 small runs copied to one file in {storage}\n"
    assert from_one_file(open_runs(storage)) == 18
    assert from_one_file(open_runs(storage, ["alpha"])) == 0
    assert rows(storage) == before
    assert sorted(path.name for path in storage.iterdir()) == [COMPACTED_NAME, "alpha", "beta", "gamma"]


def test_a_run_that_changes_is_read_from_its_own_files(storage: Path) -> None:
    assert compact(storage) == (3, 18)
    with Record(storage / "beta") as record:
        start_session(record, 2)
        run_trial(record, 6, {2: 0.95})
    shutil.rmtree(storage / "gamma")
    write_whole(storage / "delta")
    assert from_one_file(open_runs(storage)) == 6
    shown = rows(storage)
    (storage / COMPACTED_NAME).unlink()
    assert shown == rows(storage)
    assert len(shown) == 6 + 7 + 6


def test_a_running_run_and_one_with_stale_tables_are_left_out(storage: Path) -> None:
    with Record(storage / "beta") as record:
        start_session(record, 2)
        run_trial(record, 6, {2: 0.95}, status=None)
        write_tables(record.folder, read_record(record.folder), record.size)
    (storage / "gamma" / "trials.parquet").unlink()
    assert compact(storage) == (1, 6)


@pytest.mark.parametrize("damage", ["half", "text", "one byte", "older version"])
def test_a_damaged_file_is_as_good_as_none(storage: Path, damage: str) -> None:
    before = rows(storage)
    compact(storage)
    path = storage / COMPACTED_NAME
    content = path.read_bytes()
    if damage == "half":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "text":
        path.write_text("PAR1 but not really PAR1")
    elif damage == "one byte":
        path.write_bytes(content[:3000] + bytes([content[3000] ^ 255]) + content[3001:])
    else:
        path.write_bytes(content.replace(TRIALS_SCHEMA.metadata[SCHEMA_KEY], b"trials-v0"))
    assert rows(storage) == before
