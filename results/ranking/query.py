"""The leaderboard: filters, ranks and sorts the trials of runs."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from results.errors import ResultsError
from results.ranking.column_names import column_meant, nearest_columns
from results.ranking.intervals import wilson_interval
from results.ranking.ranking_rule import data_key, is_mid_course, is_ranked, ranks_within, rule_key
from results.ranking.seeds import SEEDS_SCHEMA, mean_over_seeds
from results.ranking.short_columns import SORTED_BY
from results.ranking.ties import Judged, ties
from results.record.reading import DATA_FIELDS, read_runs
from results.record.tables import TRIALS_SCHEMA

_INTERVALS: Final = ("val_accuracy_low", "val_accuracy_high", "test_accuracy_low", "test_accuracy_high")
RANKED_SCHEMA: Final = pa.schema(
    [
        ("rank", pa.int64()),
        *(field for field in TRIALS_SCHEMA if field.name != "answers"),
        *DATA_FIELDS,
        *[("mid_course", pa.bool_()), ("tied", pa.bool_()), *((name, pa.float64()) for name in _INTERVALS)],
    ]
)
"""The leaderboard's columns as an Arrow schema."""

LIST_COLUMNS: Final = {field.name for field in (*RANKED_SCHEMA, *SEEDS_SCHEMA) if pa.types.is_list(field.type)}
"""The columns that hold lists of whole numbers."""

_TYPES: Final[dict[Any, Any]] = {pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}


def rank_trials(
    storage: str | Path = "runs",
    runs: Sequence[str | Path] = (),
    *,
    where: str | None = None,
    sort: str | None = None,
    top: int | None = None,
    full_fidelity: bool = False,
    all_trials: bool = False,
    over_seeds: bool | None = None,
) -> pd.DataFrame:
    """The leaderboard of all runs below `storage`, or of those named by name or path.

    The options are those of `rank_table`. A damaged file gives a UserWarning, and its run is left out or rebuilt; a
    driver that died also gives one.

    Raises:
        RunNotFoundError: a named run does not exist, or there is none in `storage`.
        FilterError: `where` is not one boolean expression.
        ResultsError: no run is readable, `sort` is not a column, or `top` is below 1.
    """
    table, notes = read_runs(storage, runs)
    for note in notes:
        warnings.warn(note, stacklevel=2)
    return rank_table(
        table,
        where=where,
        sort=sort,
        top=top,
        full_fidelity=full_fidelity,
        all_trials=all_trials,
        over_seeds=over_seeds,
    )


def rank_table(
    trials: pa.Table,
    *,
    where: str | None = None,
    sort: str | None = None,
    top: int | None = None,
    full_fidelity: bool = False,
    all_trials: bool = False,
    over_seeds: bool | None = None,
) -> pd.DataFrame:
    """The trials in the order of `RANKING_RULE`, with their `rank` as the first column.

    Accuracies on different validation images are not compared: each data set has ranks of its own, from 1, and the data
    sets follow each other by name. Trials without `DATA_FIELDS` count as of one data set.

    `where` and `full_fidelity` (only completed trials) select the rows first, and ranks count the rows that remain.
    Trials that are suggested, failed, diverged or before their first rung come last, with a null rank. So do trials
    outside the present limits of their run with `all_trials`; otherwise they are left out. `sort` is a column to order
    by, `-column` for the largest first; it does not change the ranks, and nulls come last. `top` keeps that many rows
    of each data set.
    `tied` tells which rows cannot be told from the first of their data set, and the columns `..._low` and `..._high`
    have the 95% interval of an accuracy; all are null where the number of images is unknown.
    With `over_seeds` a row is a layout and recipe, as in `mean_over_seeds`. None is for that if all trials are of runs
    with several validation splits, where the accuracies of single trials are of different images.

    Raises:
        FilterError: `where` is not one boolean expression.
        ResultsError: `sort` is not a column, or `top` is below 1.
    """
    if top is not None and top < 1:
        raise ResultsError(f"top {top} shows nothing; use at least 1")
    if where is not None:
        from results.ranking.filtering import (
            filter_table,  # imports DuckDB, which a leaderboard without a condition does not need
        )

        trials = filter_table(trials, where)
    for field in DATA_FIELDS:
        if field.name not in trials.schema.names:
            trials = trials.append_column(field, pa.nulls(trials.num_rows, field.type))
    frame = _frame(trials)
    if over_seeds is None:
        by_mean = (frame["val_splits"].fillna(1) > 1) | frame["refit_of"].notna()
        over_seeds = len(frame) > 1 and bool(by_mean.all())
    if full_fidelity:
        frame = frame[frame["status"] == "completed"]
    if not all_trials:
        frame = frame[frame["within_limits"].fillna(True)]
    frame = frame.sort_values(["run", "trial"], ignore_index=True)
    reached = zip(frame["status"], frame["rung"], frame["within_limits"].fillna(True), strict=True)
    ranked = [place for place, (status, rung, inside) in enumerate(reached) if inside and is_ranked(status, rung)]
    rows = frame.loc[ranked, ["val_accuracy", "val_loss", "params"]].astype(object)
    keys = [rule_key(*row) for row in rows.where(rows.notna(), None).itertuples(index=False)]
    sets = _data_keys(frame.loc[ranked])
    ordered = sorted(zip(sets, keys, ranked, strict=True))
    best_first = [place for *_, place in ordered]
    others = sorted(set(range(len(frame))) - set(ranked))
    board = frame.loc[[*best_first, *others]].reset_index(drop=True)
    ranks = [*ranks_within([key for key, *_ in ordered]), *[None] * len(others)]
    board.insert(0, "rank", pd.Series(ranks, dtype=pd.Int64Dtype()))
    course = zip(board["status"], board["rung"], map(_or_none, board["recipe_schedule"]), strict=True)
    board["mid_course"] = pd.Series([is_mid_course(*row) for row in course], dtype=pd.BooleanDtype())
    board["tied"] = pd.Series([*_ties(board[: len(ordered)]), *[None] * len(others)], dtype=pd.BooleanDtype())
    board = board.drop(columns="answers")
    for name in ("val", "test"):
        bounds = [_bounds(*row) for row in zip(board[f"{name}_accuracy"], board[f"{name}_images"], strict=True)]
        board[[f"{name}_accuracy_low", f"{name}_accuracy_high"]] = pd.DataFrame(
            bounds, index=board.index, columns=["low", "high"], dtype=float
        )
    if over_seeds:
        board = _frame(mean_over_seeds(arrow_table(board)))
    if sort is not None:
        board = _sorted(board, sort)
    return top_rows(board, top)


def top_rows(board: pd.DataFrame, top: int | None) -> pd.DataFrame:
    """The first `top` rows of each data set, in their order; all rows for None."""
    if top is None:
        return board
    return board.iloc[[row for row, place in enumerate(ranks_within(_data_keys(board))) if place <= top]]


def _data_keys(rows: pd.DataFrame) -> list[tuple[str, str]]:
    return list(map(data_key, rows["dataset"], rows["data"]))


def _ties(ranked: pd.DataFrame) -> Iterator[bool | None]:
    # with several splits, the answers of two trials may be to different images
    known = ranked["answers"].where(ranked["val_splits"].fillna(1) == 1)
    columns = ranked[["val_accuracy", "val_images"]].assign(answers=known).astype(object)
    rows = columns.where(columns.notna(), None).itertuples(index=False)
    return ties(Judged(key, *row) for key, row in zip(_data_keys(ranked), rows, strict=True))


def _bounds(accuracy: Any, images: Any) -> tuple[float, float]:
    """The 95% interval; NaN where there is none."""
    known = pd.notna(accuracy) and pd.notna(images) and images > 0
    return wilson_interval(float(accuracy), int(images)) if known else (math.nan, math.nan)


def count_outside(trials: pa.Table) -> int:
    """How many of the trials are outside the present limits of their run."""
    inside = trials["within_limits"]
    outside: int = pc.sum(pc.invert(inside)).as_py() or 0
    return outside


def left_out(outside: int) -> str:
    """A sentence on `outside` trials that a leaderboard does not show."""
    return f"{outside} trial{'s are' if outside > 1 else ' is'} outside the run's present limits and left out"


def arrow_table(board: pd.DataFrame) -> pa.Table:
    """A leaderboard as an Arrow table with `RANKED_SCHEMA`, or over seeds with `SEEDS_SCHEMA`."""
    schema = RANKED_SCHEMA if "trial" in board.columns else SEEDS_SCHEMA
    return pa.Table.from_pandas(board, schema=schema, preserve_index=False).replace_schema_metadata(None)


def _or_none(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _frame(table: pa.Table) -> pd.DataFrame:
    frame: pd.DataFrame = table.to_pandas(types_mapper=_TYPES.get)
    for field in table.schema:
        if pa.types.is_list(field.type):
            frame[field.name] = pd.Series(table[field.name].to_pylist(), dtype=object, index=frame.index)
    return frame


def _sorted(board: pd.DataFrame, sort: str) -> pd.DataFrame:
    name = column_meant(sort.removeprefix("-"), list(board.columns))
    if name is None:
        near = nearest_columns(sort, list(board.columns))
        raise ResultsError(f"sort {sort!r:.40} is not a column; use {', '.join(near)}")
    key = board[name].map(tuple) if name in LIST_COLUMNS else board[name]
    # a stable sort keeps the order of the ranking rule among equal values
    order = key.sort_values(ascending=not sort.startswith("-"), na_position="last", kind="stable").index
    board = board.loc[order].reset_index(drop=True)
    board.attrs[SORTED_BY] = name
    return board
