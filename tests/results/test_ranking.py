"""The leaderboard: one rule, the same rank whatever the order, and nothing vanishes."""

from __future__ import annotations

import io
import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from results.errors import ResultsError, RunNotFoundError
from results.ranking.board import RANKED_SCHEMA, Board
from results.ranking.query import rank_table, rank_trials
from results.ranking.ranking_rule import rule_key
from results.ranking.terminal import print_table
from results.record.reading import read_run
from results.record.record import Record
from results.record.tables import TRIALS_SCHEMA
from tests.support.examples import examples
from tests.support.results_fixtures import run_trial, start_session, write_run

STATUSES = ["suggested", "running", "completed", "stopped", "diverged", "failed"]


def table_of(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=TRIALS_SCHEMA)


@st.composite
def trial_tables(draw: st.DrawFn) -> pa.Table:
    """Trials of two runs with few distinct values, so that ties are common."""
    rows = []
    for trial in range(draw(st.integers(0, 10))):
        rung = draw(st.integers(0, 2))
        measured = {
            "rung_epoch": draw(st.sampled_from([3, 5, 9])),
            "val_accuracy": draw(st.sampled_from([0.5, 0.75, math.nan])),
            "val_loss": draw(st.sampled_from([0.25, 1.0, math.inf, math.nan])),
        }
        rows.append(
            {
                "run": draw(st.sampled_from(["a", "b"])),
                "trial": trial,
                "status": draw(st.sampled_from(STATUSES)),
                "blocks": draw(st.sampled_from([[1, 2], [1, 10], [3]])),
                "params": draw(st.sampled_from([1, 20, 300])),
                "rung": rung,
                **(measured if rung else {}),
            }
        )
    return table_of(rows)


def key_of_the_rule(row: dict[str, Any]) -> tuple[Any, ...]:
    accuracy, loss = row["val_accuracy"], row["val_loss"]
    worst_if_nan = -1.0 if accuracy is None or math.isnan(accuracy) else accuracy
    last_if_nan = (1, 0.0) if loss is None or math.isnan(loss) else (0, loss)
    return (-worst_if_nan, last_if_nan, row["params"], row["run"], row["trial"])


def is_ranked(row: dict[str, Any]) -> bool:
    return row["status"] in ("completed", "stopped", "running") and row["rung"] >= 1


@examples(60)
@given(table=trial_tables(), random=st.randoms(use_true_random=False))
def test_the_order_is_the_rules_whatever_the_order_of_the_rows(table: pa.Table, random: Any) -> None:
    rows = table.to_pylist()
    ranked = sorted(filter(is_ranked, rows), key=key_of_the_rule)
    others = sorted((row for row in rows if not is_ranked(row)), key=lambda row: (row["run"], row["trial"]))
    random.shuffle(rows)
    board = rank_table(table_of(rows))
    assert board["trial"].tolist() == [row["trial"] for row in [*ranked, *others]]
    assert board["rank"].dropna().tolist() == list(range(1, len(ranked) + 1))
    assert board["rank"].isna().tolist() == [False] * len(ranked) + [True] * len(others)
    assert list(board.columns) == RANKED_SCHEMA.names


@examples(60)
@given(
    table=trial_tables(), column=st.sampled_from(["params", "val_loss", "blocks", "status", "rank"]), down=st.booleans()
)
def test_sorting_keeps_ranks_and_puts_nulls_last(table: pa.Table, column: str, down: bool) -> None:
    rule = rank_table(table)
    board = rank_table(table, sort=f"-{column}" if down else column)
    ranks = dict(zip(rule["trial"], rule["rank"].fillna(0), strict=True))
    assert dict(zip(board["trial"], board["rank"].fillna(0), strict=True)) == ranks
    present = [value for value, there in zip(board[column], board[column].notna(), strict=True) if there]
    assert board[column].notna().tolist() == [True] * len(present) + [False] * (len(board) - len(present))
    assert present == sorted(present, reverse=down)
    places = {trial: place for place, trial in enumerate(rule["trial"])}
    for value in map(str, present):
        equal = [
            places[trial] for trial, other in zip(board["trial"], board[column], strict=True) if str(other) == value
        ]
        assert equal == sorted(equal)


@given(rows=st.lists(st.tuples(*[st.none() | st.floats()] * 2, st.integers(1, 3))))
def test_the_key_is_a_total_order_with_nothing_measured_last(rows: list[tuple[Any, ...]]) -> None:
    keys = sorted(rule_key(*row) for row in rows)
    assert all(one <= other for one, other in pairwise(keys))
    assert rule_key(math.nan, math.nan, 1) > rule_key(0.0, math.inf, 10**9)
    assert rule_key(None, None, 10**9) > rule_key(math.nan, None, 1)


def test_how_long_a_trial_was_trained_does_not_change_its_rank(tmp_path: Path) -> None:
    with Record(tmp_path / "run") as record:
        start_session(record)
        run_trial(record, 0, {1: 0.9}, "stopped")
        run_trial(record, 1, {1: 0.5, 3: 0.6})
        run_trial(record, 2, {1: 0.4, 3: 0.7}, status=None)
    assert rank_table(read_run(tmp_path / "run").trials)["trial"].tolist() == [0, 2, 1]


def test_only_an_unfinished_trial_under_another_schedule_is_mid_course(tmp_path: Path) -> None:
    for name in ("cosine", "rung-annealed", None):
        with Record(tmp_path / str(name)) as record:
            start_session(record)
            run_trial(record, 0, {3: 0.5}, "stopped", schedule=name)
            run_trial(record, 1, {3: 0.5}, "completed", schedule=name)
            run_trial(record, 2, {3: 0.5}, None, schedule=name)
            run_trial(record, 3, {}, "failed", schedule=name)
    board = rank_trials(tmp_path)
    marked = {tuple(row) for row in board.loc[board["mid_course"], ["run", "trial"]].values.tolist()}
    assert marked == {("cosine", 0), ("cosine", 2)}


def test_runs_with_other_ladders_are_compared_by_accuracy(tmp_path: Path) -> None:
    for name, rungs in {"long": {8: 0.6}, "short": {1: 0.7, 2: 0.8, 4: 0.9}}.items():
        with Record(tmp_path / name) as record:
            start_session(record)
            run_trial(record, 0, rungs)
    board = rank_trials(tmp_path)
    assert board["run"].tolist() == ["short", "long"]
    assert board["rung"].tolist() == [3, 1]


def with_run_file(folder: Path, dataset: str, sha256: str | None, split_seed: int = 0, **more: Any) -> None:
    data = {} if sha256 is None else {"sha256": sha256, "train_images": 90}
    own = more.pop("own", False)
    stored = {"config": {"dataset": dataset, "split_seed": split_seed} | more, "data": data, "validation": {"own": own}}
    (folder / "run.json").write_text(json.dumps(stored))


def test_each_data_set_has_ranks_of_its_own(tmp_path: Path) -> None:
    sets: dict[str, tuple[str, str | None, int]] = {
        "a": ("digits", "1" * 64, 0),
        "b": ("cats", "2" * 64, 0),
        "c": ("digits", "1" * 64, 0),
    }
    sets |= {"d": ("digits", "1" * 64, 1), "e": ("digits", None, 0)}
    for number, (name, facts) in enumerate(sets.items()):
        with Record(tmp_path / name) as record:
            start_session(record)
            run_trial(record, 0, {1: 0.5 + number / 100})
            run_trial(record, 1, {1: 0.4 + number / 100})
            run_trial(record, 2, {}, "failed")
        with_run_file(tmp_path / name, *facts)
    write_run(tmp_path / "without")
    board = rank_trials(tmp_path)
    shown = board.loc[board["rank"].notna(), ["run", "trial", "rank"]].values.tolist()
    assert shown[:3] == [["without", 2, 1], ["without", 0, 2], ["without", 1, 3]]
    assert shown[3:5] == [["b", 0, 1], ["b", 1, 2]]
    assert shown[5:7] == [["e", 0, 1], ["e", 1, 2]]
    assert shown[7:11] == [["c", 0, 1], ["a", 0, 2], ["c", 1, 3], ["a", 1, 4]]
    assert shown[11:] == [["d", 0, 1], ["d", 1, 2]]
    assert board.loc[board["run"] == "b", "train_images"].tolist() == [90] * 3
    assert rank_trials(tmp_path, where="dataset = 'cats'")["run"].tolist() == ["b"] * 3
    best = rank_trials(tmp_path, top=1)
    assert best[["run", "rank"]].values.tolist() == [["without", 1], ["b", 1], ["e", 1], ["c", 1], ["d", 1]]
    seeds = rank_trials(tmp_path, over_seeds=True)
    assert seeds.loc[(seeds["rank"] == 1).fillna(False), "run"].tolist() == ["without", "b", "e", "c", "d"]


def test_other_validation_images_are_another_data_set(tmp_path: Path) -> None:
    runs: dict[str, tuple[int, dict[str, Any]]] = {
        "before": (0, {}),
        "usual": (0, {"validation_share": 0.1}),
        "larger": (0, {"validation_share": 0.25}),
        "seeded": (1, {"validation_share": 0.25}),
        "own": (0, {"validation_share": 0.1, "own": True}),
        "own seeded": (1, {"validation_share": 0.25, "own": True}),
    }
    for name, (split_seed, more) in runs.items():
        write_run(tmp_path / name)
        with_run_file(tmp_path / name, "digits", "1" * 64, split_seed, **more)
    data = rank_trials(tmp_path).groupby("run")["data"].unique().map(list)
    ones = "1" * 12
    assert data["before"] == data["usual"] == [f"{ones}/0"]
    assert data["larger"] == [f"{ones}/0/0.25"]
    assert data["seeded"] == [f"{ones}/1/0.25"]
    assert data["own"] == data["own seeded"] == [f"{ones}/val"]


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"config": 3}', '{"config": {"dataset": "a"}, "data": {"sha256": 3}}']
)
def test_a_damaged_run_file_is_a_run_of_an_unknown_data_set(tmp_path: Path, text: str) -> None:
    write_run(tmp_path / "run")
    (tmp_path / "run" / "run.json").write_text(text)
    board = rank_trials(tmp_path)
    assert board["dataset"].isna().all()
    assert board["rank"].tolist()[:3] == [1, 2, 3]


def test_trials_without_a_rank_come_last_and_stay(tmp_path: Path) -> None:
    write_run(tmp_path / "run")
    board = rank_trials(tmp_path)
    assert board["trial"].tolist() == [2, 0, 1, 3, 4, 5]
    assert board["rank"].tolist() == [1, 2, 3, pd.NA, pd.NA, pd.NA]
    assert board["error"].tolist()[3:5] == ["loss is NaN at epoch 3", "OutOfMemoryError: [red]no memory[/red]\nframe 1"]


def test_filters_come_before_ranks_and_top_after(tmp_path: Path) -> None:
    write_run(tmp_path / "run")
    board = rank_trials(tmp_path, where="trial <> 2")
    assert board[["trial", "rank"]].values.tolist()[:2] == [[0, 1], [1, 2]]
    assert rank_trials(tmp_path, full_fidelity=True)["trial"].tolist() == [2, 0]
    assert rank_trials(tmp_path, top=2)["trial"].tolist() == [2, 0]
    assert rank_trials(tmp_path, sort="-params", top=1)[["trial", "rank"]].values.tolist() == [[1, 3]]


def test_the_columns_keep_their_types(tmp_path: Path) -> None:
    write_run(tmp_path / "run")
    board = rank_trials(tmp_path)
    assert str(board["rung_epoch"].dtype) == str(board["rank"].dtype) == "Int64"
    assert str(board["recipe_flip"].dtype) == "boolean"
    assert str(board["val_accuracy"].dtype) == "float64"
    assert board["blocks"].tolist()[0] == [2, 2]
    trials = read_run(tmp_path / "run").trials.sort_by("trial")
    stored = [name for name in trials.schema.names if name != "answers"]
    assert Board.of(board).table.sort_by("trial").select(stored).to_pylist() == trials.select(stored).to_pylist()


def test_an_empty_table_is_an_empty_leaderboard() -> None:
    board = rank_table(TRIALS_SCHEMA.empty_table(), where="params > 1", sort="blocks", top=3, full_fidelity=True)
    assert list(board.columns) == RANKED_SCHEMA.names
    assert Board.of(board).table.num_rows == 0


def test_a_damaged_run_is_a_warning(tmp_path: Path) -> None:
    write_run(tmp_path / "sound")
    (tmp_path / "sound" / "trials.parquet").write_bytes(b"")
    with pytest.warns(UserWarning, match=r"trials\.parquet: damaged"):
        assert len(rank_trials(tmp_path)) == 6


def test_mistakes_are_named(tmp_path: Path) -> None:
    write_run(tmp_path / "run")
    with pytest.raises(ResultsError, match="'-val_acuracy' is not a column; use val_accuracy"):
        rank_trials(tmp_path, sort="-val_acuracy")
    with pytest.raises(ResultsError, match="top 0 shows nothing"):
        rank_trials(tmp_path, top=0)
    with pytest.raises(RunNotFoundError, match="has run"):
        rank_trials(tmp_path, ["ran"])


@pytest.mark.parametrize("same_layout", [False, True])
def test_at_80_columns_what_explains_the_order_stays(same_layout: bool, tmp_path: Path) -> None:
    write_run(tmp_path / "alpha")
    board = rank_trials(tmp_path)
    for number, name in enumerate(["learning_rate", "weight_decay", "label_smoothing", "batch_size"]):
        step = 64 if name == "batch_size" else 0.000123
        board[f"recipe_{name}"] = [step * (row + number) for row in range(len(board))]
    if same_layout:
        for name in ("blocks", "channels", "layout_id"):
            board[name] = [board[name].iloc[0]] * len(board)
        board = board[board["rank"].notna() & ~board["mid_course"].fillna(False)]
    screen = io.StringIO()
    print_table(Board.of(board), Console(file=screen, width=80))
    head = screen.getvalue().partition("───")[0]
    assert all(word in head.split() for word in ("rank", "trial", "status", "val", "epochs", "rung", "params"))
    left_out = " ".join(screen.getvalue().split()).partition("Left out at this width: ")[2]
    assert "label smoothing" in left_out
    assert ("blocks" in left_out, "lr" in left_out.split(", ")) == (same_layout, not same_layout)
    assert ("lr" in head.split()) == same_layout
