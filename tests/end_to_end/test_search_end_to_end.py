"""A whole search with real Ray, real Optuna and real Parquet, run as a user runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from model_zoo import ResNetLayout, count_flops, count_params
from results import rank_trials, read_record, read_run, trials_table
from search.config import RunConfig
from search.runs import read_config
from search.runs.ranking import ranked
from tests.support.cli import LIMIT_S, TINY, events, reported, run, start, wait_for

STOPPING = (*TINY, "--seed=2", "--concurrency=1")
"""A search that depends on its seed alone, in which the first trial is by far the best after one epoch."""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """The working folder and the outcome of one uninterrupted search."""
    cwd = tmp_path_factory.mktemp("finished")
    return cwd, run("search.run", *STOPPING, "--name=tiny", "--json", cwd=cwd)


def test_it_ends_with_one_json_object_and_nothing_else(
    finished: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    _, outcome = finished
    assert outcome.returncode == 0, outcome.stderr
    assert outcome.stderr == ""
    result = json.loads(outcome.stdout)
    assert result["run"] == "tiny"
    assert result["reason"] == "done"
    assert result["trials"] == 4
    rows = result["leaderboard"]
    assert {"run", "trial", "status", "blocks", "channels", "params", "val_accuracy", "epochs", "rung"} <= set(rows[0])
    assert sorted(row["trial"] for row in rows) == [0, 1, 2, 3]


def test_every_trial_is_feasible_distinct_and_as_recorded(
    finished: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder = finished[0] / "runs" / "tiny"
    config = read_config(folder)
    state = read_record(folder)
    layouts = [ResNetLayout.from_dict(trial.layout) for trial in state.trials.values()]
    assert len(set(layouts)) == 4
    for trial, layout in zip(state.trials.values(), layouts, strict=True):
        assert config.space.contains(layout)
        assert trial.params == count_params(layout)
        assert trial.flops == count_flops(layout, 16)
        assert trial.layout_id == layout.layout_id
        assert trial.status in ("completed", "stopped")
    assert {trial.epochs for trial in state.trials.values() if trial.status == "completed"} == {4}
    assert {trial.epochs for trial in state.trials.values() if trial.status == "stopped"} <= {1, 2}


def test_learning_rate_is_zero_at_each_rung_and_only_there(
    finished: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    state = read_record(finished[0] / "runs" / "tiny")
    reports = [report for of_trial in state.reports.values() for report in of_trial]
    assert {report.epoch for report in reports if report.rung is not None} <= {1, 2, 4}
    assert all((report.learning_rate == 0) == (report.rung is not None) for report in reports)


def test_asha_stopped_only_trials_below_their_rung(
    finished: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    """Each ending follows from the values that were in the record when it was decided."""
    folder = finished[0] / "runs" / "tiny"
    seen: dict[int, list[float]] = {1: [], 2: []}
    undecided: dict[int, bool] = {}
    endings = {}
    for event in events(folder):
        if event["event"] == "report" and event["epoch"] in seen:
            before = seen[event["epoch"]]
            undecided[event["trial"]] = not before or event["val_accuracy"] >= pd.Series(before).quantile(0.5)
            before.append(event["val_accuracy"])
        elif event["event"] == "report":
            undecided[event["trial"]] = True
        elif event["event"] == "ended":
            endings[event["trial"]] = event["status"]
            assert (event["status"] == "completed") == undecided[event["trial"]]
    assert len(endings) == 4
    assert set(endings.values()) == {"completed", "stopped"}


def test_parquet_holds_what_the_record_says(finished: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder = finished[0] / "runs" / "tiny"
    tables = read_run(folder)
    assert tables.notes == []
    assert tables.trials.equals(trials_table("tiny", read_record(folder)))
    frame = pd.read_parquet(folder / "epochs.parquet")
    assert len(frame) == sum(event["event"] == "report" for event in events(folder))
    assert set(pd.read_parquet(folder / "trials.parquet")["status"]) <= {"completed", "stopped"}


def test_run_file_is_whole_and_holds_no_path(finished: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder = finished[0] / "runs" / "tiny"
    content = json.loads((folder / "run.json").read_text())
    assert {"config", "seed", "git", "versions", "hardware"} <= set(content)
    assert {"torch", "ray", "optuna"} <= set(content["versions"])
    assert str(finished[0]) not in (folder / "run.json").read_text() + (folder / "record.jsonl").read_text()
    assert RunConfig.model_validate(content["config"]) == read_config(folder)


def test_live_standing_is_the_leaderboards_order(finished: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    board = rank_trials(finished[0] / "runs", ["tiny"])
    order = [trial.trial for trial in ranked(read_record(finished[0] / "runs" / "tiny"))]
    assert board.loc[board["rank"].notna(), "trial"].tolist() == order


def test_best_checkpoints_stay_and_the_test_set_is_measured_once(
    finished: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    cwd, _ = finished
    folder = cwd / "runs" / "tiny"
    best = ranked(read_record(folder))
    kept = {path.name for path in (folder / "checkpoints").iterdir()}
    assert kept == {f"trial-{trial.trial:05d}.safetensors" for trial in best[:3]}
    first = run("search.evaluate", "tiny", cwd=cwd)
    assert first.returncode == 0, first.stderr
    measured = read_record(folder).trials[best[0].trial].test_accuracy
    assert measured is not None
    assert 0.1 < measured <= 1
    assert f"test accuracy {measured:.2%}" in first.stdout
    again = run("search.evaluate", "tiny", cwd=cwd)
    assert again.stdout == first.stdout
    assert sum(event["event"] == "evaluated" for event in events(folder)) == 1
    lost = run("search.evaluate", "tiny", "--trial", str(best[3].trial), cwd=cwd)
    assert lost.returncode == 2
    assert "has no checkpoint: a run keeps those of its" in lost.stderr
    assert lost.stderr.endswith(f"such as trial {best[0].trial}\n")


def test_extending_a_finished_search_keeps_its_trials(
    finished: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    cwd, _ = finished
    folder = cwd / "runs" / "tiny"
    before = events(folder)
    outcome = run("search.run", "--resume=tiny", "--trials=5", "--quiet", cwd=cwd)
    assert outcome.returncode == 0, outcome.stderr
    after = events(folder)
    assert after[: len(before)] == before
    state = read_record(folder)
    assert sorted(state.trials) == [0, 1, 2, 3, 4]
    assert len({trial.layout_id for trial in state.trials.values()}) == 5
    assert read_config(folder).trials == 5
    idle = run("search.run", "--resume=tiny", cwd=cwd)
    assert idle.returncode == 0, idle.stderr
    assert "nothing was left to run" in idle.stdout
    assert events(folder) == after
    fewer = run("search.run", "--resume=tiny", "--trials=3", cwd=cwd)
    assert fewer.returncode == 2
    assert "the run already has 5" in fewer.stderr
    other = run("search.run", "--resume=tiny", "--max-epochs=3", cwd=cwd)
    assert other.returncode == 2
    assert "max_epochs (4 -> 3): the run's trials are annealed at epochs 1, 2, 4; use one of these" in other.stderr
    assert other.stderr.count("\n") == 1
    assert events(folder) == after


@pytest.mark.search
def test_sigkill_and_resume_lose_and_repeat_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "killed"
    with start("search.run", *TINY, "--name=killed", "--quiet", cwd=tmp_path) as driver:
        wait_for(driver, lambda: reported(folder, epoch=3))
        os.killpg(driver.pid, signal.SIGKILL)  # workers have groups of their own: they are left behind, as for a user
        driver.communicate()
        recorded = events(folder)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "^.* its driver, process ")
            board = rank_trials(tmp_path / "runs", ["killed"])  # readable at once
        assert len(board) == sum(event["event"] == "suggested" for event in recorded)

        outcome = run("search.run", "--resume=killed", cwd=tmp_path)
        assert outcome.returncode == 0, outcome.stderr
        after = events(folder)
        assert after[: len(recorded)] == recorded
        assert_sound(after, trials=4, max_epochs=4)
        continued = [e for e in after[len(recorded) :] if e["event"] == "report" and e["epoch"] > 1]
        assert continued, "open trials went on instead of starting again"


@pytest.mark.search
def test_ctrl_c_keeps_everything_and_says_how_to_resume(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "stopped"
    with start("search.run", *TINY, "--name=stopped", cwd=tmp_path) as driver:
        wait_for(driver, lambda: reported(folder))
        os.killpg(driver.pid, signal.SIGINT)  # a terminal's Ctrl-C reaches Ray's processes too
        output, errors = driver.communicate(timeout=LIMIT_S)
    assert driver.returncode == 130, errors
    assert "python -m search.run --resume stopped" in output
    assert "Traceback" not in output + errors
    last = events(folder)[-1]
    assert (last["event"], last["reason"]) == ("session-ended", "interrupted")
    assert {e["status"] for e in events(folder) if e["event"] == "ended"} <= {"completed", "stopped"}

    outcome = run("search.run", "--resume=stopped", "--quiet", cwd=tmp_path)
    assert outcome.returncode == 0, outcome.stderr
    assert_sound(events(folder), trials=4, max_epochs=4)


@pytest.mark.search
def test_diverged_trials_are_rows_and_a_small_space_ends_by_itself(tmp_path: Path) -> None:
    outcome = run(
        "search.run",
        *TINY,
        "--name=wild",
        "--trials=50",
        "--set=space.channels=[8,12]",
        "--set=space.blocks=[1,1]",
        "--set=recipe.learning_rate=1e30",
        "--sampler=grid",
        cwd=tmp_path,
    )
    state = read_record(tmp_path / "runs" / "wild")
    assert outcome.returncode == 1, outcome.stderr  # no trial has a result
    assert "Every feasible layout and recipe was tried" in outcome.stdout
    assert {trial.layout_id for trial in state.trials.values()} == {"1-1x8-8+in1", "1-1x8-12+in1", "1-1x12-12+in1"}
    assert {trial.status for trial in state.trials.values()} == {"diverged"}
    assert all("not finite" in (trial.error or "") or "loss" in (trial.error or "") for trial in state.trials.values())
    assert rank_trials(tmp_path / "runs", ["wild"])["rank"].isna().all()


def assert_sound(record: list[dict[str, Any]], trials: int, max_epochs: int) -> None:
    """What holds of any finished search: each trial once, each of its epochs once, each with one ending."""
    suggested = [e for e in record if e["event"] == "suggested"]
    assert sorted(e["trial"] for e in suggested) == list(range(trials))
    assert len({e["layout_id"] for e in suggested}) == trials
    reports = Counter((e["trial"], e["epoch"]) for e in record if e["event"] == "report")
    assert set(reports.values()) == {1}
    ended = {e["trial"]: e["status"] for e in record if e["event"] == "ended"}
    assert sorted(ended) == list(range(trials))
    for trial, status in ended.items():
        epochs = [epoch for number, epoch in reports if number == trial]
        assert sorted(epochs) == list(range(1, len(epochs) + 1))
        assert (len(epochs) == max_epochs) == (status == "completed")
