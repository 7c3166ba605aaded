"""The last lines of a session: what it came to, and what is worth doing next."""

from __future__ import annotations

import io
import shlex
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from results import Record, RunState
from results.wording import counted, remedy_of
from search.config import RunConfig, compose
from search.runs.checkpoint_files import checkpoint_path
from search.summary import summarise
from tests.support.results_fixtures import report, run_trial, start_session, suggestion

FACTS: dict[str, Any] = {"reason": "done", "error": None, "concurrency": 0}


def told(
    folder: Path,
    state: RunState,
    config: RunConfig,
    *,
    val_images: int | None = None,
    width: int | None = None,
    **facts: Any,
) -> str:
    """What `summarise` prints below the leaderboard, to a terminal of this `width` or else to a pipe."""
    console = Console(file=io.StringIO(), width=width or 200, force_terminal=width is not None, color_system=None)
    summarise(FACTS | facts, folder, folder.parent, config, state, val_images, console)
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


WORKED: dict[str, Any] = {
    "concurrency": 2,
    "wall_time_s": 100.0,
    "startup_s": 12.0,
    "training_time_s": 160.0,
    "overhead": 0.1,
}


def with_checkpoint(folder: Path, trial: int) -> None:
    path = checkpoint_path(folder, trial)
    path.parent.mkdir(exist_ok=True)
    path.touch()


@pytest.mark.parametrize("width", [40, 80])
def test_the_last_lines_are_the_winner_and_how_to_continue_with_it(tmp_path: Path, width: int) -> None:
    with Record(tmp_path / "first") as record:
        start_session(record)
        run_trial(record, 0, {2: 0.9}, params=12_345)
        run_trial(record, 1, {2: 0.5}, "stopped")
    config = compose(None, None, {"trials": 2}, [])
    with_checkpoint(tmp_path / "first", 0)
    text = told(tmp_path / "first", record.state, config, val_images=144, width=width, **WORKED)
    last = text.rsplit("\n\n", 1)[1].replace("\\\n", "").replace("\n  ", " ")
    winner, _, command = last.partition(" python")
    assert " ".join(winner.split()) == "Best of run first: trial 0, 12,345 parameters, 90.00% [84.0, 93.9]"
    assert shlex.split(command) == ["-m", "search.evaluate", "--storage", str(tmp_path), "first"]


@pytest.mark.parametrize("width", [40, 60, 80])
def test_lines_break_at_spaces_and_commands_can_be_pasted(tmp_path: Path, width: int) -> None:
    state = ended(tmp_path / "run", "completed", "failed")
    config = compose(None, None, {"trials": 3}, [])
    facts: dict[str, Any] = {**WORKED, "reason": "epoch-budget"}
    words = told(tmp_path / "run", state, config, **facts).split()
    narrow = told(tmp_path / "run", state, config, width=width, **facts)
    assert [word for word in narrow.split() if word != "\\"] == words
    long = max(map(len, words))
    assert max(map(len, narrow.splitlines())) <= max(width, long + len("    --storage  \\"))
    commands = narrow.replace("\\\n", "").splitlines()
    pasted = [shlex.split(line) for line in commands if "python -m" in line]
    assert ["python", "-m", "search.run", "--storage", str(tmp_path), "--resume", "run"] in [p[:7] for p in pasted]


def test_an_interrupted_search_ends_with_its_best_and_the_command_that_resumes_it(tmp_path: Path) -> None:
    state = ended(tmp_path / "run", "completed")
    config = compose(None, None, {"trials": 3}, [])
    lines = told(tmp_path / "run", state, config, **{**WORKED, "reason": "interrupted"}).rstrip().splitlines()
    assert lines[-2] == "Best of run run: trial 0, 1,000 parameters, 50.00%"
    assert lines[-1] == f"  python -m search.run --storage {shlex.quote(str(tmp_path))} --resume run"


def test_without_a_ranked_trial_no_winner_is_named(tmp_path: Path) -> None:
    config = compose(None, None, {"trials": 1}, [])
    text = told(tmp_path / "run", ended(tmp_path / "run", "diverged"), config)
    assert "Best of run" not in text
    assert "Next:" in text


def test_the_start_is_apart_from_the_overhead_which_is_told_where_it_means_something(tmp_path: Path) -> None:
    state = ended(tmp_path / "run", "completed")
    config = compose(None, None, {"trials": 1}, [])
    long = told(tmp_path / "run", state, config, **WORKED)
    assert "took 1:40, 0:12 of it to start, with 2:40 of training at 2 at a time, overhead 10%" in long
    short = told(tmp_path / "run", state, config, **{**WORKED, "training_time_s": 8.0, "overhead": 8.47})
    assert "took 1:40, 0:12 of it to start, with 0:08 of training at 2 at a time\n" in short
    none = told(
        tmp_path / "run", state, config, **{**WORKED, "training_time_s": 0, "startup_s": None, "overhead": None}
    )
    assert "took 1:40, with 0:00 of training at 2 at a time\n" in none


@pytest.mark.parametrize(
    ("classes", "accuracy", "images", "near"),
    [
        (6, 0.167, 48, True),
        (6, 0.30, 48, True),  # the best of several networks that guess
        (6, 0.45, 48, False),
        (10, 0.12, 144, True),
        (10, 0.30, 144, False),
        (10, 0.15, 5000, True),
        (10, 0.25, 5000, False),
        (100, 0.012, 5000, True),
        (100, 0.05, 5000, False),
        (2, 0.52, 1000, True),
        (2, 0.65, 1000, False),
        (2, 0.5, None, True),
        (2, 0.9, None, False),
    ],
)
def test_a_search_whose_best_is_near_chance_says_what_to_change(
    tmp_path: Path, classes: int, accuracy: float, images: int | None, near: bool
) -> None:
    with Record(tmp_path / "run") as record:
        start_session(record)
        fields = suggestion(0)
        record.append("suggested", **fields | {"layout": fields["layout"] | {"classes": classes}})
        record.append("started", trial=0, session=1)
        record.append("report", **report(0, 1, 1, accuracy))
        record.append("ended", trial=0, status="completed", error=None)
    text = told(tmp_path / "run", record.state, compose(None, None, {"trials": 1}, []), val_images=images)
    assert (f"hardly above guessing among {classes} classes ({1 / classes:.1%})" in text) == near
    assert ("recipe.learning_rate" in text) == near


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
