"""The leaderboard over seeds, with one row per layout and recipe and the means of its trainings."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from statistics import fmean, stdev
from typing import Any, Final

import pyarrow as pa

from results.ranking.ranking_rule import data_key, ranks_within, rule_key
from results.record.events import LAYOUT_FIELDS, RECIPE_FIELDS
from results.record.reading import DATA_FIELDS
from results.record.tables import TRIALS_SCHEMA

_RECIPE: Final = tuple(f"recipe_{name}" for name in RECIPE_FIELDS)
_KEPT: Final = ("run", "layout_id", *LAYOUT_FIELDS, "params", "flops", "depth", *_RECIPE)
_DATA: Final = tuple(field.name for field in DATA_FIELDS)

SEEDS_SCHEMA: Final = pa.schema(
    [("rank", pa.int64())]
    + [TRIALS_SCHEMA.field(name) for name in _KEPT]
    + [("trials", pa.list_(pa.field("element", pa.int64()))), ("seeds", pa.int64())]
    + [TRIALS_SCHEMA.field(name) for name in ("rung", "rung_epoch")]
    + [(name, pa.float64()) for name in ("val_accuracy", "val_accuracy_error", "val_loss")]
    + [("tests", pa.int64())]
    + [(name, pa.float64()) for name in ("test_accuracy", "test_accuracy_error", "train_time_s", "eval_time_s")]
    + list(DATA_FIELDS)
)
"""The columns of a leaderboard over seeds."""


def mean_over_seeds(board: pa.Table) -> pa.Table:
    """One row per run, layout and recipe of a leaderboard that is ordered by rank, with the columns of `SEEDS_SCHEMA`.

    `trials` are all trainings of the row. `seeds` counts those with a rank at the last rung that any of them reached;
    accuracy and loss are means over these, and `val_accuracy_error` is the standard error, null for one. `tests` counts
    those of them that were measured on the test set. Times are sums over all trainings. Rows are ranked by the rule for
    trials; rows without a ranked training come last.
    """
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in board.to_pylist():
        groups.setdefault(tuple(row[name] for name in ("run", "layout_id", *_RECIPE)), []).append(row)
    rows = sorted(map(_row, groups.values()), key=_rank_key)
    for row, rank in zip(rows, ranks_within([data_key(row["dataset"], row["data"]) for row in rows]), strict=True):
        row["rank"] = rank if row["seeds"] else None
    return pa.Table.from_pylist(rows, SEEDS_SCHEMA)


def _row(trainings: list[dict[str, Any]]) -> dict[str, Any]:
    last = max((row for row in trainings if row["rank"] is not None), key=_reached, default=trainings[0])
    used = [row for row in trainings if row["rank"] is not None and row["rung_epoch"] == last["rung_epoch"]]
    tests = [row["test_accuracy"] for row in used if row["test_accuracy"] is not None]
    val_accuracy, val_accuracy_error = _mean([row["val_accuracy"] for row in used])
    test_accuracy, test_accuracy_error = _mean(tests)
    return {
        **{name: last[name] for name in (*_KEPT, *_DATA, "rung", "rung_epoch")},
        **{"trials": sorted(row["trial"] for row in trainings), "seeds": len(used)},
        **{"val_accuracy": val_accuracy, "val_accuracy_error": val_accuracy_error},
        "val_loss": _mean([row["val_loss"] for row in used])[0],
        **{"tests": len(tests), "test_accuracy": test_accuracy, "test_accuracy_error": test_accuracy_error},
        **{name: sum(row[name] or 0.0 for row in trainings) for name in ("train_time_s", "eval_time_s")},
    }


def _reached(row: dict[str, Any]) -> int:
    return int(row["rung_epoch"] or 0)


def _mean(values: Sequence[float | None]) -> tuple[float | None, float | None]:
    """Mean and standard error; None if they are undefined or a value is missing."""
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return None, None
    return fmean(known), stdev(known) / sqrt(len(known)) if len(known) > 1 else None


def _rank_key(row: dict[str, Any]) -> tuple[Any, ...]:
    key = rule_key(row["val_accuracy"], row["val_loss"], row["params"])
    place = (data_key(row["dataset"], row["data"]), key) if row["seeds"] else ()
    return (not row["seeds"], place, row["run"], row["trials"])
