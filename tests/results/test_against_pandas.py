"""The leaderboard of many runs equals what pandas makes of the same files, whatever is filtered, sorted and cut."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from results.ranking.board import Board
from results.ranking.query import make_board, rank_trials
from results.record.tables import RECORD_BYTES_KEY, TRIALS_SCHEMA
from results.record.trials_of_runs import open_runs

STATUSES = ["completed", "stopped", "running", "interrupted", "failed", "suggested"]
SETS = {"a": "digits", "b": "cifar10", "c": "digits", "d": None}
WHERE = {
    "params > 200": lambda frame: frame["params"] > 200,
    "val > 0.5 and status <> 'stopped'": lambda frame: (frame["val_accuracy"] > 0.5) & (frame["status"] != "stopped"),
    "recipe_optimizer = 'adam' or blocks[1] = 2": lambda frame: (
        (frame["recipe_optimizer"] == "adam") | frame["blocks"].map(lambda blocks: blocks[0] == 2)
    ),
}


def write_random_run(folder: Path, dataset: str | None, trials: int, draw: np.random.Generator) -> None:
    """A run of tables without a record, with few distinct values, so that ties are common."""
    folder.mkdir(parents=True)
    rows = []
    for trial in range(trials):
        status = str(draw.choice(STATUSES))
        rung = int(draw.integers(0, 3)) if status != "suggested" else 0
        measured = {
            "rung_epoch": 3**rung,
            "val_accuracy": float(draw.choice([0.25, 0.5, 0.75, math.nan])),
            "val_loss": float(draw.choice([0.5, 1.0, math.inf, math.nan])),
        }
        rows.append(
            {
                **{"run": "another name", "trial": trial, "status": status, "rung": rung, "seed": 7},
                **{"layout_id": "x", "blocks": [int(draw.integers(1, 3)), 1], "channels": [8, 8]},
                **{"params": int(draw.choice([100, 200, 300])), "within_limits": bool(draw.random() < 0.9)},
                **{"recipe_optimizer": str(draw.choice(["adam", "sgd"])), "recipe_schedule": "cosine"},
                **{"recipe_learning_rate": float(draw.choice([0.1, 0.2])), "recipe_momentum": 0.9},
                **(measured if rung else {}),
            }
        )
    metadata = {**TRIALS_SCHEMA.metadata, RECORD_BYTES_KEY: b"0"}
    table = pa.Table.from_pylist(rows, TRIALS_SCHEMA).replace_schema_metadata(metadata)
    pq.write_table(table, folder / "trials.parquet", row_group_size=7)
    if dataset:
        data = {"sha256": dataset[0] * 64}
        stored = {"config": {"dataset": dataset, "split_seed": 0}, "data": data, "validation": {"images": 20}}
        (folder / "run.json").write_text(json.dumps(stored))


@pytest.fixture(scope="module", params=[0, 1])
def storage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("runs")
    draw = np.random.default_rng(request.param)
    for name, dataset in SETS.items():
        write_random_run(folder / name, dataset, int(draw.integers(0, 40)), draw)
    return folder


def by_pandas(storage: Path, mask: Any, everything: bool, only_completed: bool) -> pd.DataFrame:
    """The board's order and ranks by pandas, in columns that begin with an underscore where the board has none."""
    frames = [pd.read_parquet(storage / name / "trials.parquet").assign(run=name) for name in SETS]
    frame = pd.concat(frames, ignore_index=True)
    frame["_set"] = frame["run"].map(lambda name: SETS[name] or "")
    frame = frame[mask(frame).fillna(False)] if mask else frame
    frame = frame[frame["status"] == "completed"] if only_completed else frame
    frame = frame if everything else frame[frame["within_limits"]]
    ranked = (
        frame["status"].isin(["completed", "stopped", "running", "interrupted"])
        & (frame["rung"] >= 1)
        & frame["within_limits"]
    )
    order = ["_set", "val_accuracy", "val_loss", "params", "run", "trial"]
    first = frame[ranked].sort_values(order, ascending=[True, False, True, True, True, True], na_position="last")
    first["_rank"] = first.groupby("_set").cumcount() + 1
    return pd.concat([first, frame[~ranked].sort_values(["run", "trial"]).assign(_rank=0)], ignore_index=True)


def keys(frame: pd.DataFrame, rank: str) -> list[Any]:
    return list(zip(frame["run"], frame["trial"], frame[rank].fillna(0).astype(int), strict=True))


@pytest.mark.parametrize("where", [None, *WHERE])
@pytest.mark.parametrize("flags", [{}, {"all_trials": True}, {"full_fidelity": True}])
@pytest.mark.parametrize("top", [None, 2])
def test_order_and_ranks_are_those_of_pandas(
    storage: Path, where: str | None, flags: dict[str, bool], top: int | None
) -> None:
    mask = WHERE[where] if where else None
    expected = by_pandas(storage, mask, flags.get("all_trials", False), flags.get("full_fidelity", False))
    if top is not None:
        expected = expected[expected.groupby("_set").cumcount() < top]
    assert keys(rank_trials(storage, where=where, top=top, **flags), "rank") == keys(expected, "_rank")


@pytest.mark.parametrize("column", ["params", "val_loss", "recipe_optimizer", "blocks", "run", "rank", "tied"])
@pytest.mark.parametrize("down", [False, True])
def test_a_sorted_board_is_pandas_stable_sort(storage: Path, column: str, down: bool) -> None:
    whole = rank_trials(storage)
    key = whole[column].map(tuple) if column == "blocks" else whole[column]
    order = key.sort_values(ascending=not down, na_position="last", kind="stable").index
    expected = whole.loc[order]
    sort = f"-{column}" if down else column
    assert keys(rank_trials(storage, sort=sort), "rank") == keys(expected, "rank")
    expected = expected.assign(dataset=expected["dataset"].fillna(""))
    first = expected[expected.groupby("dataset").cumcount() < 3]
    cut = rank_trials(storage, sort=sort, top=3)
    assert keys(cut, "rank") == keys(first, "rank")
    assert cut["tied"].fillna(False).tolist() == first["tied"].fillna(False).tolist()


@pytest.mark.parametrize("where", [None, "run = 'a'", "recipe_optimizer = 'sgd'", "trial = 0", "false"])
def test_a_part_of_a_board_knows_what_differs_in_all_of_it(storage: Path, where: str | None) -> None:
    trials = open_runs(storage)
    whole = make_board(trials, where=where)
    part = make_board(trials, where=where, top=1, columns=["rank", "trial"])
    by_values = Board.of(whole.table)
    assert (part.total, part.differing) == (whole.total, whole.differing) == (by_values.total, by_values.differing)
    assert set(part.table.schema.names) == {"rank", "trial", "run", "dataset", "data", *part.differing}
