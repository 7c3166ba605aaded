"""Two runs beside each other: the settings that differ, their best trials, and which of these is better."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

import pyarrow as pa

from results.errors import ResultsError
from results.ranking.board import Board
from results.ranking.intervals import SIGNIFICANCE, interval_text, mcnemar_p
from results.ranking.query import make_board
from results.ranking.ranking_rule import data_key
from results.ranking.ties import Judged, correct_bits, is_tied
from results.record.arrow_arrays import arrow_array
from results.record.folders import RUN_FILE, find_runs
from results.record.trials_of_runs import open_epochs, open_runs

CHECKPOINTS: Final = 5
"""At how many equal numbers of epochs the best accuracies so far are compared, at most."""
_NO_SETTINGS: Final = ("name", "storage")


def compared(storage: Path, first: str, second: str) -> tuple[Board, list[str]]:
    """A table with a row for each figure and for each setting that differs, with notes on damaged files.

    Raises:
        RunNotFoundError: one of the runs does not exist.
        ResultsError: one of them cannot be read, or both are the same.
    """
    runs = find_runs(storage, [first, second])
    if len(runs) < 2:
        raise ResultsError(f"compare: {first} and {second} are the same run; name two")
    rows: dict[str, list[str]] = {}
    winners, notes = [], []
    for folder in runs.values():
        trials = open_runs(storage, [folder])
        board = make_board(trials, over_seeds=False, all_trials=True)
        ranked = [row for row in board.table.to_pylist() if row["rank"] is not None]
        winners.append(ranked[0] if ranked else None)
        for name, text in _figures(board, ranked).items():
            rows.setdefault(name, []).append(text)
        notes += [*trials.notes, *trials.driver_notes()]
    rows |= _at_equal_epochs(storage, list(runs.values()))
    settings = [_settings(folder) for folder in runs.values()]
    for name in sorted({*settings[0], *settings[1]}):
        values = [str(each.get(name, "")) for each in settings]
        if values[0] != values[1]:
            rows[name] = values
    names = [next(name for name in ("what", "what of both", "what of the two") if name not in runs), *runs]
    columns = [list(rows), *map(list, zip(*rows.values(), strict=True))]
    table = pa.table([arrow_array(column, pa.string()) for column in columns], names=names)
    verdict = _verdict(
        list(runs), winners, [_answers(storage, *pair) for pair in zip(runs.values(), winners, strict=True)]
    )
    board = Board(table, table.num_rows, frozenset(), chosen=tuple(names), ranked=False, notes=(verdict,))
    return board, notes


def _figures(board: Board, ranked: Sequence[dict[str, Any]]) -> dict[str, str]:
    best = ranked[0] if ranked else None
    accuracies = [row["val_accuracy"] for row in ranked if row["val_accuracy"] is not None]
    sets = sorted(set(filter(None, board.column("dataset"))))
    return {
        "data set": ", ".join(sets),
        "trials so far": f"{board.total}, {len(ranked)} ranked",
        "best trial": "" if best is None else f"{best['trial']}, {best['layout_id']}",
        "its parameters": "" if best is None else f"{best['params']:,}",
        "its validation accuracy": "" if best is None else _accuracy(best),
        "median accuracy": f"{median(accuracies):.2%}" if accuracies else "",
        "epochs trained": f"{sum(filter(None, board.column('epochs'))):,}",
        "training time": f"{sum(filter(None, board.column('train_time_s'))):,.0f} s",
    }


def _accuracy(row: dict[str, Any]) -> str:
    return "" if row["val_accuracy"] is None else interval_text(row["val_accuracy"], row["val_images"])


def _at_equal_epochs(storage: Path, folders: Sequence[Path]) -> dict[str, list[str]]:
    """The best accuracies at rungs so far, where both runs had trained equally many epochs."""
    curves = [_best_so_far(storage, folder) for folder in folders]
    common = min(map(len, curves))
    numbers = sorted({common * part // CHECKPOINTS for part in range(1, CHECKPOINTS + 1)} - {0})
    return {
        f"best after {number:,} epochs": [
            "" if (best := curve[number - 1]) is None else f"{best:.2%}" for curve in curves
        ]
        for number in numbers
    }


def _best_so_far(storage: Path, folder: Path) -> list[float | None]:
    """For each number of epochs that the run trained, from 1, the best validation accuracy at a rung by then."""
    epochs = open_epochs(storage, [folder])
    rows = epochs.columns(["time_s", "rung", "val_accuracy", "reused"]).sort_by("time_s").to_pylist()
    found: list[float | None] = []
    best: float | None = None
    for row in rows:
        accuracy = row["val_accuracy"]
        if row["rung"] is not None and accuracy is not None and accuracy == accuracy:
            best = accuracy if best is None else max(best, accuracy)
        if row["reused"] is None:
            found.append(best)
        elif found:
            found[-1] = best
    return found


def _settings(folder: Path) -> dict[str, Any]:
    """The configuration of the run, by keys such as `recipe.learning_rate`; empty if it is lost."""
    try:
        config = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))["config"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    flat: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, dict):
            flat |= {f"{name}.{key}": json.dumps(item) for key, item in value.items()}
        elif name not in _NO_SETTINGS:
            flat[name] = json.dumps(value)
    return flat


def _answers(storage: Path, folder: Path, winner: dict[str, Any] | None) -> str | None:
    if winner is None:
        return None
    table = open_runs(storage, [folder]).columns(["trial", "answers"])
    answers: str | None = table["answers"][table["trial"].to_pylist().index(winner["trial"])].as_py()
    return answers


def _verdict(runs: Sequence[str], winners: Sequence[dict[str, Any] | None], answers: Sequence[str | None]) -> str:
    """A sentence on which run has the better best trial, as far as the validation images tell."""
    if None in winners:
        return "One of the runs has no ranked trial, so there is nothing to compare."
    one, two = (winner for winner in winners if winner is not None)
    key, other = (data_key(row["dataset"], row["data"]) for row in (one, two))
    if key != other:
        return "The runs have different validation images, so their accuracies are not compared."
    judged = [
        Judged(key, row["val_accuracy"], row["val_images"], given if row["val_splits"] in (None, 1) else None)
        for row, given in zip((one, two), answers, strict=True)
    ]
    tied = is_tied(*judged)
    if tied is None:
        return "The number of validation images is unknown, so nothing says whether the best trials differ."
    better = runs[0] if judged[0].accuracy > judged[1].accuracy else runs[1]  # type: ignore[operator]
    bits = [correct_bits(it.answers, it.images or 0) if it.images else None for it in judged]
    if bits[0] is None or bits[1] is None:
        how = "their 95% intervals overlap" if tied else "their 95% intervals are apart"
    else:
        only = (bits[0] & ~bits[1]).bit_count(), (bits[1] & ~bits[0]).bit_count()
        p = mcnemar_p(*only)
        how = f"{only[0]} images are right in {runs[0]} alone and {only[1]} in {runs[1]} alone (McNemar's p = {p:.2g})"
    if tied:
        return f"The best trials are tied: {how}; a difference needs p below {SIGNIFICANCE:g} or intervals apart."
    return f"The best trial of {better} is better: {how}."
