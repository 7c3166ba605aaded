"""The leaderboard: filters, ranks and sorts the trials of runs, as one query over the columns that decide."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

import numpy as np
import pyarrow as pa

from results.errors import ResultsError
from results.ranking.board import MAY_DIFFER, RANKED_SCHEMA, Board
from results.ranking.column_meanings import MEANINGS
from results.ranking.column_names import column_meant, nearest_columns
from results.ranking.intervals import wilson_interval
from results.ranking.ranking_rule import RANKED_STATUSES, data_key, is_mid_course, ranks_within
from results.ranking.sealed import sealed_connection
from results.ranking.seeds import SEEDS_SCHEMA, mean_over_seeds
from results.ranking.selection import BEST_OF_EACH, front_columns, front_query, meant_column
from results.ranking.ties import Judged, ties
from results.record.arrow_arrays import arrow_array, numpy_numbers, whole_numbers, without_nan
from results.record.trials_of_runs import COLUMNS, RowsChangedError, TrialsOfRuns, open_runs

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

_KEYS: Final = ("trial", "status", "rung", "params", "val_accuracy", "val_loss", "within_limits")
_FACTS: Final = ("run", "dataset", "data", "val_splits", "refit_of")
_COMPUTED: Final = ("rank", "mid_course", "tied")
_TIED_BY: Final = ("dataset", "data", "val_accuracy", "val_images", "answers", "val_splits")
_ALWAYS: Final = ("rank", "dataset", "data", "run", "trial")
_FEW_SETS: Final = 20  # most data sets for which the first rows are queried for each data set apart

RANKED: Final = f"status in {RANKED_STATUSES} and rung >= 1"
"""`is_ranked` in SQL."""
RULE: Final = "ranked desc, accuracy desc nulls last, loss nulls last, params nulls last, run, trial"
"""`rule_key` in SQL: the order within a data set; the last ones order the rows without a rank."""


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
    by: str | None = None,
    pareto: str | None = None,
    columns: Sequence[str] = (),
) -> pd.DataFrame:
    """The leaderboard of all runs below `storage`, or of those named by name or path.

    The options are those of `make_board`, with `columns` for its `shown`. A damaged file gives a UserWarning, and its
    run is left out or rebuilt; a driver that died also gives one.

    Raises:
        RunNotFoundError: a named run does not exist, or there is none in `storage`.
        FilterError: `where` is not one boolean expression.
        ResultsError: no run is readable, an option names no column, or `top` is below 1.
    """
    trials = open_runs(storage, runs)
    board = make_board(
        trials,
        where=where,
        sort=sort,
        top=top,
        full_fidelity=full_fidelity,
        all_trials=all_trials,
        over_seeds=over_seeds,
        by=by,
        pareto=pareto,
        shown=columns,
    )
    for note in [*trials.notes, *trials.driver_notes()]:
        warnings.warn(note, stacklevel=2)
    return board.frame()


def rank_table(trials: pa.Table, **options: Any) -> pd.DataFrame:
    """The leaderboard of a table of trials, by `make_board` with its options."""
    return make_board(TrialsOfRuns.of(trials), **options).frame()


def make_board(
    trials: TrialsOfRuns,
    *,
    where: str | None = None,
    sort: str | None = None,
    top: int | None = None,
    full_fidelity: bool = False,
    all_trials: bool = False,
    over_seeds: bool | None = None,
    by: str | None = None,
    pareto: str | None = None,
    shown: Sequence[str] = (),
    columns: Sequence[str] | None = None,
) -> Board:
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
    `by` keeps the best row of each value of a column, `pareto` the rows with a rank that no other row exceeds in two
    columns, such as `params,val_accuracy`; both order the rows by the (first) column, unless `sort` does.
    The table has all columns, or those that differ between rows and the `columns`. `shown` names the only columns that
    are shown and written to files.

    Raises:
        FilterError: `where` is not one boolean expression.
        ResultsError: `sort`, `by`, `pareto` or `shown` names no column, or `top` is below 1.
    """
    if top is not None and top < 1:
        raise ResultsError(f"top {top} shows nothing; use at least 1")
    if by is not None and pareto is not None:
        raise ResultsError("by and pareto given; use one at a time")
    while True:
        try:
            query = _Query(trials, where, full_fidelity=full_fidelity, all_trials=all_trials)
            means = query.by_means() if over_seeds is None else over_seeds
            schema = SEEDS_SCHEMA if means else RANKED_SCHEMA
            picked = _Picked.of(sort, by, pareto, schema.names)
            chosen = [meant_column("columns", name.strip(), schema.names) for name in shown]
            if chosen and picked.orders is not None:
                chosen.append(picked.orders)
            wanted = None if columns is None else [*columns, *chosen]
            board = query.means(picked, top) if means else query.board(picked, top, wanted)
            return replace(board, chosen=tuple(dict.fromkeys(chosen)), picked=picked.words)
        except RowsChangedError:  # each time one run less is read from its file
            continue


class _Picked(NamedTuple):
    """Which rows of a board are kept, and what orders them."""

    sort: str | None
    down: bool
    columns: list[str]
    """The columns of `--by` or `--pareto`."""
    query: str | None
    """Keeps rows of the table `valued` by the values of those columns, and orders them."""

    @classmethod
    def of(cls, sort: str | None, by: str | None, pareto: str | None, known: Sequence[str]) -> Self:
        """The columns that the options mean; ResultsError where one is none of `known`."""
        name = None if sort is None else _column_to_sort(sort, known)
        down = sort is not None and sort.startswith("-")
        if by is not None:
            return cls(name, down, [meant_column("by", by, known)], BEST_OF_EACH)
        if pareto is not None:
            columns = front_columns(pareto, known)
            return cls(name, down, columns, front_query([MEANINGS[it].better or "larger" for it in columns]))
        return cls(name, down, [], None)

    @property
    def values(self) -> list[str]:
        """The columns whose values decide."""
        return list(dict.fromkeys([*self.columns, *([self.sort] if self.sort else [])]))

    @property
    def words(self) -> str:
        """What the rows are, for a sentence; empty if they are the first ones."""
        match self.columns:
            case [column]:
                return f"the best of each {column}"
            case [one, two]:
                return f"the Pareto front of {one} and {two}"
        return ""

    @property
    def orders(self) -> str | None:
        """The column that orders the rows, if it is not the rank."""
        return self.sort or next(iter(self.columns), None)


class _Query:
    """The rows of one leaderboard."""

    def __init__(self, trials: TrialsOfRuns, where: str | None, *, full_fidelity: bool, all_trials: bool) -> None:
        from results.ranking.filtering import matching_rows

        self.trials = trials
        kept = None if where is None else matching_rows(trials, where)
        keys = trials.columns([*_KEYS, *_FACTS])
        places = np.arange(trials.num_rows) if kept is None else kept
        keys = keys if kept is None else keys.take(whole_numbers(kept))
        chosen = [] if all_trials else ["inside"]
        chosen += ["status = 'completed'"] if full_fidelity else []
        self._connection = sealed_connection()
        self._connection.register("keys", keys.append_column("place", whole_numbers(places)))
        self._connection.execute(
            f"""create view rows as select *,
                case when ranked and not isnan(val_accuracy) then val_accuracy end as accuracy,
                case when ranked and not isnan(val_loss) then val_loss end as loss
            from (
                select place, coalesce(dataset, '') as dataset, coalesce(data, '') as data, run, trial, status,
                    val_accuracy, val_loss, inside, inside and {RANKED} as ranked,
                    case when inside and {RANKED} then params end as params
                from (select *, coalesce(within_limits, true) as inside from keys)
                where {" and ".join(chosen) or "true"}
            )"""
        )
        self._sets = self._sql("select distinct dataset, data from rows").fetchall()

    def by_means(self) -> bool:
        """Whether all of several trials are of runs whose trials are compared by means."""
        by_mean = "coalesce(val_splits, 1) > 1 or refit_of is not null"
        ((found,),) = self._sql(f"select count(*) > 1 and bool_and({by_mean}) from keys").fetchall()
        return bool(found)

    def board(self, picked: _Picked, top: int | None, columns: Sequence[str] | None) -> Board:
        """The leaderboard of trials."""
        order = self._ordered(top if picked.orders is None else None)
        ((total,),) = self._sql("select count(*) from rows").fetchall()
        whole = total == self.trials.num_rows
        if picked.orders is not None:
            order = self._picked(order, picked, self._table(order, picked.values), top)
        places = None if whole else np.sort(self._sql("select place from rows").fetchnumpy()["place"])
        differing = frozenset(it for it in MAY_DIFFER if total > 1 and self.trials.differ(it, places))
        shown = {*columns, *differing, *picked.values, *_ALWAYS} if columns is not None else RANKED_SCHEMA.names
        wanted = [it for it in RANKED_SCHEMA.names if it in shown]
        return Board(self._table(order, wanted), total, differing, picked.orders)

    def means(self, picked: _Picked, top: int | None) -> Board:
        """The leaderboard of layouts and recipes."""
        board = mean_over_seeds(self._table(self._ordered(None), RANKED_SCHEMA.names))
        whole = Board.of(board)
        order = board.select(["dataset", "data", "rank"])
        order = order.append_column("place", whole_numbers(np.arange(board.num_rows)))
        order = self._picked(order, picked, board.select(picked.values), top)
        return Board(board.take(order["place"]), whole.total, whole.differing, picked.orders)

    def _sql(self, query: str) -> duckdb.DuckDBPyRelation:
        return self._connection.sql(query)

    def _ordered(self, top: int | None) -> pa.Table:
        """The places of the rows in the board's order, with their data set and rank; the first `top` of each set."""
        if top is not None and len(self._sets) <= _FEW_SETS:  # finding the first rows takes a third of ordering all
            one = f"(from rows where dataset = ? and data = ? order by {RULE} limit {top})"
            first = " union all ".join([one] * len(self._sets)) or "from rows"
            self._connection.execute(f"create or replace temp table chosen as {first}", list(chain(*self._sets)))
            source, limit = "chosen", ""
        else:
            source, limit = "rows", "" if top is None else f"qualify nth <= {top}"
        return self._sql(
            f"""select place, dataset, data, case when ranked then nth end as rank from (
                select *, row_number() over (partition by dataset, data order by {RULE}) as nth from {source} {limit}
            ) order by ranked desc, case when ranked then (dataset, data, nth) end, run, trial"""
        ).to_arrow_table()

    def _picked(self, order: pa.Table, picked: _Picked, values: pa.Table, top: int | None) -> pa.Table:
        """The rows of `order` that are kept, by the `values` of `picked.values`, nulls and NaN last.

        Rows with equal values keep their order.
        """
        if picked.query is not None:
            for number, name in enumerate(picked.columns, start=1):
                order = order.append_column(f"value{number}", without_nan(values[name]))
        if picked.sort is not None:
            order = order.append_column("value", without_nan(values[picked.sort]))
        order = order.append_column("before", whole_numbers(np.arange(len(order))))
        if picked.query is not None:
            self._connection.register("valued", order)
            order = self._sql(picked.query).to_arrow_table()
        if picked.sort is not None:
            self._connection.register("sorted", order)
            direction = "desc" if picked.down else "asc"
            order = self._sql(f"from sorted order by value {direction} nulls last, before").to_arrow_table()
        return self._first(order, top)

    def _first(self, order: pa.Table, top: int | None) -> pa.Table:
        """The first `top` rows of each data set."""
        if top is None:
            return order
        keys = map(data_key, order["dataset"].to_pylist(), order["data"].to_pylist())
        return order.filter(arrow_array([place <= top for place in ranks_within(list(keys))], pa.bool_()))

    def _table(self, order: pa.Table, names: Sequence[str]) -> pa.Table:
        """The columns `names` of `RANKED_SCHEMA` for rows that `_ordered` found."""
        places, ranks = numpy_numbers(order["place"]), order["rank"].cast(pa.int64())
        stored = {name for name in names if name in COLUMNS.names}
        intervals = [kind for kind in ("val", "test") if any(n.startswith(f"{kind}_accuracy_") for n in names)]
        stored |= {name for kind in intervals for name in (f"{kind}_accuracy", f"{kind}_images")}
        stored |= {"status", "rung", "recipe_schedule"} if "mid_course" in names else set()
        table = self.trials.rows(places, [name for name in COLUMNS.names if name in stored])
        columns: dict[str, Any] = {"rank": ranks, **{name: without_nan(table[name]) for name in table.schema.names}}
        if "mid_course" in names:
            rows = zip(*(table[it].to_pylist() for it in ("status", "rung", "recipe_schedule")), strict=True)
            columns["mid_course"] = [is_mid_course(*row) for row in rows]
        if "tied" in names:
            columns["tied"] = self._ties(places, ranks.to_pylist())
        for kind in intervals:
            pairs = zip(columns[f"{kind}_accuracy"].to_pylist(), table[f"{kind}_images"].to_pylist(), strict=True)
            bounds = [_bounds(*pair) for pair in pairs]
            for place, end in enumerate(("low", "high")):
                columns[f"{kind}_accuracy_{end}"] = [both[place] for both in bounds]
        schema = pa.schema([field for field in RANKED_SCHEMA if field.name in names])
        arrays = [
            columns[field.name].cast(field.type)
            if isinstance(columns[field.name], pa.ChunkedArray)
            else arrow_array(columns[field.name], field.type)
            for field in schema
        ]
        return pa.table(arrays, schema=schema)

    def _ties(self, places: np.ndarray[Any, Any], ranks: Sequence[int | None]) -> list[bool | None]:
        """For each row whether it is tied with the first of its data set; None without a rank."""
        ranked = [row for row, rank in enumerate(ranks) if rank is not None]
        firsts = [] if 1 in ranks[:1] and len(self._sets) == 1 else self._ordered_first()
        wanted = [*firsts, *(places[row] for row in ranked)]
        known = self.trials.rows(np.array(wanted, np.int64), _TIED_BY)
        rows = pa.table([without_nan(column) for column in known.columns], names=_TIED_BY).to_pylist()
        judged = [
            # with several splits, the answers of two trials may be to different images
            Judged(
                data_key(row["dataset"], row["data"]),
                row["val_accuracy"],
                row["val_images"],
                row["answers"] if row["val_splits"] in (None, 1) else None,
            )
            for row in rows
        ]
        found: list[bool | None] = [None] * len(ranks)
        for row, tied in zip(ranked, list(ties(judged))[len(firsts) :], strict=True):
            found[row] = tied
        return found

    def _ordered_first(self) -> list[int]:
        first = self._ordered(1)
        return [place for place, rank in zip(*(first[it].to_pylist() for it in ("place", "rank")), strict=True) if rank]


def _bounds(accuracy: float | None, images: int | None) -> tuple[float | None, float | None]:
    """The 95% interval; None where there is none."""
    known = accuracy is not None and images is not None and images > 0
    return wilson_interval(accuracy or 0.0, images or 1) if known else (None, None)


def _column_to_sort(sort: str, columns: Sequence[str]) -> str:
    name = column_meant(sort.removeprefix("-"), list(columns))
    if name is None:
        near = nearest_columns(sort, list(columns))
        raise ResultsError(f"sort {sort!r:.40} is not a column; use {', '.join(near)}")
    return name


def count_outside(trials: TrialsOfRuns) -> int:
    """How many of the trials are outside the present limits of their run."""
    inside = trials.columns(["within_limits"])["within_limits"]
    return sum(len(chunk) - chunk.null_count - chunk.true_count for chunk in inside.chunks)


def left_out(outside: int) -> str:
    """A sentence on `outside` trials that a leaderboard does not show."""
    return f"{outside} trial{'s are' if outside > 1 else ' is'} outside the run's present limits and left out"
