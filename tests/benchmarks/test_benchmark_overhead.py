"""The overhead benchmark: the bare trainings are the search's own, to the bit, and slots' time is accounted for."""

from __future__ import annotations

import json
from pathlib import Path
from queue import Queue
from typing import Any

import pytest

from benchmarks import overhead, run_overhead
from model_zoo import ResNetLayout
from results import read_record
from results.record.state import RunState, SessionState, TrialState
from tests.support.cli import TINY, run
from tests.support.training_fixtures import CPU, small_recipe
from trainables.data import load_training_set
from trainables.training import Trainer

DIGITS = ResNetLayout((1, 1), (4, 8), in_channels=1)


def state_of(spans: list[tuple[float, float]], slots: int) -> RunState:
    state = RunState()
    state.sessions[1] = SessionState(1, slots, 0, {}, started_s=100.0, ended_s=130.0, wall_time_s=30.0)
    for number, (started, ended) in enumerate(spans):
        trial = TrialState(number, {}, "", 0, 0, None, {}, 0, {}, suggested_s=100.0)
        trial.started_s, trial.ended_s = started, ended
        state.trials[number], state.reports[number] = trial, []
    return state


def test_a_slots_gaps_lie_between_its_own_trials() -> None:
    state = state_of([(105, 110), (106, 120), (110.5, 115), (115.25, 121), (120.75, 129)], slots=2)
    assert run_overhead.gaps(state, 1) == [0.5, 0.25, 0.75]
    spent = run_overhead.slot_times(state, 1, 130.0)
    assert spent["start_s"] == 11
    assert spent["between_s"] == 1.5
    assert spent["tail_s"] == 10
    assert sum(spent.values()) == 2 * 30


@pytest.mark.search
def test_bare_trainings_are_those_of_the_record(tmp_path: Path) -> None:
    recipe = small_recipe(batch_size=32)
    data = {"name": "digits", "data_dir": str(tmp_path), "train_images": 64}
    images, expected = load_training_set(**data), []  # type: ignore[arg-type]
    for seed in range(3):
        trainer = Trainer(DIGITS, recipe, images, CPU, epochs=2, seed=seed)
        expected.append([trainer.train_epoch().val_accuracy for _ in range(2)][-1])
    trainings = [(DIGITS.to_dict(), recipe.model_dump(), seed, (2,), 2) for seed in range(3)]
    wall_s, training_s, accuracies = overhead.bare(trainings, data, slots=2, threads=1)
    assert accuracies == expected
    assert 0 < training_s < 2 * wall_s


@pytest.mark.slow
def test_a_search_and_the_same_trainings_bare_come_to_the_same_accuracies(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--dataset=digits", "--cpus-per-trial=1", *TINY, "--train-images=200", "--trials=3", "--max-epochs=2"]
    found = overhead.compared(tmp_path, "small", [*flags, "--concurrency=2"])
    assert found["same_accuracies"] is True
    assert found["overhead"] == pytest.approx(found["search_s"] / found["bare_s"] - 1, abs=0.2)
    assert found["search"]["trials"] == 3
    assert len(overhead.trainings_of(read_record(tmp_path / "small"), (1, 2))) == 3
    done = run("benchmarks.run_overhead", tmp_path / "small", cwd=tmp_path)
    assert json.loads(done.stdout)["epochs"] == found["search"]["epochs"]


def test_a_training_that_fails_bare_is_told(tmp_path: Path) -> None:
    wrong = ({"blocks": [1, 1], "channels": [4, 4], "in_channels": 3}, {}, 0, (1,), 1)
    waiting: Queue[Any] = Queue()
    done: Queue[Any] = Queue()
    waiting.put((7, wrong))
    overhead._train_all(waiting, done, {"name": "digits", "data_dir": str(tmp_path)}, 1)  # type: ignore[arg-type]
    number, outcome = done.get()
    assert number == 7
    assert "RuntimeError" in outcome


@pytest.mark.search
def test_a_process_that_dies_is_not_waited_for(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="a process died with exit code 1"):
        overhead.bare([(DIGITS.to_dict(), {}, 0, (1,), 1)], {"name": "no-such-set"}, slots=1, threads=1)


def test_a_search_that_fails_shows_its_message(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="trials: 0 given"):
        overhead.searched(tmp_path, "none", ["--trials=0"])
