"""How far a search is: the epochs that are expected, and the time that they take."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean

import numpy as np
import pytest

from results import Record, RunState
from search.config.views import Budgets, Ladder
from search.driver.display.progress import Expectation, Pace, awaited, expected, training_began_s
from search.runs.rungs import AshaRungs
from tests.support.results_fixtures import report, run_trial, start_session, suggestion

LADDER = Ladder((2, 6, 18), 3)


def budgets(trials: int, epochs: int | None = None) -> Budgets:
    return Budgets(
        trials=trials, time_s=None, epochs=epochs, max_retries=0, fail_fast=0, checkpoints=3, disk_bytes=None
    )


def halved(ladder: Ladder, trials: int, generator: np.random.Generator) -> int:
    """Epochs of a search whose trials are equally good and train one after another."""
    rungs, epochs = AshaRungs(ladder), 0
    for trial in range(trials):
        for rung in ladder.rungs:
            if not rungs.goes_on(trial, rung, generator.random()):
                break
        epochs += rung
    return epochs


@pytest.mark.parametrize("trials", [1, 4, 12, 60])
@pytest.mark.parametrize("ladder", [LADDER, Ladder((1, 2, 4, 8), 2), Ladder((1, 4, 16), 4), Ladder((5,), 3)])
def test_a_search_starts_with_what_asynchronous_halving_takes(ladder: Ladder, trials: int) -> None:
    generator = np.random.default_rng(0)
    taken = fmean(halved(ladder, trials, generator) for _ in range(400))
    assert expected(RunState(), ladder, budgets(trials)).epochs == pytest.approx(taken, rel=0.1)


def test_an_ended_search_has_nothing_left(tmp_path: Path) -> None:
    with Record(tmp_path / "run") as record:
        start_session(record)
        run_trial(record, 0, {2: 0.5, 6: 0.6, 18: 0.7})
        run_trial(record, 1, {2: 0.4}, "stopped")
        assert expected(record.state, LADDER, budgets(2)) == Expectation(0.0, 0.0)


def test_open_trials_count_from_their_epoch(tmp_path: Path) -> None:
    with Record(tmp_path / "run") as record:
        start_session(record)
        run_trial(record, 0, {2: 0.5, 6: 0.6, 18: 0.7})
        run_trial(record, 1, {2: 0.4}, "stopped")
        before = expected(record.state, LADDER, budgets(3))
        run_trial(record, 2, {2: 0.5}, None)
        record.append("report", **report(2, 3, None))
        alone = expected(record.state, LADDER, budgets(3))
        assert before.epochs == before.longest, "one trial is left, and later the same one"
        assert alone.epochs == alone.longest
        assert alone.epochs == pytest.approx(3 + 12 / 2, rel=0.02), (
            "to the next rung, which every other second one passes"
        )
        assert expected(record.state, LADDER, budgets(5)).epochs > alone.epochs + 2 * 2
        assert expected(record.state, LADDER, budgets(5, epochs=25)).epochs == 25 - record.state.epochs


def test_the_time_left_is_unknown_at_first_and_then_follows_the_pace(tmp_path: Path) -> None:
    left = Expectation(10.0, 2.0)
    with Record(tmp_path / "run") as record:
        start_session(record)
        pace = Pace(record.state, 2)
        for trial in (0, 1):
            record.append("suggested", **suggestion(trial))
            record.append("started", trial=trial, session=1)
        began_s = None
        for epoch in (1, 2):
            for trial in (0, 1):
                assert pace.left_s(record.state, left, 1e10) is None
                record.append("report", **report(trial, epoch, None))
                began_s = began_s or record.state.reports[0][0].time_s - 2.5  # 2 s of training, 0.5 of validation
        assert training_began_s(record.state, 1) == began_s is not None
        now_s = began_s + 8.0  # four epochs in eight seconds
        assert pace.left_s(record.state, left, now_s) == pytest.approx(20.0)
        last = pace.left_s(record.state, Expectation(10.0, 9.0), now_s)
        assert last == pytest.approx(36.0), "a slot takes four seconds per epoch, and one trial has nine left"


def test_what_is_awaited_follows_the_start(tmp_path: Path) -> None:
    with Record(tmp_path / "run") as record:
        start_session(record)
        assert awaited(record.state, 0) is None
        record.append("suggested", **suggestion(0))
        assert awaited(record.state, 0) == "the workers to import torch"
        record.append("started", trial=0, session=1)
        assert awaited(record.state, 0) == "the first epoch"
        record.append("report", **report(0, 1, None))
        assert awaited(record.state, 0) is None
        assert awaited(record.state, 1) == "the first epoch", "of a session that started after it"
