"""The last lines of a session: what it came to, and what is worth doing next."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from results import Record, RunState
from results.wording import counted, remedy_of
from search.config import RunConfig, compose
from search.runs.checkpoint_files import checkpoint_path
from search.summary import summarise
from tests.support.results_fixtures import run_trial, start_session

FACTS: dict[str, Any] = {"reason": "done", "error": None, "concurrency": 0}


def told(folder: Path, state: RunState, config: RunConfig, **facts: Any) -> str:
    """What `summarise` prints below the leaderboard."""
    console = Console(file=io.StringIO(), width=200)
    summarise(FACTS | facts, folder, folder.parent, config, state, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def ended(folder: Path, *statuses: str) -> RunState:
    """A run of one trial of each status, one rung reached by those that did not diverge."""
    with Record(folder) as record:
        start_session(record)
        for trial, status in enumerate(statuses):
            run_trial(record, trial, {} if status == "diverged" else {2: 0.5}, status)
        return record.state


def test_a_search_of_which_every_trial_diverged_says_what_to_lower(tmp_path: Path) -> None:
    config = compose(None, None, {"trials": 2}, [])
    assert "lower recipe.learning_rate" in told(tmp_path / "all", ended(tmp_path / "all", *["diverged"] * 2), config)
    some = ended(tmp_path / "some", "diverged", "completed")
    assert "lower recipe.learning_rate" not in told(tmp_path / "some", some, config)


@pytest.mark.parametrize(("layouts", "optimizers", "points"), [(1, 1, 1), (2, 1, 2), (1, 2, 2), (2, 2, 4)])
@pytest.mark.parametrize("trials", [1, 2, 3, 4])
def test_more_trials_are_offered_where_there_are_more_points(
    layouts: int, optimizers: int, points: int, trials: int, tmp_path: Path
) -> None:
    names, rules = ["1-1x8-16", "1-2x8-16"][:layouts], ["sgd", "nesterov"][:optimizers]
    sets = [f"space.layouts=[{','.join(names)}]", f"recipe.optimizer=[{','.join(rules)}]"]
    config = compose(None, None, {"trials": trials}, sets)
    state = ended(tmp_path / "run", *["completed"] * trials)
    assert (f" --trials {2 * trials}" in told(tmp_path / "run", state, config)) == (trials < points)


def test_means_over_seeds_are_offered_where_there_are_any(tmp_path: Path) -> None:
    state = ended(tmp_path / "run", "completed")
    for replicates in (1, 3):
        config = compose(None, None, {"trials": 1, "replicates": replicates}, [])
        assert ("run --over-seeds" in told(tmp_path / "run", state, config)) == (replicates > 1)


def test_what_is_offered_works(tmp_path: Path) -> None:
    config = compose(None, None, {"trials": 2}, [])
    stopped = ended(tmp_path / "stopped", "stopped", "stopped")
    assert "--full-fidelity" not in told(tmp_path / "stopped", stopped, config)
    completed = ended(tmp_path / "completed", "completed", "stopped")
    text = told(tmp_path / "completed", completed, config)
    assert "results.leaderboard" in text
    assert "--full-fidelity" in text
    assert "search.evaluate" not in text, "no checkpoint is there"
    path = checkpoint_path(tmp_path / "completed", 1)
    path.parent.mkdir()
    path.touch()
    assert "search.evaluate" in (text := told(tmp_path / "completed", completed, config))
    assert "completed --trial 1" in text


def test_numbers_of_things() -> None:
    assert [counted(number, "trial") for number in (0, 1, 2, 1500)] == [
        "0 trials",
        "1 trial",
        "2 trials",
        "1,500 trials",
    ]


def test_a_problem_without_words_of_ours_keeps_its_own() -> None:
    item = {"type": "too_short", "msg": "Value error, List should have at least 1 item"}
    assert remedy_of(item) == "list should have at least 1 item"
