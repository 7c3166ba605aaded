"""The list of runs: state, budget, trials by status, best trial, time and size, as the record has them."""

from __future__ import annotations

import csv
import io
import json
import os
import socket
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from results import rank_trials, read_run
from results.console import run_app
from results.ranking.intervals import wilson_interval
from results.ranking.run_list import SCHEMA
from results.record.record import Record
from results.runs import app
from tests.support.results_fixtures import run_trial, start_session, write_run

DEAD = 2**22 + 1
"""A process number that Linux gives to no process."""


def with_configuration(folder: Path, dataset: str, images: int) -> None:
    config = {"dataset": dataset, "split_seed": 0, "space": {"max_params": 50_000}, "trials": 8, "max_epochs": 4}
    data = {"sha256": dataset[0] * 64, "train_images": 90}
    (folder / "run.json").write_text(json.dumps({"config": config, "data": data, "validation": {"images": images}}))


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    write_run(tmp_path / "ended")
    with_configuration(tmp_path / "ended", "digits", 100)
    for name in ("living", "killed", "stopped"):
        with Record(tmp_path / name) as record:
            start_session(record)
            run_trial(record, 0, {2: 0.6}, status=None)
            if name == "stopped":
                record.append("session-ended", session=1, reason="interrupted", wall_time_s=7.5)
    holder = {"pid": os.getpid(), "host": socket.gethostname()}
    (tmp_path / "living" / "lock").write_text(json.dumps(holder))
    (tmp_path / "killed" / "lock").write_text(json.dumps(holder | {"pid": DEAD}))
    return tmp_path


def listed(storage: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[list[dict[str, Any]], str]:
    assert run_app(app, ["--storage", str(storage), "--json", *arguments]) == 0
    output = capsys.readouterr()
    return json.loads(output.out), output.err


def test_a_row_has_what_the_record_and_the_tables_have(storage: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ((row,), errors) = listed(storage, capsys, "ended")
    assert errors == ""
    trials = read_run(storage / "ended").trials.to_pylist()
    assert list(row) == SCHEMA.names
    assert (row["max_params"], row["trials_requested"], row["max_epochs"]) == (50_000, 8, 4)
    counts = Counter(trial["status"].replace("-", "_") for trial in trials)
    assert {name: row[name] for name in counts} == counts
    assert row["trials"] == len(trials) == 6
    best = rank_trials(storage, ["ended"]).iloc[0]
    assert (row["best_trial"], row["best_params"], row["best_val_accuracy"]) == (
        best["trial"],
        best["params"],
        best["val_accuracy"],
    )
    assert (row["best_val_accuracy_low"], row["best_val_accuracy_high"]) == wilson_interval(0.9, 100)
    assert row["epochs"] == sum(trial["epochs"] for trial in trials)
    assert row["train_time_s"] == sum(trial["train_time_s"] for trial in trials)
    assert (row["state"], row["wall_time_s"], row["dataset"]) == ("done", 12.5, "digits")
    files = [path for path in (storage / "ended").rglob("*") if path.is_file()]
    assert row["bytes"] == sum(path.stat().st_blocks * 512 for path in files)


def test_a_run_is_alive_while_its_driver_lives(storage: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows, errors = listed(storage, capsys)
    assert {row["run"]: row["state"] for row in rows} == {
        **{"ended": "done", "killed": "interrupted", "living": "alive", "stopped": "interrupted"}
    }
    assert errors.count("\n") == 1
    assert "its driver" in errors
    (storage / "stopped" / "record.jsonl").unlink()
    write_run(storage / "tables only")
    assert listed(storage, capsys, "living")[0][0]["wall_time_s"] >= 0


def test_the_table_is_for_people(
    storage: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert run_app(app, ["--storage", str(storage)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == [
        *("run", "state", "data", "set", "budget", "best", "trial", "trials", "epochs", "training", "wall", "started"),
        "size",
    ]
    ended = next(line for line in lines if line.startswith("ended"))
    assert "90.00% [82.6, 94.5]" in ended
    assert "2 completed, 1 stopped, 1 diverged, 1 failed, 1 suggested" in ended
    assert run_app(app, ["--storage", str(storage), "--format", "csv"]) == 0
    assert len(list(csv.DictReader(io.StringIO(capsys.readouterr().out)))) == 4
    assert run_app(app, ["--storage", str(storage), "--json", "--format", "csv"]) == 2
    assert "--json and --format csv given; use one of them" in capsys.readouterr().err
