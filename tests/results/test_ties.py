"""Rows that the validation images cannot tell from the first one are marked as tied."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from results import Record, rank_trials
from results.ranking.board import Board
from results.ranking.intervals import wilson_interval
from results.ranking.query import make_board
from results.ranking.rendering import OutputFormat, render_board
from results.ranking.terminal import print_table
from results.ranking.ties import Judged, correct_bits, is_tied, ties
from results.record.trials_of_runs import open_runs
from tests.support.results_fixtures import report, start_session, suggestion
from trainables.evaluation import Answers


def encoded(correct: list[bool]) -> str:
    predicted = torch.tensor(correct).long()
    return Answers(predicted, torch.ones_like(predicted), 0.0).encoded()


def judged(correct: list[bool], key: str = "same") -> Judged:
    return Judged(key, sum(correct) / len(correct), len(correct), encoded(correct))


@given(st.lists(st.booleans(), min_size=1, max_size=100))
def test_the_stored_answers_are_those_of_the_network(correct: list[bool]) -> None:
    bits = correct_bits(encoded(correct), len(correct))
    assert bits is not None
    width = -(-len(correct) // 8) * 8
    assert [bool(bits >> (width - 1 - i) & 1) for i in range(len(correct))] == correct


@pytest.mark.parametrize("answers", [None, "", "no base 64", "QUJD", encoded([True] * 80)])
def test_answers_that_are_missing_damaged_or_of_other_images_are_none(answers: str | None) -> None:
    assert correct_bits(answers, 40) is None


def test_answers_to_the_same_images_tell_networks_apart_whose_intervals_overlap() -> None:
    better, worse = [True] * 90 + [False] * 10, [True] * 82 + [False] * 18
    assert is_tied(judged(better)._replace(answers=None), judged(worse)._replace(answers=None))
    assert not is_tied(judged(better), judged(worse))  # wrong on the same ten images and on eight more
    elsewhere = [False] * 18 + [True] * 82
    assert is_tied(judged(better), judged(elsewhere))


def test_networks_whose_intervals_are_apart_are_not_tied() -> None:
    assert is_tied(Judged("a", 0.95, 1000, None), Judged("a", 0.90, 1000, None)) is False
    assert is_tied(Judged("a", 0.95, 100, None), Judged("a", 0.90, 100, None)) is True


def test_each_data_set_has_a_first_row_of_its_own() -> None:
    rows = [Judged("a", 0.9, 1000, None), Judged("b", 0.5, 1000, None), Judged("a", 0.5, 1000, None)]
    assert list(ties([*rows, Judged("b", 0.49, 1000, None), Judged("b", 0.4, None, None)])) == [
        *[True, True, False, True],
        None,
    ]


def write_judged_run(folder: Path, images: int | None, answers: dict[int, list[bool]]) -> None:
    with Record(folder) as record:
        start_session(record)
        for trial, correct in answers.items():
            record.append("suggested", **suggestion(trial))
            record.append("started", trial=trial, session=1)
            accuracy = sum(correct) / len(correct)
            record.append("report", **report(trial, 1, 1, accuracy, answers=encoded(correct)))
            record.append("ended", trial=trial, status="completed", error=None)
    stored = {"config": {"dataset": "digits", "split_seed": 0}, "data": {"sha256": "0" * 64, "train_images": 90}}
    (folder / "run.json").write_text(json.dumps(stored | {"validation": {"images": images}}))


ANSWERS = {0: [True] * 82 + [False] * 18, 1: [True] * 90 + [False] * 10, 2: [False] * 18 + [True] * 82}


def test_a_leaderboard_has_intervals_and_ties(tmp_path: Path) -> None:
    write_judged_run(tmp_path / "run", 100, ANSWERS)
    board = rank_trials(tmp_path)
    assert board["trial"].tolist() == [1, 0, 2]
    assert board["tied"].tolist() == [True, False, True]
    low, high = wilson_interval(0.9, 100)
    assert (board["val_accuracy_low"][0], board["val_accuracy_high"][0]) == (low, high)
    assert np.isnan(board["test_accuracy_low"]).all()
    assert "answers" not in board.columns
    text = io.StringIO()
    print_table(Board.of(board), Console(file=text, width=160))
    shown = text.getvalue()
    assert f"90.00 %  {50 * (high - low):.1f}" in shown
    assert [line.split()[0] for line in shown.splitlines()[2:5]] == ["1=", "2", "3="]
    assert "± is half of the 95% interval, in points. = is a tie" in shown
    rows = json.loads(render_board(Board.of(board), OutputFormat.json))
    assert [row["tied"] for row in rows] == [True, False, True]


def test_a_run_of_an_older_version_has_neither(tmp_path: Path) -> None:
    write_judged_run(tmp_path / "run", None, ANSWERS)
    board = rank_trials(tmp_path)
    assert board["tied"].isna().all()
    assert board["val_accuracy_low"].isna().all()
    text = io.StringIO()
    print_table(Board.of(board), Console(file=text, width=160))
    assert not {"±", "="} & set(text.getvalue())


def test_means_over_seeds_have_standard_errors_instead(tmp_path: Path) -> None:
    write_judged_run(tmp_path / "run", 100, ANSWERS)
    board = rank_trials(tmp_path, over_seeds=True)
    assert isinstance(board, pd.DataFrame)
    assert not {"tied", "val_accuracy_low"} & set(board.columns)


@pytest.mark.parametrize("sort", ["test", "flops", "-depth", "lr"])
def test_the_column_that_orders_the_rows_is_shown_on_a_narrow_terminal(tmp_path: Path, sort: str) -> None:
    write_judged_run(tmp_path / "run", 100, ANSWERS)
    board = make_board(open_runs(tmp_path), sort=sort)
    text = io.StringIO()
    print_table(board, Console(file=text, width=60))
    heading = {"-depth": "depth", "lr": "lr"}.get(sort, sort)
    assert heading in text.getvalue().splitlines()[0].split()
