"""What a leaderboard can be asked: chosen columns, the best of each value, Pareto fronts, two runs, and SQL."""

from __future__ import annotations

import csv
import io
import json
import os
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import results
from results.console import run_app
from results.errors import FilterError, ResultsError
from results.leaderboard import app
from results.ranking.board import RANKED_SCHEMA
from results.ranking.column_meanings import MEANINGS
from results.ranking.query import rank_table, rank_trials
from results.ranking.seeds import SEEDS_SCHEMA
from results.ranking.sql_query import answer
from results.ranking.watching import watched
from results.record.record import Record
from tests.results.test_against_pandas import write_random_run
from tests.results.test_ranking import table_of
from tests.results.test_ties import ANSWERS, write_judged_run
from tests.support.results_fixtures import run_trial, start_session, write_run


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("runs")
    write_run(folder / "alpha")
    write_random_run(folder / "beta", "digits", 40, np.random.default_rng(0))
    return folder


def test_every_column_has_a_meaning_and_is_listed(shown: Any) -> None:
    assert MEANINGS.keys() == {*RANKED_SCHEMA.names, *SEEDS_SCHEMA.names}
    code, output, errors = shown("--list-columns")
    assert (code, errors) == (0, "")
    lines = output.splitlines()
    assert lines[0].split() == ["name", "short", "name", "unit", "meaning"]
    assert [line.split()[0] for line in lines[1:]] == list(MEANINGS)
    assert re.search(r"^val_accuracy +val +share, 0 to 1 +validation accuracy", output, re.MULTILINE)
    assert re.search(r"^recipe_learning_rate +learning_rate ", output, re.MULTILINE)


def test_chosen_columns_are_shown_alone_and_in_their_order(shown: Any) -> None:
    heading = shown("alpha", "--columns", "params, val,lr", "--top", "2")[1].splitlines()[0]
    assert re.split(r"\s{2,}", heading.strip()) == ["params", "val", "learning rate"]
    rows = list(csv.reader(io.StringIO(shown("alpha", "--columns", "val,trial", "--format", "csv")[1])))
    assert rows[:2] == [["val_accuracy", "trial"], ["0.9", "2"]]
    assert list(json.loads(shown("alpha", "--columns", "val", "--sort", "depth", "--format", "json")[1])[0]) == [
        "val_accuracy",
        "depth",
    ]
    layouts = shown("alpha", "--columns", "layout_id", "--format", "csv")[1].split()
    for name in ("layout_id", "layout", "extras"):
        words = shown("alpha", "--columns", name)[1].split()
        assert words[0] == "layout"  # whole, not what follows the blocks and channels
        assert set(layouts[1:]) <= set(words)
    code, _, errors = shown("--columns", "val,parms")
    assert (code, errors) == (2, "error: columns 'parms' is not a column; use params, or see --list-columns\n")


def test_rows_that_were_picked_are_named_and_not_the_first_of_more(shown: Any) -> None:
    best, front = (shown("beta", *picks)[1] for picks in (("--by", "status"), ("--pareto", "params,val_accuracy")))
    assert re.search(r"\d of \d+ trials: the best of each status\.", best)
    assert "shows all" not in best + front
    assert ("the Pareto front of params and val_accuracy." in front) == (" of " in front.split("parameters, then")[-1])


def test_no_line_of_a_table_ends_in_blanks(shown: Any) -> None:
    for columns in (60, 80, 200):
        assert not re.search(r" $", shown(columns=columns)[1], re.MULTILINE)


def test_the_best_of_each_value_is_the_first_by_rank(storage: Path) -> None:
    board = rank_trials(storage, ["beta"])
    for column in ("params", "recipe_learning_rate", "status"):
        best = rank_trials(storage, ["beta"], by=column)
        expected = board.groupby(column, sort=True).head(1).sort_values(column)
        assert best["trial"].tolist() == expected["trial"].tolist()
        assert best["rank"].fillna(0).tolist() == expected["rank"].fillna(0).tolist()


@pytest.mark.parametrize("seed", range(5))
def test_a_pareto_front_is_that_of_a_plain_double_loop(seed: int) -> None:
    draw = random.Random(seed)
    rows = [
        {
            **{"run": "a", "trial": trial, "status": "completed", "rung": 1, "rung_epoch": 1},
            **{"params": draw.randrange(1, 12), "val_loss": 1.0, "val_accuracy": draw.randrange(12) / 12},
        }
        for trial in range(30)
    ]
    front = {
        row["trial"]
        for row in rows
        if not any(
            other["params"] <= row["params"]
            and other["val_accuracy"] >= row["val_accuracy"]
            and (other["params"], other["val_accuracy"]) != (row["params"], row["val_accuracy"])
            for other in rows
        )
    }
    board = rank_table(table_of(rows), pareto="params,val_accuracy")
    assert set(board["trial"]) == front
    assert board["params"].is_monotonic_increasing
    assert set(rank_table(table_of(rows), pareto="val,params")["trial"]) == front


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("params", "has 1 columns; give two, such as params,val_accuracy"),
        ("params,status", "no value of status is better than another; use one of rank, params"),
        ("params,vall", "pareto 'vall' is not a column"),
        ("params,params", "params is given twice"),
    ],
)
def test_a_front_needs_two_columns_with_a_direction(storage: Path, given: str, message: str) -> None:
    with pytest.raises(ResultsError, match=re.escape(message)):
        rank_trials(storage, pareto=given)


def test_two_runs_are_beside_each_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_judged_run(tmp_path / "one", 100, {0: ANSWERS[0]})
    write_judged_run(tmp_path / "two", 100, {0: ANSWERS[1], 1: ANSWERS[0]})
    stored = json.loads((tmp_path / "two" / "run.json").read_text())
    stored["config"] |= {"seed": 3, "space": {"max_params": 9}, "long": "words " * 40}
    (tmp_path / "two" / "run.json").write_text(json.dumps(stored))

    def compared(*names: str) -> dict[str, list[str]]:
        assert run_app(app, ["--storage", str(tmp_path), "--compare", *names, "--format", "csv"]) == 0
        return {row[0]: row[1:] for row in csv.reader(io.StringIO(capsys.readouterr().out))}

    rows = compared("one", "two")
    assert rows["what"] == ["one", "two"]
    assert rows["trials so far"] == ["1, 1 ranked", "2, 2 ranked"]
    assert rows["median accuracy"] == ["82.00%", "86.00%"]
    assert rows["best after 1 epochs"] == ["82.00%", "90.00%"]
    assert (rows["seed"], rows["space.max_params"]) == (["", "3"], ["", "9"])
    assert "split_seed" not in rows
    assert run_app(app, ["--storage", str(tmp_path), "--compare", "one", "two"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "what one two" in text  # no run is left out, however long its settings are
    assert re.search(r'"words words [a-z ]*…', text)
    assert "The best trial of two is better: 0 images are right in one alone and 8 in two alone" in text
    (tmp_path / "one").rename(tmp_path / "what")
    assert compared("what", "two")["what of both"] == ["what", "two"]
    (tmp_path / "what").rename(tmp_path / "one")
    assert run_app(app, ["--storage", str(tmp_path), "--compare", "one", "one"]) == 2
    assert "one and one are the same run; name two" in capsys.readouterr().err


def test_runs_on_other_images_are_not_compared(storage: Path, shown: Any) -> None:
    text = " ".join(shown("--compare", "alpha", "beta")[1].split())
    assert "The runs have different validation images, so their accuracies are not compared." in text


def test_sql_answers_over_trials_and_epochs(storage: Path) -> None:
    frames = {name: results.read_run(storage / name).trials.to_pandas() for name in ("alpha", "beta")}
    board, _ = answer(
        "select run, count(*) as n, max(params) as most from trials group by run order by run;", storage, []
    )
    assert board.table.to_pylist() == [
        {"run": name, "n": len(frame), "most": frame["params"].max()} for name, frame in frames.items()
    ]
    epochs = results.read_run(storage / "alpha").epochs
    for query in ("select * from epochs", "from epochs", "select epochs.* from epochs"):
        assert answer(query, storage, ["alpha"])[0].table.to_pylist() == epochs.to_pylist()
    joined = "select t.status, e.epoch from trials t join epochs e using (run, trial) where trial = 2 order by epoch"
    assert answer(joined, storage, ["alpha"])[0].table["epoch"].to_pylist() == [1, 2, 3, 4]
    assert answer("select count(*) from trials where val_accuracy > 1", storage, [])[0].table.to_pylist() == [
        {"count_star()": 0}
    ]
    assert answer("select 1 as a, 2 as a", storage, [])[0].table.num_columns == 2


REFUSED = """
copy trials to 'there.csv' | copy (select 1) to 'there.csv' | attach 'x.db' | install httpfs | load httpfs | select
select 1; select 2 | create table a as select 1 | insert into trials select * from trials | delete from trials
call enable_logging() | export database 'there' | select * from read_text('/etc/passwd') | set threads = 1 | nonsense
from read_csv('here.csv') | select * from 'here.csv' | select * from glob('*') | select * from here | pragma version
select * from read_parquet('https://127.0.0.1:9/a.parquet') | select * from query('copy trials to ''there.csv''')
select * from (copy trials to 'there.csv') | with gone as (delete from trials returning 1) select * from gone
select * from sniff_csv('here.csv') | select content from read_blob('/etc/passwd') | select * from read_json('here.csv')
select * from '/etc/passwd' | select getenv('HOME')
"""
STATEMENTS = [text.strip() for line in REFUSED.strip().split("\n") for text in line.split(" | ")]


@pytest.mark.parametrize("sql", [*STATEMENTS, "", ";"])
def test_sql_is_one_select_that_reaches_nothing_else(
    sql: str, storage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    here = pd.DataFrame({"trial": [0]})  # DuckDB would find it by its name
    here.to_csv("here.csv")
    with pytest.raises(FilterError) as caught:
        answer(sql, storage, [])
    assert str(caught.value).startswith("sql: ")
    assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == ["here.csv"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sql", "select 1", "--where", "true"], "--sql is a question of its own; leave --where out"),
        (["--compare", "alpha", "beta", "--top", "3"], "--compare is a question of its own; leave --top out"),
        (["--by", "depth", "--pareto", "params,val"], "by and pareto given; use one at a time"),
        (["--curves", "curves.xlsx"], "curves: .xlsx given, but the file is CSV; use .csv"),
        (["--watch", "--format", "csv"], "--watch shows a table"),
        (["--where", "channels = '8-24'"], "write channels = [8, 24], or channels[1] = 8 for the first stage"),
        (["--where", "blocks > 3"], "blocks is a list with a number per stage, and 3 is given"),
        (["--sql", "select parms from trials"], "'parms' is not a column; use params"),
    ],
)
def test_a_mistake_is_one_line(shown: Any, arguments: list[str], message: str) -> None:
    code, output, errors = shown(*arguments)
    assert (code, output, errors.count("\n")) == (2, "", 1)
    assert message in errors


@pytest.mark.parametrize(
    ("where", "note"),
    [
        ("status = 'complete'", "no trial has 'complete' as its status; did you mean 'completed'?"),
        ("run in ('alpha', 'betta')", "no trial has 'betta' as its run; did you mean 'beta'?"),
        ("optimizer = 'adm'", "no trial has 'adm' as its recipe_optimizer; did you mean 'adam'?"),
        ("status <> 'lost' and error is null", None),
    ],
)
def test_a_text_that_no_trial_has_is_named_with_the_nearest(shown: Any, where: str, note: str | None) -> None:
    code, _, errors = shown("--where", where)
    assert code == 0
    said = [line for line in errors.splitlines() if "no trial has" in line]
    assert said == ([] if note is None else [f"note: {note}"])


def test_latex_escapes_what_it_would_take_for_a_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "50%_of_{a}")
    write_run(tmp_path / "b")
    assert run_app(app, ["--storage", str(tmp_path), "--format", "latex", "--top", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    table = lines[lines.index(r"\toprule") :]
    assert (table[2], table[-2:]) == (r"\midrule", [r"\bottomrule", r"\end{tabular}"])
    assert r"50\%\_of\_\{a\}" in table[3]
    assert {line.count("&") for line in (table[1], *table[3:-2])} == {table[1].count("&")}


def test_a_spreadsheet_has_every_row_or_the_package_that_is_missing(shown: Any, tmp_path: Path) -> None:
    path = tmp_path / "board.xlsx"
    code, _, errors = shown("alpha", "--output", str(path))
    try:
        from openpyxl import load_workbook
    except ImportError:
        assert (code, errors.count("\n")) == (2, 1)
        assert "xlsx needs the package openpyxl" in errors
        return
    rows = list(load_workbook(path).active.values)
    assert list(rows[0]) == RANKED_SCHEMA.names
    assert len(rows) == 7
    assert rows[1][rows[0].index("val_accuracy")] == 0.9
    assert rows[1][rows[0].index("blocks")] == "2-2"


def test_a_watched_board_is_shown_again_when_a_run_has_news(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "alpha")
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 2:
            with Record(tmp_path / "alpha") as record:
                start_session(record, 2)
                run_trial(record, 6, {2: 0.95})
        if len(waits) == 4:
            raise KeyboardInterrupt

    def show() -> None:
        print(len(rank_trials(tmp_path)))  # noqa: T201

    watched(show, tmp_path, [], 2.0, wait)
    assert capsys.readouterr().out.split() == ["6", "7"]
    assert waits == [2.0] * 4
