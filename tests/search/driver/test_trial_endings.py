"""How trials end beside completed and stopped, each injected for real: killed, out of memory, failing, interrupted."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from benchmarks.chaos.processes import is_worker, processes_of, send
from results import rank_trials, read_record
from search.config import compose
from search.runs.folder import write_run_file
from tests.support.cli import LIMIT_S, TINY, events, reported, run, start, wait_for


def of(folder: Path, name: str) -> list[dict[str, Any]]:
    return [event for event in events(folder) if event["event"] == name]


def kill_worker(driver: subprocess.Popen[str]) -> None:
    worker = next(process for process in processes_of(driver.pid) if is_worker(process))
    send(worker, signal.SIGKILL)


@pytest.mark.search
@pytest.mark.parametrize("retries", [0, 3])
def test_a_trial_whose_worker_died_goes_on_or_is_lost(retries: int, tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "killed"
    flags = ("--concurrency=1", "--trials=3", f"--max-retries={retries}", "--name=killed", "--quiet")
    with start("search.run", *TINY, *flags, cwd=tmp_path) as driver:
        wait_for(driver, lambda: reported(folder))
        kill_worker(driver)
        output, errors = driver.communicate(timeout=LIMIT_S)
    assert driver.returncode == 0, errors
    state = read_record(folder)
    statuses = [trial.status for trial in state.trials.values()]
    retried = of(folder, "retried")
    assert len(statuses) == 3
    if retries:
        assert [event["reason"] for event in retried] == ["lost"]
        assert set(statuses) <= {"completed", "stopped"}
        number = retried[0]["trial"]
        assert pd.read_parquet(folder / "trials.parquet").set_index("trial")["retries"][number] == 1
        epochs = [report.epoch for report in state.reports[number]]
        assert epochs == list(range(1, len(epochs) + 1))
    else:
        assert retried == []
        assert statuses.count("lost") == 1
        lost = next(trial for trial in state.trials.values() if trial.status == "lost")
        assert "died" in (lost.error or "")
        board = rank_trials(tmp_path / "runs").set_index("trial")
        assert pd.isna(board["rank"][lost.trial])
        assert f"trial {lost.trial} lost" in output


GREEDY = compose(
    None,
    None,
    {
        "trials": 2,
        "max_epochs": 1,
        "fail_fast": 0,
        "sampler": "grid",
        "space": {
            "stages": [2],
            "blocks": [1, 1],
            "channels": [8],
            "stem_channels": [0, 65536],
            "min_params": 0,
            "max_params": 10**8,
        },
        "recipe": {"batch_size": 1024},
    },
    [],
)
"""A space whose second layout needs 68 GB for the output of its stem, in one piece, and has few weights."""


@pytest.mark.search
@pytest.mark.parametrize("concurrency", [1, 2])
def test_a_trial_without_memory_is_tried_with_fewer_beside_it_and_then_recorded(
    concurrency: int, tmp_path: Path
) -> None:
    if int(Path("/proc/sys/vm/overcommit_memory").read_text()) == 1:
        pytest.skip("this kernel promises more memory than it has")
    folder = tmp_path / "runs" / "greedy"
    write_run_file(folder, GREEDY)
    outcome = run("search.run", "--resume=greedy", f"--concurrency={concurrency}", cwd=tmp_path)
    assert outcome.returncode == 0, outcome.stderr
    state = read_record(folder)
    assert sorted(trial.status for trial in state.trials.values()) == ["completed", "out-of-memory"]
    greedy = next(trial for trial in state.trials.values() if trial.status == "out-of-memory")
    assert "DefaultCPUAllocator" in (greedy.error or "")
    assert [event["reason"] for event in of(folder, "retried")] == ["out-of-memory"] * (concurrency - 1)
    assert len([e for e in of(folder, "started") if e["trial"] == greedy.trial]) == concurrency
    assert f"trial {greedy.trial} out-of-memory" in outcome.stdout


@pytest.mark.search
def test_a_search_whose_trials_all_fail_alike_stops_and_shows_the_error(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "typo"
    config = compose(None, None, {"trials": 12, "max_epochs": 1, "fail_fast": 2, "concurrency": 1}, [])
    write_run_file(folder, config)
    (folder / "checkpoints").symlink_to("a folder on a disk that is not mounted")
    outcome = run("search.run", "--resume=typo", cwd=tmp_path)
    assert outcome.returncode == 1
    assert "the first 2 trials all ended the same way, failed: " in outcome.stdout
    assert "checkpoints" in outcome.stdout
    state = read_record(folder)
    failed = [trial for trial in state.trials.values() if trial.status == "failed"]
    assert len(failed) == 2
    assert all("Traceback" in (trial.error or "") and "Error" in (trial.error or "") for trial in failed)
    assert events(folder)[-1]["reason"] == "failed"
    assert of(folder, "retried") == []

    (folder / "checkpoints").unlink()
    mended = run("search.run", "--resume=typo", "--trials=3", "--json", cwd=tmp_path)
    assert mended.returncode == 0, mended.stderr
    assert json.loads(mended.stdout)["reason"] == "done"


@pytest.mark.parametrize(
    ("endings", "stops"),
    [
        ([("failed", "E: a"), ("failed", "E: b"), ("failed", "E: c")], True),
        ([("failed", "E: a"), ("failed", "F: a"), ("failed", "F: a"), ("failed", "F: a")], False),
        ([("completed", None), ("failed", "E: a"), ("failed", "E: a"), ("failed", "E: a")], False),
        ([("diverged", "d"), ("diverged", "d"), ("diverged", "d")], False),
        ([("lost", "x"), ("lost", "y"), ("lost", "z")], True),
        ([("failed", "E: a"), ("failed", "E: a")], False),
    ],
)
def test_only_the_first_trials_and_only_one_error_stop_a_session(
    endings: list[tuple[str, str | None]], stops: bool, tmp_path: Path
) -> None:
    from results import Record
    from search.driver.stopping import StopRequest
    from tests.support.results_fixtures import report, start_session
    from tests.support.simulated_sessions import searcher_over

    config = compose(None, None, {"trials": 9, "fail_fast": 3, "max_retries": 0}, [])
    with Record(tmp_path) as record:
        start_session(record)
        halt = StopRequest(None)
        searcher = searcher_over(config, record, stop=halt)
        for place, (status, error) in enumerate(endings):
            trial_id = str(place)
            assert isinstance(searcher.suggest(trial_id), dict)
            searcher.on_trial_start(trial_id)
            if status == "lost":
                searcher.on_trial_death(trial_id, error or "")
                searcher.on_trial_complete(trial_id, error=True)
            else:
                result = {"epoch": 0, "val_accuracy": 0.0, "outcome": status, "error": error}
                if status == "completed":
                    record.append("report", **report(place, 1, 1, 0.5))
                searcher.on_trial_complete(trial_id, result)
        assert halt.reason == ("failed" if stops else None)
        assert [trial.status for trial in record.state.trials.values()] == [status for status, _ in endings]


@pytest.mark.search
def test_an_epoch_budget_is_kept_to_the_epoch_and_can_be_raised(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "short"
    outcome = run("search.run", *TINY, "--name=short", "--epoch-budget=5", cwd=tmp_path)
    assert outcome.returncode == 0, outcome.stderr
    assert len(of(folder, "report")) == 5
    assert events(folder)[-1]["reason"] == "epoch-budget"
    assert "The epoch budget is spent" in outcome.stdout
    assert "--resume short --epoch-budget 10" in outcome.stdout
    assert "interrupted" in set(pd.read_parquet(folder / "trials.parquet")["status"])
    spent = run("search.run", "--resume=short", cwd=tmp_path)
    assert spent.returncode == 0, spent.stderr
    assert "The epoch budget is spent" in spent.stdout
    assert len(of(folder, "session")) == 1, "Ray was not started for nothing"
    more = run("search.run", "--resume=short", "--epoch-budget=100", "--quiet", cwd=tmp_path)
    assert more.returncode == 0, more.stderr
    assert {trial.status for trial in read_record(folder).trials.values()} <= {"completed", "stopped"}


@pytest.mark.search
def test_a_spent_time_budget_ends_the_session_resumable(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "brief"
    endless = ("--max-epochs=100000", "--grace-epochs=100000")
    outcome = run("search.run", *TINY, *endless, "--name=brief", "--time-budget=12s", cwd=tmp_path)
    assert outcome.returncode == 0, outcome.stderr
    assert events(folder)[-1]["reason"] == "time-budget"
    assert "The time budget is spent" in outcome.stdout
    assert "--resume brief --time-budget" in outcome.stdout
    assert "running" not in {trial.status for trial in read_record(folder).trials.values()}


@pytest.mark.search
@pytest.mark.parametrize("process", ["raylet", "gcs_server"])
def test_a_driver_whose_ray_died_says_so_and_the_search_goes_on_later(process: str, tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "orphan"
    with start("search.run", *TINY, "--name=orphan", "--max-retries=0", "--quiet", cwd=tmp_path) as driver:
        wait_for(driver, lambda: reported(folder))
        send(next(p for p in processes_of(driver.pid) if p.name == process), signal.SIGKILL)
        _, errors = driver.communicate(timeout=LIMIT_S)
    assert driver.returncode == 1
    assert f"Ray's {process} died" in errors
    assert "python -m search.run --resume orphan" in errors
    assert of(folder, "retried") == [], "the trials' workers died with Ray, which is not their loss"
    outcome = run("search.run", "--resume=orphan", "--quiet", cwd=tmp_path)
    assert outcome.returncode == 0, outcome.stderr
    assert {trial.status for trial in read_record(folder).trials.values()} <= {"completed", "stopped"}
