"""Successive halving: decisions against the stock scheduler, and rungs refilled from a record."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ray.tune.schedulers import ASHAScheduler, TrialScheduler

from results import Record, RunState, read_record
from search.config.views import Ladder
from search.driver.scheduler import AshaScheduler
from search.runs.rungs import AshaRungs
from tests.support.examples import examples
from tests.support.results_fixtures import report, start_session, suggestion
from trainables.schedule import rung_epochs

LADDERS = st.tuples(st.integers(1, 5), st.integers(2, 5), st.integers(0, 40)).map(
    lambda ladder: (ladder[0], ladder[1], ladder[0] + ladder[2])
)
"""Grace period, reduction factor, epochs."""


@dataclass
class NamedTrial:
    """As much of a Tune trial as a scheduler reads."""

    trial_id: str
    config: dict[str, Any] = field(default_factory=dict)


def interleaved(generator: np.random.Generator, trials: int) -> list[int]:
    """Trial numbers in random order, each often enough for every epoch; ended ones are skipped by the caller."""
    return [int(n) for n in generator.integers(trials, size=trials * 60)]


@examples(60)
@given(ladder=LADDERS, seed=st.integers(0, 2**32 - 1), ties=st.booleans())
def test_decisions_are_those_of_the_stock_scheduler(ladder: tuple[int, int, int], seed: int, ties: bool) -> None:
    grace, factor, epochs = ladder
    stock = ASHAScheduler("epoch", "val_accuracy", "max", epochs, grace, factor)
    rungs = AshaRungs(Ladder(rung_epochs(grace, factor, epochs), factor))
    generator = np.random.default_rng(seed)
    reached: dict[int, int] = {}
    ended: set[int] = set()
    for number in interleaved(generator, 12):
        if number in ended:
            continue
        trial = NamedTrial(str(number))
        if number not in reached:
            stock.on_trial_add(None, trial)
        epoch = reached[number] = reached.get(number, 0) + 1
        value = float(generator.integers(4)) / 4 if ties else float(generator.random())
        expected = stock.on_trial_result(None, trial, {"epoch": epoch, "val_accuracy": value})
        goes_on = rungs.goes_on(number, epoch, value)
        assert goes_on == (expected == TrialScheduler.CONTINUE)
        if not goes_on:
            ended.add(number)
            stock.on_trial_complete(None, trial, {"epoch": epoch, "val_accuracy": value})


def test_a_trial_below_the_quantile_of_those_before_it_stops() -> None:
    rungs = AshaRungs(Ladder((1, 3, 9), 3))
    values = [0.5, 0.4, 0.6, 0.55, 0.58]
    # Quantile 2/3 of what came before: none, 0.5, 0.467, 0.533, 0.55.
    assert [rungs.goes_on(trial, 1, value) for trial, value in enumerate(values)] == [True, False, True, True, True]
    assert rungs.values == {1: dict(enumerate(values)), 3: {}, 9: {}}


def test_between_rungs_everyone_goes_on_and_nothing_is_kept() -> None:
    rungs = AshaRungs(Ladder((2, 4), 2))
    assert all(rungs.goes_on(trial, epoch, 0.0) for trial in range(3) for epoch in (1, 3))
    assert rungs.values == {2: {}, 4: {}}
    assert not rungs.goes_on(0, 5, 1.0)


def test_the_last_rung_stops_everyone() -> None:
    rungs = AshaRungs(Ladder((1, 2), 2))
    assert [rungs.goes_on(trial, 2, value) for trial, value in enumerate([0.1, 0.9, 0.95])] == [False] * 3
    assert rungs.values[2] == {0: 0.1, 1: 0.9, 2: 0.95}


@settings(deadline=None)
@given(values=st.lists(st.floats(0, 1), min_size=1, max_size=12), factor=st.integers(2, 4))
def test_asked_again_the_answer_is_the_first_one(values: list[float], factor: int) -> None:
    rungs = AshaRungs(Ladder((1, 10), factor))
    first = [rungs.goes_on(trial, 1, value) for trial, value in enumerate(values)]
    kept = {epoch: dict(of_rung) for epoch, of_rung in rungs.values.items()}
    assert [rungs.goes_on(trial, 1, 1 - value) for trial, value in enumerate(values)] == first
    assert rungs.values == kept


def write_halving(folder: Path, rungs: AshaRungs, trials: int) -> dict[int, bool]:
    """Records a search whose every decision is made by `rungs`; returns the last decision at a rung by trial."""
    generator = np.random.default_rng(2)
    decided: dict[int, bool] = {}
    with Record(folder) as record:
        start_session(record)
        for number in interleaved(generator, trials):
            if number not in record.state.trials:
                record.append("suggested", **suggestion(number))
            trial = record.state.trials[number]
            if trial.ended:
                continue
            epoch, value = trial.epochs + 1, float(generator.random())
            rung = rungs.rungs.index(epoch) + 1 if epoch in rungs.rungs else None
            goes_on = rungs.goes_on(number, epoch, value)
            record.append("report", **report(number, epoch, rung, value))
            if rung is not None:
                decided[number] = goes_on
            if not goes_on:
                status = "completed" if epoch == rungs.rungs[-1] else "stopped"
                record.append("ended", trial=number, status=status, error=None)
            statuses = [trial.status for trial in record.state.trials.values()]
            if len(statuses) == trials and "completed" in statuses:
                break  # the driver dies here, with trials open
    return decided


def test_rungs_refilled_from_a_record_decide_as_those_that_were_never_lost(tmp_path: Path) -> None:
    lived = AshaRungs(Ladder((1, 3, 9), 3))
    decided = write_halving(tmp_path, lived, 20)
    rebuilt = AshaRungs(Ladder((1, 3, 9), 3))
    state = read_record(tmp_path)
    assert rebuilt.replay(state) == decided
    assert rebuilt.values == lived.values
    assert [list(of_rung) for of_rung in rebuilt.values.values()] == [list(of) for of in lived.values.values()]
    assert {trial.status for trial in state.trials.values()} >= {"completed", "stopped", "running"}
    generator = np.random.default_rng(3)
    for number in range(20, 40):
        for epoch in (1, 3, 9):
            value = float(generator.random())
            assert rebuilt.goes_on(number, epoch, value) == lived.goes_on(number, epoch, value)


def test_an_empty_record_leaves_the_rungs_empty() -> None:
    rungs = AshaRungs(Ladder((1, 2), 2))
    assert rungs.replay(RunState()) == {}
    assert rungs.values == {1: {}, 2: {}}


@pytest.mark.parametrize("outcome", ["diverged", "failed"])
def test_ray_is_told_to_stop_what_failed_and_its_value_is_not_compared(outcome: str) -> None:
    scheduler = AshaScheduler(AshaRungs(Ladder((1, 3), 3)))
    results = [
        (0, {"epoch": 1, "val_accuracy": 0.5, "outcome": None}, True),
        (1, {"epoch": 1, "val_accuracy": 0.0, "outcome": outcome}, False),
        (2, {"epoch": 1, "val_accuracy": 0.4, "outcome": None}, False),
        (0, {"epoch": 3, "val_accuracy": 0.6, "outcome": "completed"}, False),
    ]
    for number, result, goes_on in results:
        decision = scheduler.on_trial_result(None, NamedTrial(str(number), {"trial": number}), result)
        assert decision == (TrialScheduler.CONTINUE if goes_on else TrialScheduler.STOP)
    assert scheduler.rungs.values == {1: {0: 0.5, 2: 0.4}, 3: {0: 0.6}}
