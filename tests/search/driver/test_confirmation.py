"""Trials that ASHA stopped within noise of the best are trained to the end, once, and whatever interrupts it."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from benchmarks.chaos.checks import record_problems
from results import Record, RunState, rank_trials, read_record
from results.errors import RecordError
from results.ranking.intervals import wilson_interval
from search.config import compose
from search.config.changes import changed
from search.config.views import Ladder
from search.driver.display import LineDisplay
from search.runs import read_config
from search.runs.checkpoint_files import checkpoint_path
from search.runs.confirmation import Confirmation
from search.runs.folder import change_config, write_run_file
from search.runs.ranking import Leaders, ranked
from search.runs.rungs import AshaRungs
from tests.support.cli import events
from tests.support.results_fixtures import report, run_trial, start_session, suggestion
from tests.support.simulated_sessions import drive

IMAGES = 100
SPACE = {"stages": [2], "blocks": [1, 2], "channels": [8, 12, 16], "min_params": 1500, "max_params": 16000}
AT_FIRST_RUNG = (0.90, 0.70, 0.91, 0.84, 0.89, 0.95, 0.40, 0.82)
"""Accuracies after one epoch: ASHA with a factor of 2 stops trials 1, 3, 6 and 7 there."""


def accuracy(trial: int, epoch: int) -> float:
    """Trial 3, which was stopped at 0.84, comes to 0.93 if it is trained on, and all others to 0.9."""
    return AT_FIRST_RUNG[trial] if epoch == 1 else 0.93 if trial == 3 else 0.9


def train(given: dict[str, Any], epoch: int) -> dict[str, Any]:
    value = accuracy(given["trial"], epoch)
    rung = given["rungs"].index(epoch) + 1 if epoch in given["rungs"] else None
    values = {"val_accuracy": value, "val_loss": 1 - value, "train_accuracy": value, "train_loss": 1 - value}
    return {"epoch": epoch, "rung": rung, "learning_rate": 0.1, "train_time_s": 1.0, "eval_time_s": 0.1, **values}


def start(folder: Path, val_images: int | None = IMAGES, **flags: Any) -> Path:
    """A run of eight trials with rungs at 1, 2 and 4 epochs."""
    given = {"trials": 8, "max_epochs": 4, "grace_epochs": 1, "reduction_factor": 2, "space": SPACE, **flags}
    return write_run_file(folder, compose(None, None, given, []), data={"sha256": "0"}, val_images=val_images)


def confirmed(folder: Path) -> list[list[int]]:
    return [event["trials"] for event in events(folder) if event["event"] == "confirmed"]


def change(folder: Path, **flags: Any) -> None:
    change_config(folder, changed(read_config(folder), flags))


def stopped(state: RunState) -> list[int]:
    return [number for number, trial in state.trials.items() if trial.status == "stopped"]


@pytest.mark.parametrize("sampler", ["tpe", "random", "grid"])
def test_the_best_stopped_trials_within_noise_are_trained_to_the_end(tmp_path: Path, sampler: str) -> None:
    folder = start(tmp_path / "run", confirm=2, sampler=sampler)
    state, trained = drive(folder, train)
    assert confirmed(folder) == [[3, 7]]
    assert trained == sorted(set(trained), key=trained.index), "no epoch twice"
    assert [state.trials[number].status for number in (3, 7, 1, 6)] == ["completed", "completed", "stopped", "stopped"]
    assert ranked(state)[0].trial == 3
    board = rank_trials(tmp_path).set_index("trial")
    assert board["confirmed"].to_dict() == {number: number in (3, 7) for number in range(8)}
    kept = [trial.trial for trial in ranked(state)[: read_config(folder).keep_checkpoints]]
    assert sorted((folder / "checkpoints").iterdir()) == sorted(checkpoint_path(folder, number) for number in kept)
    assert record_problems(folder, 8) == []


def test_only_those_within_noise_are_confirmed(tmp_path: Path) -> None:
    many = 100_000
    assert wilson_interval(0.84, many)[1] < wilson_interval(0.9, many)[0]
    folder = start(tmp_path / "run", many, confirm=8)
    drive(folder, train)
    assert confirmed(folder) == []


@pytest.mark.parametrize(("confirm", "images"), [(0, IMAGES), (3, None)])
def test_none_is_confirmed_if_not_asked_for_or_without_the_number_of_images(
    tmp_path: Path, confirm: int, images: int | None
) -> None:
    folder = start(tmp_path / "run", images, confirm=confirm)
    state, _ = drive(folder, train)
    assert (confirmed(folder), stopped(state)) == ([], [1, 3, 6, 7])


def test_a_run_of_a_version_without_confirmation_confirms_none(tmp_path: Path) -> None:
    folder = start(tmp_path / "run", confirm=2)
    content = json.loads((folder / "run.json").read_text())
    del content["config"]["confirm"]
    (folder / "run.json").write_text(json.dumps(content))
    drive(folder, train)
    assert confirmed(folder) == []


def test_the_best_is_the_first_to_be_confirmed_if_it_was_stopped(tmp_path: Path) -> None:
    """Trial 1 leads at 0.9 with its first rung, while those that were trained to the end came to 0.8."""

    def worse(given: dict[str, Any], epoch: int) -> dict[str, Any]:
        values = (0.80, 0.90, 0.95, 0.70) if epoch == 1 else (0.8, 0.5, 0.3, 0.6) if epoch == 2 else (0.8,) * 4
        return {**train({**given, "trial": 0}, epoch), "val_accuracy": values[given["trial"]]}

    folder = start(tmp_path / "run", confirm=1, trials=4)
    state, _ = drive(folder, worse)
    assert confirmed(folder) == [[3]]
    assert ranked(state)[0].status == "completed"


def test_what_is_left_of_the_number_is_used_when_the_best_fell_back(tmp_path: Path) -> None:
    """Two rounds: the best falls from 0.99 to 0.8, and only then is another within noise of the first place."""
    with Record(tmp_path) as record:
        record.append("limits", min_params=0, max_params=10**6, max_epochs=4)
        start_session(record)
        run_trial(record, 0, {1: 0.99}, "stopped")
        run_trial(record, 1, {1: 0.80}, "stopped")
        rule = Confirmation(2, IMAGES)
        assert [trial.trial for trial in rule.next_ones(record.state)] == [0]
        record.append("confirmed", trials=[0], epochs=4)
        for epoch in (2, 3, 4):
            record.append("report", **report(0, epoch, 2 if epoch == 4 else None, 0.8))
        record.append("ended", trial=0, status="completed", error=None)
        assert [trial.trial for trial in rule.next_ones(record.state)] == [1]
        record.append("confirmed", trials=[1], epochs=4)
        assert record.state.confirmed == 2


def test_a_resume_with_a_larger_number_confirms_more_and_the_same_one_nothing(tmp_path: Path) -> None:
    folder = start(tmp_path / "run", confirm=1)
    drive(folder, train)
    content = (folder / "record.jsonl").read_bytes()
    assert confirmed(folder) == [[3]]
    drive(folder, train)
    assert confirmed(folder) == [[3]]
    assert (folder / "record.jsonl").read_bytes().count(b"report") == content.count(b"report")
    change(folder, confirm=3)
    state, trained = drive(folder, train)
    assert confirmed(folder) == [[3], [7]]  # 1 and 6 are not within noise of trial 3
    assert state.trials[7].status == "completed"
    assert trained[0] in [(7, 1), (7, 2)], "its checkpoint was not kept, so it may start again"


def test_more_trials_are_searched_first_and_confirmed_afterwards(tmp_path: Path) -> None:
    folder = start(tmp_path / "run", confirm=1, trials=4)
    drive(folder, train)
    assert confirmed(folder) == [[3]]
    change(folder, trials=8)
    state, _ = drive(folder, train)
    assert confirmed(folder) == [[3], [7]]
    assert record_problems(folder, 8) == []
    lines = [event["event"] for event in events(folder)]
    assert lines.index("confirmed") < [i for i, name in enumerate(lines) if name == "suggested"][4]
    assert ranked(state)[0].trial == 3


def test_a_longer_training_confirms_anew(tmp_path: Path) -> None:
    folder = start(tmp_path / "run", confirm=1)
    drive(folder, train)
    change(folder, max_epochs=8)
    state, _ = drive(folder, train)
    assert len(confirmed(folder)) == 2
    assert ranked(state)[0].rung_epoch == 8
    assert record_problems(folder, 8) == []


def test_a_spent_space_is_confirmed_too(tmp_path: Path) -> None:
    few = {**SPACE, "blocks": [1, 1], "min_params": 0}
    folder = start(tmp_path / "run", confirm=1, trials=8, sampler="grid", space=few)
    state, _ = drive(folder, train)
    assert len(state.trials) == 6
    assert confirmed(folder) == [[3]]
    assert all(trial.ended for trial in state.trials.values())


def test_an_epoch_budget_holds_and_its_resume_goes_on(tmp_path: Path) -> None:
    whole, _ = drive(start(tmp_path / "whole", confirm=2), train)
    folder = start(tmp_path / "run", confirm=2, epoch_budget=whole.epochs - 4)
    state, _ = drive(folder, train)
    assert confirmed(folder) == [[3, 7]]
    assert state.epochs == whole.epochs - 3, "only the first was trained on"
    change(folder, epoch_budget=whole.epochs + 100)
    state, _ = drive(folder, train)
    assert confirmed(folder) == [[3, 7]]
    assert {n: t.status for n, t in state.trials.items()} == {n: t.status for n, t in whole.trials.items()}
    assert state.epochs == whole.epochs


def test_what_patience_ended_is_not_confirmed(tmp_path: Path) -> None:
    with Record(tmp_path) as record:
        record.append("limits", min_params=0, max_params=10**6, max_epochs=9)
        start_session(record)
        for number, values in enumerate(((0.5, 0.9, 0.8, 0.8, 0.8), (0.5, 0.6, 0.7, 0.9, 0.9))):
            record.append("suggested", **suggestion(number, patience_epochs=3))
            for epoch, value in enumerate(values, start=1):
                record.append("report", **report(number, epoch, 1 if epoch == 5 else None, value))
            record.append("ended", trial=number, status="stopped", error=None)
        chosen = Confirmation(2, IMAGES).next_ones(record.state)
    assert [trial.trial for trial in chosen] == [1]


def test_a_confirmed_trial_continues_at_every_rung_before_its_end(tmp_path: Path) -> None:
    rungs = AshaRungs(Ladder((1, 2, 4), 2))
    for trial, value in enumerate((0.9, 0.8, 0.1)):
        rungs.goes_on(trial, 1, value)
        rungs.goes_on(trial, 2, value)
    assert not rungs.goes_on(2, 1, 0.1)
    rungs.confirm(2, 4)
    assert [rungs.goes_on(2, epoch, 0.1) for epoch in (1, 2, 3, 4)] == [True, True, True, False]
    shorter = AshaRungs(Ladder((1, 2), 2))
    shorter.confirm(2, 4)
    assert [shorter.goes_on(2, epoch, 0.1) for epoch in (1, 2)] == [True, False]


@pytest.mark.parametrize("size", [1, 3])
def test_leaders_keep_those_that_may_be_confirmed(size: int, tmp_path: Path) -> None:
    """After each ending they are those of a full look, and a candidate is never let go before."""
    import numpy as np

    generator, rule, gone = np.random.default_rng(1), Confirmation(3, 40), set[int]()
    with Record(tmp_path) as record:
        start_session(record)
        leaders = Leaders(record.state, size, rule)
        for number in range(60):
            status = str(generator.choice(["completed", "stopped", "diverged"]))
            value = float(generator.integers(40)) / 40
            run_trial(record, number, {1: value}, status, params=int(generator.integers(1000, 1003)), patience_epochs=0)
            gone |= {trial.trial for trial in leaders.take(record.state.trials[number])}
            whole = Leaders(record.state, size, rule)
            assert (leaders.trials, leaders.to_confirm) == (whole.trials, whole.to_confirm)
            assert not gone & whole.kept.keys()
            assert gone | whole.kept.keys() == set(record.state.trials)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"trials": [9], "epochs": 4}, "confirmed: trial 9 is unknown"),
        ({"trials": [], "epochs": 4}, "trials"),
        ({"trials": [0], "epochs": 0}, "epochs"),
    ],
)
def test_a_confirmation_of_what_is_not_there_is_refused(tmp_path: Path, fields: dict[str, Any], message: str) -> None:
    with Record(tmp_path) as record:
        start_session(record)
        run_trial(record, 0, {1: 0.5}, "stopped")
        with pytest.raises(RecordError, match=message):
            record.append("confirmed", **fields)


def test_a_confirmation_that_repeats_changes_nothing(tmp_path: Path) -> None:
    with Record(tmp_path) as record:
        start_session(record)
        run_trial(record, 0, {1: 0.5}, "stopped")
        assert record.append("confirmed", trials=[0], epochs=4)
        assert not record.append("confirmed", trials=[0], epochs=4)
        state = record.state
    assert (state.trials[0].status, state.trials[0].confirmed, state.confirmed) == ("interrupted", True, 1)
    assert read_record(tmp_path) == state


def test_a_line_is_printed_when_a_confirmed_trial_ends(tmp_path: Path) -> None:
    screen = io.StringIO()
    display = LineDisplay(1, Console(file=screen, width=200))
    with Record(tmp_path) as record:
        start_session(record)
        run_trial(record, 0, {1: 0.5}, "stopped")
        with display.live(record.state, 1, 0.0):
            record.append("confirmed", trials=[0], epochs=2)
            display.update(record.state)
            record.append("report", **report(0, 2, 2, 0.75))
            record.append("ended", trial=0, status="completed", error=None)
            display.update(record.state)
    assert screen.getvalue().splitlines()[-1].startswith("1/1 trial 0 completed after 2 epochs: 75.00%")
