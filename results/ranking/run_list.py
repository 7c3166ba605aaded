"""The runs of a storage: what each was asked for, what became of it, its best trial, its time and its size."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from results.ranking.board import Board
from results.ranking.intervals import interval_text, wilson_interval
from results.ranking.query import RANKED, RULE
from results.ranking.sealed import sealed_connection
from results.record.arrow_arrays import arrow_array, without_nan
from results.record.events import TRIAL_ENDS
from results.record.folders import RUN_FILE, find_runs
from results.record.lock import dead_holder
from results.record.record import RECORD_NAME
from results.record.trial_state import OPEN_STATUSES
from results.record.trials_of_runs import RowsChangedError, TrialsOfRuns, open_runs

Row = dict[str, Any]

_STATUSES: Final = (*TRIAL_ENDS, *OPEN_STATUSES)
_READ: Final = (
    *("run", "trial", "status", "rung", "params", "val_accuracy", "val_loss", "val_images", "within_limits"),
    *("epochs", "train_time_s", "eval_time_s", "dataset"),
)
_SESSIONS: Final = re.compile(rb'^\{"event":"session(?:-ended)?",.*\}$', re.MULTILINE)
_FINISHED: Final = ("done", "exhausted")
SCHEMA: Final = pa.schema(
    [("run", pa.string()), ("state", pa.string()), ("dataset", pa.string())]
    + [(name, pa.int64()) for name in ("max_params", "trials_requested", "max_epochs", "trials")]
    + [(status.replace("-", "_"), pa.int64()) for status in _STATUSES]
    + [("best_trial", pa.int64()), ("best_params", pa.int64())]
    + [(f"best_val_accuracy{end}", pa.float64()) for end in ("", "_low", "_high")]
    + [("epochs", pa.int64())]
    + [(name, pa.float64()) for name in ("train_time_s", "eval_time_s", "wall_time_s", "started_s")]
    + [("bytes", pa.int64())]
)
"""The columns of the list of runs."""


def list_runs(storage: Path, names: Sequence[str], *, people: bool) -> tuple[Board, list[str]]:
    """A row for each run, with notes on damaged files; for `people` in short columns of text.

    Raises:
        RunNotFoundError: a named run does not exist, or there is none in `storage`.
        ResultsError: no run is readable.
    """
    trials = open_runs(storage, names)
    while True:
        try:
            found = _of_trials(trials)
            break
        except RowsChangedError:
            continue
    rows = [_row(run, folder, found.get(run, {})) for run, folder in find_runs(storage, names).items()]
    if people:
        shown = [_text(row) for row in rows]
        kinds = {name: pa.int64() if name == "epochs" else pa.string() for name in shown[0]}
        table = pa.table({name: arrow_array([row[name] for row in shown], kind) for name, kind in kinds.items()})
    else:
        arrays = [arrow_array([row.get(field.name) for row in rows], field.type) for field in SCHEMA]
        table = pa.table(arrays, schema=SCHEMA)
    board = Board(table, table.num_rows, frozenset(), chosen=tuple(table.schema.names), ranked=False)
    return board, [*trials.notes, *trials.driver_notes()]


def _of_trials(trials: TrialsOfRuns) -> dict[str, Row]:
    """What the trials tell of each run."""
    with sealed_connection() as connection:
        table = trials.columns(_READ)
        connection.register("trials", pa.table([without_nan(it) for it in table.columns], schema=table.schema))
        counts = ", ".join(f"count(*) filter (status = '{it}') as \"{it.replace('-', '_')}\"" for it in _STATUSES)
        sums = ", ".join(f"cast(sum({it}) as double) as {it}" for it in ("train_time_s", "eval_time_s"))
        found = connection.sql(
            f"""select run, any_value(dataset) as dataset, count(*) as trials, {counts},
                cast(sum(epochs) as bigint) as epochs, {sums} from trials group by run"""
        ).to_arrow_table()
        best = connection.sql(
            f"""select run, trial as best_trial, params as best_params, val_accuracy as best_val_accuracy, val_images
            from (
                select *, val_accuracy as accuracy, val_loss as loss, true as ranked from trials
                where coalesce(within_limits, true) and {RANKED}
            ) qualify row_number() over (partition by run order by {RULE}) = 1"""
        ).to_arrow_table()
    rows = {row["run"]: row for row in found.to_pylist()}
    for row in best.to_pylist():
        rows[row["run"]] |= row
    return rows


def _row(run: str, folder: Path, of_trials: Row) -> Row:
    row = {"trials": 0, **dict.fromkeys((it.replace("-", "_") for it in _STATUSES), 0), "epochs": 0, **of_trials}
    row |= {"run": run, "bytes": _bytes(folder), **_requested(folder), **_sessions(folder)}
    accuracy, images = row.get("best_val_accuracy"), row.get("val_images")
    if accuracy is not None and images:
        row["best_val_accuracy_low"], row["best_val_accuracy_high"] = wilson_interval(accuracy, images)
    return row


def _requested(folder: Path) -> Row:
    """The limits of the run according to its configuration; nothing if that is lost."""
    try:
        config = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))["config"]
        numbers = {
            "max_params": config["space"]["max_params"],
            "trials_requested": config["trials"],
            "max_epochs": config["max_epochs"],
        }
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return {name: value for name, value in numbers.items() if isinstance(value, int)}


def _sessions(folder: Path) -> Row:
    """Start, time and state of the run by the sessions in its record; nothing if there is none."""
    try:
        content = (folder / RECORD_NAME).read_bytes()
        events = [json.loads(line) for line in _SESSIONS.findall(content)]
    except (OSError, ValueError):
        return {}
    starts = {event["session"]: event["time_s"] for event in events if event["event"] == "session"}
    ends = {event["session"]: event for event in events if event["event"] == "session-ended"}
    if not starts:
        return {}
    last = max(starts)
    wall_s = sum(event["wall_time_s"] for event in ends.values())
    if last in ends:
        state = "done" if ends[last]["reason"] in _FINISHED else "interrupted"
    else:
        state = "alive" if (folder / "lock").exists() and dead_holder(folder) is None else "interrupted"
        wall_s += max(0.0, os.stat(folder / RECORD_NAME).st_mtime - starts[last])
    return {"started_s": min(starts.values()), "wall_time_s": wall_s, "state": state}


def _bytes(folder: Path) -> int:
    """The bytes that the files of the run take on the disk."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(place, name)).st_blocks * 512
            except OSError:  # a checkpoint that is replaced meanwhile
                continue
    return total


def _text(row: Row) -> Row:
    counts = [f"{row[it.replace('-', '_')]} {it}" for it in _STATUSES if row[it.replace("-", "_")]]
    accuracy, started = row.get("best_val_accuracy"), row.get("started_s")
    return {
        "run": row["run"],
        "state": row.get("state", "unknown"),
        "data set": Path(row.get("dataset") or "").name,
        "budget": f"{row['max_params']:,}" if "max_params" in row else "",
        "best": "" if accuracy is None else interval_text(accuracy, row.get("val_images")),
        "trial": "" if row.get("best_trial") is None else str(row["best_trial"]),
        "trials": ", ".join(counts),
        "epochs": row["epochs"],
        "training": _hours(row.get("train_time_s")),
        "wall": _hours(row.get("wall_time_s")),
        "started": "" if started is None else datetime.fromtimestamp(started).strftime("%Y-%m-%d %H:%M"),
        "size": f"{row['bytes'] / 2**20:,.1f} MiB",
    }


def _hours(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes = round(seconds / 60)
    return f"{seconds:.0f} s" if seconds < 60 else f"{minutes} min" if minutes < 60 else f"{minutes / 60:,.1f} h"
