"""The live standing of a run: the leaderboard's order, its counts, and the checkpoints that it keeps."""

from pathlib import Path

import numpy as np
import pytest

from results import Record, RunState, rank_trials, read_record
from search.runs.checkpoint_files import checkpoint_path, drop_checkpoints, with_weights
from search.runs.ranking import Leaders, ranked, rung_counts, session_training_time_s, status_counts, training_time_s
from tests.support.results_fixtures import run_trial, start_session, write_run


def write_many(folder: Path) -> RunState:
    """Thirty trials in every status with many ties in accuracy and loss."""
    generator = np.random.default_rng(0)
    with Record(folder) as record:
        start_session(record)
        for trial in range(30):
            status = [None, "completed", "stopped", "diverged", "failed"][int(generator.integers(5))]
            rungs = {2 * rung: float(generator.integers(3)) / 2 for rung in range(1, int(generator.integers(1, 4)))}
            loss = float(generator.choice([0.5, 1.0, float("inf"), float("nan")]))
            run_trial(record, trial, rungs, status, val_loss=loss, params=int(generator.integers(1000, 1003)))
    return read_record(folder)


def test_the_order_is_the_leaderboards(tmp_path: Path) -> None:
    state = write_many(tmp_path / "many")
    board = rank_trials(tmp_path)
    assert [trial.trial for trial in ranked(state)] == board.loc[board["rank"].notna(), "trial"].tolist()
    assert len(ranked(state)) >= 10


def test_a_completed_network_at_chance_ranks_behind_a_stopped_good_one(tmp_path: Path) -> None:
    with Record(tmp_path / "run") as record:
        start_session(record)
        run_trial(record, 0, {6: 0.9375, 18: 0.1042})
        run_trial(record, 1, {6: 0.9583}, "stopped")
        run_trial(record, 2, {6: 0.9583, 18: 0.9722}, status=None)
    state = read_record(tmp_path / "run")
    board = rank_trials(tmp_path)
    assert board["trial"].tolist() == [trial.trial for trial in ranked(state)] == [2, 1, 0]
    assert [trial.trial for trial in Leaders(state, 1).trials] == [1]


def test_counts_are_in_the_order_of_a_trials_life(tmp_path: Path) -> None:
    state = read_record(write_run(tmp_path))
    counts = {"suggested": 1, "completed": 2, "stopped": 1, "diverged": 1, "failed": 1}
    assert list(status_counts(state).items()) == list(counts.items())
    assert rung_counts(state, 2) == [4, 2]
    assert rung_counts(RunState(), 3) == [0, 0, 0]


def test_training_time_is_the_sum_of_the_reports(tmp_path: Path) -> None:
    state = read_record(write_run(tmp_path))
    reports = sum(trial.epochs for trial in state.trials.values())
    assert training_time_s(state) == session_training_time_s(state, 1) == reports * 2.5
    assert session_training_time_s(state, 2) == 0


@pytest.mark.parametrize("keep", [1, 3])
def test_the_best_finished_and_all_open_trials_keep_their_checkpoints(tmp_path: Path, keep: int) -> None:
    state = write_many(tmp_path)
    for number in state.trials:
        path = checkpoint_path(tmp_path, number)
        path.parent.mkdir(exist_ok=True)
        path.touch()
    for _ in range(2):
        drop_checkpoints(tmp_path, state, keep)
        left = {number for number in state.trials if checkpoint_path(tmp_path, number).exists()}
        best = {trial.trial for trial in [trial for trial in ranked(state) if trial.ended][:keep]}
        assert left == best | {number for number, trial in state.trials.items() if not trial.ended}


def test_what_can_be_evaluated_has_its_checkpoint_at_its_rank(tmp_path: Path) -> None:
    with Record(tmp_path) as record:
        start_session(record)
        run_trial(record, 0, {1: 0.5, 3: 0.9, 9: 0.95})
        run_trial(record, 1, {1: 0.4, 3: 0.8}, "stopped")
        run_trial(record, 2, {1: 0.3}, "stopped")
        assert with_weights(tmp_path, record.state) is None
        for number in range(3):
            path = checkpoint_path(tmp_path, number)
            path.parent.mkdir(exist_ok=True)
            path.touch()
        best = with_weights(tmp_path, record.state)
        assert best is not None
        assert best.trial == 0
        record.append("limits", min_params=0, max_params=10**6, max_epochs=3)
        best = with_weights(tmp_path, record.state)
        assert [trial.trial for trial in ranked(record.state)] == [0, 1, 2], "trial 0 is ranked by its third epoch"
        assert best is not None
        assert best.trial == 1
