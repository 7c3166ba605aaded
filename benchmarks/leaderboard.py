"""How long does the leaderboard take over many trials and over many runs, beside bare DuckDB and bare pandas?

Usage: python -m benchmarks.leaderboard [--folder DIR] [--rounds 7] [--trials 1000000] [--epochs 20000000] [--runs 100]
       [--many-runs 10000] [--trials-per-run 12]

Makes two storages in the folder, unless it holds them: few runs with many trials, and many runs with few. Trials have a
recipe in which five fields differ, answers for 1,000 validation images, and records of the length that their tables
name, which hold nothing. Then four processes alternate over each storage, each in a process of its own: an interpreter
that does nothing, the leaderboard, DuckDB and pandas with the same question, the 20 best trials by the ranking rule.
The runs of the second storage are then copied to one file by `results.runs --compact`, and measured again. The time
after start is without that of the interpreter that does nothing. The last line is one JSON object: medians in seconds,
the largest peak of memory in MiB, and the median of the ratios of the leaderboard's processor time to each.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import statistics
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from results.record.record import RECORD_NAME
from results.record.tables import EPOCHS_NAME, EPOCHS_SCHEMA, RECORD_BYTES_KEY, SCHEMA_KEY, TRIALS_NAME, TRIALS_SCHEMA

VAL_IMAGES = 1000
BYTES_PER_EVENT = 350
RUNGS = 3
TOP = 20

DUCKDB = f"""
import sys, duckdb
columns = "run, trial, status, blocks, channels, params, val_accuracy, val_loss, epochs, rung"
print(duckdb.connect().execute(f"select {{columns}} from read_parquet('{{sys.argv[1]}}/*/trials.parquet') "
    "where within_limits and rung >= 1 and status in ('completed', 'stopped', 'running', 'interrupted') "
    "order by val_accuracy desc, val_loss, params, run, trial limit {TOP}").fetchall())
"""
PANDAS = f"""
import sys, pandas
from pathlib import Path
columns = ["run", "trial", "status", "blocks", "channels", "params", "val_accuracy", "val_loss", "epochs", "rung"]
tables = [pandas.read_parquet(path, columns=[*columns, "within_limits"])
          for path in sorted(Path(sys.argv[1]).glob("*/trials.parquet"))]
frame = pandas.concat(tables, ignore_index=True)
ranked = frame["status"].isin(["completed", "stopped", "running", "interrupted"]) & (frame["rung"] >= 1)
order = ["val_accuracy", "val_loss", "params", "run", "trial"]
frame = frame[ranked & frame["within_limits"]].sort_values(order, ascending=[False, True, True, True, True])
print(frame.head({TOP}).to_string())
"""
MEASURE = """
import os, subprocess, sys, time
started = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
print(time.perf_counter() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))
"""
"""A small process starts a command, because the system counts the memory of the one that forks as the command's."""


def commands(storage: Path) -> dict[str, list[str]]:
    """The command lines that are compared, by name."""
    board = ["-m", "results.leaderboard", "--storage", str(storage), "--top", str(TOP)]
    programs = {
        "start": ["-c", "pass"],
        "leaderboard": board,
        "duckdb": ["-c", DUCKDB, str(storage)],
        "pandas": ["-c", PANDAS, str(storage)],
    }
    return {name: [sys.executable, *arguments] for name, arguments in programs.items()}


def make_run(folder: Path, trials: int, epochs: int, draw: np.random.Generator) -> None:
    """Writes the tables of a run with `trials` trials, which have about `epochs` epochs together."""
    folder.mkdir(parents=True)
    per_trial = np.diff(np.linspace(0, epochs, trials + 1).astype(np.int64))
    record_bytes = BYTES_PER_EVENT * (3 * trials + epochs)
    mark = {RECORD_BYTES_KEY: str(record_bytes).encode()}
    accuracy = np.round(draw.beta(40, 4, trials) * VAL_IMAGES) / VAL_IMAGES
    tables = {
        TRIALS_NAME: _trials(folder.name, accuracy, per_trial, draw),
        EPOCHS_NAME: _epochs(folder.name, accuracy, per_trial, draw),
    }
    for name, table in tables.items():
        marked = table.replace_schema_metadata({**table.schema.metadata, **mark})
        pq.write_table(marked, folder / name, write_page_checksum=True)
    with (folder / RECORD_NAME).open("wb") as record:
        record.truncate(record_bytes)
    stored = {
        "config": {"dataset": "cifar10", "split_seed": 0, "validation_share": 0.1, "validation_splits": 1},
        "data": {"sha256": "0" * 64, "train_images": 9 * VAL_IMAGES},
        "validation": {"images": VAL_IMAGES, "own": False},
    }
    (folder / "run.json").write_text(json.dumps(stored, indent=2))


def _trials(run: str, accuracy: np.ndarray[Any, Any], epochs: np.ndarray[Any, Any], draw: np.random.Generator) -> Any:
    size = len(accuracy)
    status = np.where(draw.random(size) < 0.02, "failed", np.where(draw.random(size) < 0.7, "stopped", "completed"))
    ranked = status != "failed"
    blocks, channels = draw.integers(1, 9, (size, 3)), 8 * draw.integers(1, 17, (size, 3))
    ids = ["{}-{}-{}x{}-{}-{}".format(*row) for row in np.hstack([blocks, channels]).tolist()]
    params = (blocks * channels**2).sum(axis=1) * 18
    values: dict[str, Any] = {
        **{"run": [run] * size, "trial": np.arange(size), "status": status, "layout_id": ids},
        **{"blocks": _lists(blocks), "channels": _lists(channels)},
        **{"strides": _lists(np.tile([1, 2, 2], (size, 1))), "kernels": _lists(np.full((size, 3), 3))},
        **{"stem_channels": channels[:, 0], "skip_kernel": 1, "conv_bias": False, "in_channels": 3, "classes": 10},
        **{"block": "basic", "groups": 1, "squeeze": 0, "activation": "relu"},
        **{"params": params, "flops": params * 300, "depth": 2 + 2 * blocks.sum(axis=1)},
        "recipe_optimizer": np.where(draw.random(size) < 0.5, "nesterov", "adamw"),
        "recipe_learning_rate": 10 ** draw.uniform(-3, 0, size),
        "recipe_weight_decay": 10 ** draw.uniform(-5, -2, size),
        "recipe_batch_size": 2 ** draw.integers(5, 10, size),
        "recipe_label_smoothing": np.round(draw.uniform(0, 0.2, size), 3),
        **{"recipe_schedule": "rung-annealed", "recipe_precision": "auto", "recipe_epochs": int(epochs.max())},
        **{"recipe_momentum": 0.9, "recipe_flip": True, "recipe_crop_padding": 4},
        **{"seed": np.arange(size), "epochs": epochs},
        "rung": np.where(ranked, np.where(status == "completed", RUNGS, 1), 0),
        "rung_epoch": pa.array(epochs, mask=~ranked),
        "val_accuracy": pa.array(accuracy, mask=~ranked),
        "val_loss": pa.array(1 - accuracy + draw.random(size) / 10, mask=~ranked),
        **{"train_time_s": draw.random(size) * 600, "eval_time_s": draw.random(size) * 10},
        **{"started_s": 1.8e9 + np.arange(size), "ended_s": 1.8e9 + np.arange(size) + 600},
        **{"confirmed": False, "retries": 0, "within_limits": True},
        "error": [None if there else "ValueError: no" for there in ranked],
        "answers": [_answers(share, draw) if there else None for share, there in zip(accuracy, ranked, strict=True)],
    }
    return _table(values, TRIALS_SCHEMA, size)


def _epochs(run: str, accuracy: np.ndarray[Any, Any], epochs: np.ndarray[Any, Any], draw: np.random.Generator) -> Any:
    size = int(epochs.sum())
    trial = np.repeat(np.arange(len(epochs)), epochs)
    epoch = np.arange(size) - np.repeat(np.cumsum(epochs) - epochs, epochs) + 1
    reached = np.repeat(accuracy, epochs) * (1 - np.exp(-epoch / 4))
    last = epoch == np.repeat(epochs, epochs)
    values: dict[str, Any] = {
        **{"run": pa.repeat(pa.scalar(run), size), "trial": trial, "epoch": epoch},
        "rung": pa.array(last * 1, mask=~last),
        **{"val_accuracy": reached, "val_loss": 1 - reached, "train_accuracy": reached, "train_loss": 1 - reached},
        **{"learning_rate": 0.1 / epoch, "train_time_s": draw.random(size), "eval_time_s": draw.random(size) / 9},
        **{"session": pa.repeat(pa.scalar(1), size), "time_s": 1.8e9 + np.arange(size)},
    }
    return _table(values, EPOCHS_SCHEMA, size)


def _table(values: dict[str, Any], schema: pa.Schema, size: int) -> pa.Table:
    """The table with the columns of `schema`; a column without values is null, one value is that of every row."""
    columns = []
    for field in schema:
        value = values.get(field.name)
        if value is None or isinstance(value, bool | int | float | str):
            columns.append(pa.repeat(pa.scalar(value, field.type), size))
        elif isinstance(value, pa.Array):
            columns.append(value.cast(field.type))
        else:
            columns.append(pa.array(value, field.type))
    return pa.table(columns, schema=schema)


def _lists(values: np.ndarray[Any, Any]) -> pa.Array:
    offsets = np.arange(0, values.size + 1, values.shape[1], dtype=np.int32)
    return pa.ListArray.from_arrays(offsets, pa.array(values.ravel(), pa.int64()))


def _answers(accuracy: float, draw: np.random.Generator) -> str:
    correct = np.packbits(draw.random(VAL_IMAGES) < accuracy)
    return base64.b64encode(zlib.compress(correct.tobytes(), 1)).decode()


def make_storage(storage: Path, runs: int, trials: int, epochs: int) -> None:
    """Writes `runs` runs with these trials and epochs in all, unless the storage is there."""
    if storage.exists():
        return
    unfinished = storage.with_name(f"{storage.name}.unfinished")
    for number in range(runs):
        first, last = trials * number // runs, trials * (number + 1) // runs
        first_epoch, last_epoch = epochs * number // runs, epochs * (number + 1) // runs
        draw = np.random.default_rng(number)
        make_run(unfinished / f"run-{number:05}", last - first, last_epoch - first_epoch, draw)
    unfinished.rename(storage)


def measured(command: Sequence[str]) -> tuple[float, float, float]:
    """The seconds that a command takes, its processor seconds, and its peak of memory in MiB."""
    line = [sys.executable, "-c", MEASURE, *command]
    environment = os.environ | {"COLUMNS": "160"}
    outcome = subprocess.run(line, capture_output=True, text=True, env=environment, check=False)
    if outcome.returncode:
        raise RuntimeError(outcome.stderr)
    seconds, processor_s, kib = outcome.stdout.split()
    return float(seconds), float(processor_s), int(kib) / 1024


def compared(storage: Path, rounds: int) -> dict[str, dict[str, float]]:
    """The medians of each command over the storage, measured in alternation, by its name."""
    lines = commands(storage)
    figures: dict[str, list[tuple[float, float, float]]] = {name: [] for name in lines}
    for _ in range(rounds):
        for name, line in lines.items():
            figures[name].append(measured(line))
    start_s = statistics.median(seconds for seconds, *_ in figures["start"])
    board = [processor_s for _, processor_s, _ in figures["leaderboard"]]
    found = {}
    for name, rounds_of_it in figures.items():
        whole = statistics.median(seconds for seconds, *_ in rounds_of_it)
        ratios = [mine / max(other, 0.01) for mine, (_, other, _) in zip(board, rounds_of_it, strict=True)]
        found[name] = {
            "whole_s": round(whole, 3),
            "after_start_s": round(whole - start_s, 3),
            "fastest_s": round(min(seconds for seconds, *_ in rounds_of_it), 3),
            "processor_s": round(statistics.median(processor_s for _, processor_s, _ in rounds_of_it), 3),
            "peak_mib": round(max(peak for *_, peak in rounds_of_it), 1),
            "leaderboard_takes_times": round(statistics.median(ratios), 2),
        }
    return found


def main() -> dict[str, Any]:
    """Makes the data, measures and returns the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "leaderboard-data")
    sizes = {"rounds": 7, "runs": 100, "trials": 1_000_000, "epochs": 20_000_000}
    for name, default in (sizes | {"many_runs": 10_000, "trials_per_run": 12}).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=default)
    given = parser.parse_args()
    trials = given.many_runs * given.trials_per_run
    storages = {
        "many trials": (given.runs, given.trials, given.epochs),
        "many runs": (given.many_runs, trials, 20 * trials),
    }
    found: dict[str, Any] = {}
    for name, sizes_of_storage in storages.items():
        version = TRIALS_SCHEMA.metadata[SCHEMA_KEY].decode()
        storage = given.folder / "-".join([version, *map(str, sizes_of_storage)])
        make_storage(storage, *sizes_of_storage)
        found[name] = dict(zip(("runs", "trials", "epochs"), sizes_of_storage, strict=True))
        found[name] |= compared(storage, given.rounds)
    measured([sys.executable, "-m", "results.runs", "--storage", str(storage), "--compact"])
    found["many runs, compacted"] = compared(storage, given.rounds)
    return found


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main()) + "\n")
