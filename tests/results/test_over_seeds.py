"""The leaderboard over seeds: means of equal trainings, by hand and against a plain loop, and nothing vanishes."""

from __future__ import annotations

import csv
import io
import json
import math
import statistics
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.console import run_app
from results.leaderboard import app
from results.ranking.board import Board
from results.ranking.query import rank_table, rank_trials
from results.ranking.seeds import SEEDS_SCHEMA
from results.record.record import Record
from results.record.tables import TRIALS_SCHEMA
from tests.results.test_ranking import table_of
from tests.support.examples import examples
from tests.support.results_fixtures import run_trial, start_session

LAYOUTS = {"1-2": [1, 2], "3": [3]}


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    """One run: three trainings of 1-2, one stopped early; two of 2-2, tested; a failed one of 9."""
    with Record(tmp_path / "runs" / "alpha") as record:
        start_session(record)
        run_trial(record, 0, {2: 0.5, 4: 0.7}, blocks=(1, 2))
        run_trial(record, 1, {2: 0.6, 4: 0.8}, blocks=(2, 2), params=20_000)
        run_trial(record, 2, {2: 0.4}, "stopped", blocks=(1, 2))
        run_trial(record, 3, {2: 0.5, 4: 0.72}, blocks=(2, 2), params=20_000)
        run_trial(record, 4, {2: 0.5, 4: 0.76}, blocks=(1, 2))
        run_trial(record, 5, {}, "failed", blocks=(9,), error="ValueError: no")
        record.append("evaluated", trial=1, epoch=4, test_accuracy=0.79, test_loss=0.4)
        record.append("evaluated", trial=3, epoch=4, test_accuracy=0.71, test_loss=0.4)
    return tmp_path / "runs"


@st.composite
def trials(draw: st.DrawFn) -> list[dict[str, Any]]:
    rows = []
    for trial in range(draw(st.integers(0, 12))):
        layout_id = draw(st.sampled_from(sorted(LAYOUTS)))
        rung = draw(st.integers(0, 2))
        measured = {
            "rung_epoch": 3**rung,
            "val_accuracy": draw(st.sampled_from([0.25, 0.5, 0.75, math.nan])),
            "val_loss": draw(st.sampled_from([0.5, 1.0])),
            "test_accuracy": draw(st.sampled_from([0.5, 0.6, None])),
        }
        rows.append(
            {
                **{"run": draw(st.sampled_from(["a", "b"])), "trial": trial, "rung": rung, "seed": trial},
                **{"layout_id": layout_id, "blocks": LAYOUTS[layout_id], "params": 10 * len(layout_id)},
                **{"recipe_momentum": draw(st.sampled_from([0.9, None])), "train_time_s": 2.0},
                "status": draw(st.sampled_from(["suggested", "completed", "stopped", "diverged"])),
                **(measured if rung else {}),
            }
        )
    return rows


def by_hand(rows: list[dict[str, Any]]) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """Trials, seeds, mean, standard error, tests and mean of tests of each point."""
    found = {}
    for point in {(row["run"], row["layout_id"], row["recipe_momentum"]) for row in rows}:
        all_rows = [row for row in rows if (row["run"], row["layout_id"], row["recipe_momentum"]) == point]
        ranked = [row for row in all_rows if row["rung"] and row["status"] in ("completed", "stopped")]
        used = [row for row in ranked if row["rung"] == max(other["rung"] for other in ranked)]
        values = [row["val_accuracy"] for row in used]
        known = bool(values) and not any(map(math.isnan, values))
        tests = [row["test_accuracy"] for row in used if row["test_accuracy"] is not None]
        found[point] = (
            [row["trial"] for row in all_rows],
            len(used),
            statistics.mean(values) if known else None,
            statistics.stdev(values) / math.sqrt(len(values)) if known and len(values) > 1 else None,
            len(tests),
            statistics.mean(tests) if tests else None,
        )
    return found


@examples(80)
@given(rows=trials(), random=st.randoms(use_true_random=False))
def test_the_means_are_those_of_a_plain_loop(rows: list[dict[str, Any]], random: Any) -> None:
    expected = by_hand(rows)
    random.shuffle(rows)
    table = Board.of(rank_table(table_of(rows), over_seeds=True)).table
    assert table.schema.equals(SEEDS_SCHEMA)
    found = table.to_pylist()
    assert len(found) == len(expected)
    for row in found:
        numbers, seeds, mean, error, tests, test = expected[row["run"], row["layout_id"], row["recipe_momentum"]]
        assert (row["trials"], row["seeds"], row["tests"]) == (numbers, seeds, tests)
        assert row["val_accuracy"] == (mean if mean is None else pytest.approx(mean))
        assert row["val_accuracy_error"] == (error if error is None else pytest.approx(error))
        assert row["test_accuracy"] == (test if test is None else pytest.approx(test))
        assert row["train_time_s"] == 2.0 * len(numbers)
    ranked = [row for row in found if row["seeds"]]
    assert [row["rank"] for row in found] == [*range(1, len(ranked) + 1), *[None] * (len(found) - len(ranked))]
    worst = [-(-1 if row["val_accuracy"] is None else row["val_accuracy"]) for row in ranked]
    assert worst == sorted(worst)


def test_one_row_a_layout_and_recipe(storage: Path) -> None:
    board = rank_trials(storage, over_seeds=True)
    assert board["trials"].tolist() == [[1, 3], [0, 2, 4], [5]]
    assert board["seeds"].tolist() == [2, 2, 0]
    assert board["val_accuracy"].tolist()[:2] == pytest.approx([0.76, 0.73])
    assert board["val_accuracy_error"].tolist()[:2] == pytest.approx([0.04, 0.03])
    assert board["test_accuracy"].tolist()[0] == pytest.approx(0.75)
    assert board["rank"].tolist() == [1, 2, pd.NA]
    assert rank_trials(storage, over_seeds=True, where="seed <> 8", sort="-params", top=1)["trials"].tolist() == [[3]]
    assert rank_table(TRIALS_SCHEMA.empty_table(), over_seeds=True).empty


def test_the_command_shows_them_in_every_format(
    storage: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("COLUMNS", "120")

    def shown(*arguments: str) -> str:
        assert run_app(app, ["--storage", str(storage), "--over-seeds", *arguments]) == 0
        return capsys.readouterr().out

    lines = shown().splitlines()
    assert lines[0].split("  ")[0] == "rank"
    titles = [
        "rank",
        "trials",
        "blocks",
        "channels",
        "params",
        "seeds",
        "val",
        "± val",
        "tests",
        "test",
        "± test",
        "rung",
    ]
    assert [title.strip() for title in lines[0].split("  ") if title.strip()] == titles
    best = [
        "1",
        "1",
        "3",
        "2-2",
        "16-32",
        "20,000",
        "2",
        "76.00",
        "%",
        "4.00",
        "%",
        "2",
        "75.00",
        "%",
        "4.00",
        "%",
        "2",
    ]
    assert lines[2].split() == best
    assert "Means, with standard errors, over those seeds" in " ".join(lines)
    assert "1 of 3 layouts and recipes; --top 3 shows all." in shown("--top", "1")
    rows = list(csv.DictReader(io.StringIO(shown("--format", "csv"))))
    assert list(rows[0]) == SEEDS_SCHEMA.names
    assert (rows[1]["trials"], rows[1]["blocks"], rows[2]["rank"], rows[2]["val_accuracy"]) == ("0-2-4", "1-2", "", "")
    assert json.loads(shown("--format", "json"))[2]["trials"] == [5]
    assert "± test" in shown("--format", "markdown")
    curves = tmp_path / "curves.csv"
    shown("--curves", str(curves), "--top", "1")
    assert {row["trial"] for row in csv.DictReader(io.StringIO(curves.read_text()))} == {"1", "3"}


def test_a_long_list_of_trials_is_cut_for_people_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Record(tmp_path / "alpha") as record:
        start_session(record)
        for trial in range(9):
            run_trial(record, trial, {2: 0.5})
    assert run_app(app, ["--storage", str(tmp_path), "--over-seeds", "--format", "markdown"]) == 0
    assert "| 0 1 2 3 4 5 and 3 more |" in capsys.readouterr().out
    assert rank_trials(tmp_path, over_seeds=True)["trials"].tolist() == [list(range(9))]
