"""A run's limits in its record: what they leave out, what they end, what they let go on, and what comes back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from results import Record, RunState, rank_trials, read_record, read_run
from results.leaderboard import app
from search.config import RunConfig, compose
from search.config.changes import changed
from search.config.views import Ladder
from search.driver.reconcile import reconcile
from search.errors import SearchError
from search.evaluation.kept_network import require_ranked_epoch
from search.layouts import count_feasible
from search.runs.checkpoint_files import checkpoint_path, drop_checkpoints
from search.runs.ranking import ranked, rung_counts
from search.runs.rungs import AshaRungs
from search.runs.warm_start import candidate_to_dict, first_candidates, stored_candidates
from search.sampling import JointSpace
from search.sampling.feasible_sampler import SpaceExhausted
from search.sampling.study import RunStudy
from tests.support.results_fixtures import report, run_trial, start_session, suggestion
from tests.support.training_fixtures import small_trainer

SPACE: dict[str, Any] = {"min_params": 1_000, "max_params": 5_000}


def config(**changes: Any) -> RunConfig:
    flags = {"max_epochs": 4, "grace_epochs": 1, "reduction_factor": 2, "space": SPACE}
    start = compose(None, None, flags, ["space.channels=[8,12,16]", "space.blocks=[1,2]", "space.stages=[2]"])
    return changed(start, changes).config if changes else start


def begin(record: Record, now: RunConfig) -> None:
    """What a session does before it starts anything."""
    reconcile(record, now.limits, AshaRungs(now.ladder), checkpoints=100)


def save_checkpoint(folder: Path, trial: int, epoch: int) -> None:
    trainer = small_trainer(epochs=epoch)
    while trainer.epoch < epoch:
        trainer.train_epoch()
    trainer.save(checkpoint_path(folder, trial))


def write(folder: Path) -> Record:
    """A finished search of five trials under rungs at 1, 2 and 4 epochs, and two that are open."""
    record = Record(folder)
    reconcile(record, config().limits, AshaRungs(config().ladder), checkpoints=100)
    start_session(record)
    run_trial(record, 0, {1: 0.5, 2: 0.6, 4: 0.70}, params=1_500)
    run_trial(record, 1, {1: 0.6, 2: 0.7, 4: 0.90}, params=4_000)
    run_trial(record, 2, {1: 0.4}, "stopped", params=2_000)
    run_trial(record, 3, {1: 0.7, 2: 0.8, 4: 0.75}, params=2_500)
    run_trial(record, 4, {1: 0.8}, "diverged", params=3_000, error="loss nan")
    run_trial(record, 5, {1: 0.9}, None, params=4_500)
    run_trial(record, 6, {1: 0.8}, None, params=1_200)
    return record


def order(state: RunState) -> list[int]:
    return [trial.trial for trial in ranked(state)]


def statuses(state: RunState) -> list[str]:
    return [trial.status for trial in state.trials.values()]


def test_limits_are_recorded_when_they_change_and_only_then(tmp_path: Path) -> None:
    with write(tmp_path) as record:
        size = record.size
        begin(record, config())
        begin(record, config())
        assert record.size == size
        begin(record, config(space={"max_params": 3_000}))
        begin(record, config(space={"max_params": 3_000}))
    lines = [json.loads(line) for line in record.path.read_text().splitlines()]
    assert [line["max_params"] for line in lines if line["event"] == "limits"] == [5_000, 3_000]
    assert lines[0]["event"] == "limits"
    assert read_record(tmp_path) == record.state


def test_rows_beyond_a_lower_budget_leave_and_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "150")
    folder = tmp_path / "run"
    with write(folder) as record:
        before = order(record.state)
        assert before == [1, 5, 6, 3, 0, 2]
        begin(record, config(space={"max_params": 3_000}))
        assert order(record.state) == [6, 3, 0, 2]
        assert rung_counts(record.state, 3) == [5, 2, 2]
        outside = record.state.trials[5]
        assert (outside.status, outside.within_limits) == ("stopped", False)
        assert outside.error == "its 4,500 parameters are outside 1,000 to 3,000, the limits that a resume set"
        assert record.state.trials[6].status == "running"
    assert read_run(folder).trials["within_limits"].to_pylist() == [True, False, True, True, True, False, True]
    board = rank_trials(tmp_path)
    assert board.loc[board["rank"].notna(), "trial"].tolist() == [6, 3, 0, 2]
    assert set(board["trial"]) == {0, 2, 3, 4, 6}
    everything = rank_trials(tmp_path, all_trials=True)
    assert everything["trial"].tolist() == [6, 3, 0, 2, 1, 4, 5]
    assert everything["rank"].isna().tolist() == [False] * 4 + [True] * 3
    plain = CliRunner().invoke(app, ["run", "--storage", str(tmp_path)])
    assert plain.stderr == "note: 2 trials are outside the run's present limits and left out; --all shows them\n"
    assert "4,000" not in plain.stdout
    shown = CliRunner().invoke(app, ["run", "--storage", str(tmp_path), "--all"])
    assert shown.stderr == ""
    assert "outside" in next(line for line in shown.stdout.splitlines() if "4,000" in line)
    with Record(folder) as record:
        begin(record, config())
        assert order(record.state) == before
    assert rank_trials(tmp_path)["within_limits"].all()


def test_what_is_left_out_is_neither_kept_nor_compared_nor_handed_on(tmp_path: Path) -> None:
    with write(tmp_path / "run") as record:
        begin(record, config(space={"max_params": 3_000}))
        rungs = AshaRungs(Ladder((1, 2, 4), 2))
        rungs.replay(record.state)
        assert set(rungs.values[4]) == {0, 3}
        for number in record.state.trials:
            checkpoint_path(tmp_path / "run", number).parent.mkdir(exist_ok=True)
            checkpoint_path(tmp_path / "run", number).touch()
        drop_checkpoints(tmp_path / "run", record.state, 1)
    kept = {path.name for path in (tmp_path / "run" / "checkpoints").iterdir()}
    assert kept == {"trial-00003.safetensors", "trial-00006.safetensors"}  # the best one, and the open one
    wide = {"space": {"channels": [16, 32], "blocks": [1, 2], "stages": [2], "min_params": 0, "max_params": 10**6}}
    _, left_out = first_candidates(compose(None, None, wide | {"warm_start": ["run:9"]}, []), tmp_path)
    named = {sentence.split()[4] for sentence in left_out}
    assert named <= {"0", "2", "3", "6"}
    assert named


def test_a_raise_makes_the_completed_go_on_where_asha_lets_them_and_a_checkpoint_is_there(tmp_path: Path) -> None:
    with write(tmp_path) as record:
        for number in (1, 3):
            save_checkpoint(tmp_path, number, 4)
        begin(record, config(max_epochs=8))
        # At 4 epochs trial 0 came first, 1 is above it, 3 below their median: ASHA lets 0 and 1 go on.
        assert statuses(record.state)[:4] == ["stopped", "interrupted", "stopped", "stopped"]
        assert order(record.state)[:3] == [1, 5, 6]
        assert {trial.recipe["epochs"] for trial in record.state.trials.values()} == {8}
        size = record.size
        begin(record, config(max_epochs=8))
        assert record.size == size
        record.append("started", trial=1, session=1)
        for epoch in range(5, 9):
            record.append("report", **report(1, epoch, 4 if epoch == 8 else None, 0.85))
        assert record.append("ended", trial=1, status="completed", error=None)
        best = record.state.trials[1]
        assert (best.status, best.rung_epoch, best.val_accuracy) == ("completed", 8, 0.85)
        assert order(record.state)[:2] == [5, 1]
        begin(record, config())  # and back: the value at the rung of then
        assert statuses(record.state)[:4] == ["completed", "completed", "stopped", "completed"]
        assert (best.status, best.rung_epoch, best.val_accuracy, best.epochs) == ("completed", 4, 0.90, 8)
        begin(record, config(max_epochs=8))
        assert (best.status, best.rung_epoch, best.val_accuracy) == ("completed", 8, 0.85)
    assert read_record(tmp_path) == record.state


def test_a_lower_end_takes_the_values_at_its_rung(tmp_path: Path) -> None:
    with write(tmp_path) as record:
        record.append("started", trial=5, session=1)
        record.append("report", **report(5, 2, 2, 0.75))
        record.append("report", **report(5, 3, None, 0.99))  # killed on its way from 2 to 4
        begin(record, config(max_epochs=2))
        values = {t.trial: (t.status, t.rung_epoch, t.val_accuracy, t.epochs) for t in ranked(record.state)}
    assert values == {
        3: ("completed", 2, 0.8, 4),
        5: ("completed", 2, 0.75, 3),
        1: ("completed", 2, 0.7, 4),
        0: ("completed", 2, 0.6, 4),
        6: ("running", 1, 0.8, 1),
        2: ("stopped", 1, 0.4, 1),
    }


def test_a_trial_cut_off_by_a_lower_end_goes_on_when_it_is_raised_again(tmp_path: Path) -> None:
    with write(tmp_path) as record:
        record.append("started", trial=5, session=1)
        record.append("report", **report(5, 2, 2, 0.95))
        record.append("report", **report(5, 3, None, 0.99))
        save_checkpoint(tmp_path, 5, 3)
        begin(record, config(max_epochs=2))
        assert record.state.trials[5].status == "completed"
        begin(record, config())
        assert record.state.trials[5].status == "interrupted"
        assert record.append("report", **report(5, 4, 3, 0.96))
    assert read_record(tmp_path).trials[5].val_accuracy == 0.96


def test_a_test_accuracy_belongs_to_the_epoch_that_was_measured(tmp_path: Path) -> None:
    with write(tmp_path) as record:
        record.append("evaluated", trial=1, epoch=4, test_accuracy=0.88, test_loss=0.4)
        begin(record, config(max_epochs=2))
        assert record.state.trials[1].test_accuracy is None
        begin(record, config())
        assert record.state.trials[1].test_accuracy == 0.88


def test_a_crash_between_the_limits_and_what_follows_is_made_good(tmp_path: Path) -> None:
    lower = config(space={"max_params": 3_000})
    with write(tmp_path / "crashed") as record, write(tmp_path / "whole") as whole:
        record.append("limits", min_params=lower.space.min_params, max_params=3_000, max_epochs=4)
    with Record(tmp_path / "crashed") as record, Record(tmp_path / "whole") as whole:
        begin(record, lower)
        begin(whole, lower)
        assert statuses(record.state) == statuses(whole.state)
        assert order(record.state) == order(whole.state)


def test_a_record_without_limits_holds_everything_within(tmp_path: Path) -> None:
    with Record(tmp_path / "old") as record:
        start_session(record)
        run_trial(record, 0, {2: 0.5}, params=10**9)
        assert record.state.limits is None
    assert rank_trials(tmp_path)["within_limits"].tolist() == [True]


@pytest.mark.parametrize("sampler", ["tpe", "random", "grid"])
def test_other_epochs_and_budgets_make_no_point_new(sampler: str, tmp_path: Path) -> None:
    """The oracle is the number of points: asked to its end, a run has had each once, whatever changed on the way."""
    budgets = [{"space": {"min_params": 0, "max_params": most}} for most in (6_000, 10_000, 20_000)]
    steps = [(config(**budgets[0]), 5), (config(max_epochs=8, **budgets[1]), 6), (config(**budgets[2]), 4)]
    steps += [(config(max_epochs=2, **budgets[2]), 99)]
    seen: list[Any] = []
    with Record(tmp_path) as record:
        start_session(record)
        for step, most in steps:
            begin(record, step)
            history = RunStudy(JointSpace(step.space, step.recipe), sampler, 0, record.state)
            for _ in range(most):
                try:
                    asked = history.ask()
                except SpaceExhausted:
                    break
                layout, recipe = asked.candidate
                fields = suggestion(asked.number) | {
                    "layout": layout.to_dict(),
                    "recipe": recipe.model_dump() | dict.fromkeys(recipe.unread) | {"epochs": step.max_epochs},
                    "seed": asked.seed,
                }
                record.append("suggested", **fields)
                record.append("report", **report(asked.number, 1, 1, 0.5))
                record.append("ended", trial=asked.number, status="stopped", error=None)
                history.tell(asked.number, "stopped", 0.5)
                seen.append(layout)
    assert len(set(seen)) == len(seen) == count_feasible(steps[-1][0].space) == 24


def test_points_to_be_tried_first_fit_the_present_budget() -> None:
    names = {"warm_start": ["arora-resnet10", "cerberus-resnet24"]}
    start = compose(None, None, {"dataset": "cifar10", "space": {"min_params": 0, "max_params": 10**7}} | names, [])
    points, _ = first_candidates(start, Path("nowhere"))
    stored = [candidate_to_dict(point) for point in points]
    assert stored_candidates(start, stored) == points
    longer = changed(start, {"max_epochs": 216}).config
    assert stored_candidates(longer, stored) == points
    assert JointSpace(longer.space, longer.recipe).encode(stored_candidates(longer, stored)[0]) is not None
    assert stored_candidates(changed(start, {"space": {"max_params": 1000, "min_params": 0}}).config, stored) == []


def test_the_final_evaluation_takes_no_network_of_another_epoch(tmp_path: Path) -> None:
    with write(tmp_path) as record:
        state = record.state
        save_checkpoint(tmp_path, 1, 4)
        save_checkpoint(tmp_path, 3, 2)
        require_ranked_epoch(tmp_path, ranked(state), state.trials[1])
        begin(record, config(max_epochs=2))
        with pytest.raises(
            SearchError, match="trial 1: its checkpoint is of epoch 4, but it is ranked at epoch 2; give"
        ):
            require_ranked_epoch(tmp_path, ranked(state), state.trials[1])
        require_ranked_epoch(tmp_path, ranked(state), state.trials[3])
        checkpoint_path(tmp_path, 3).unlink()
        with pytest.raises(SearchError, match="is ranked at epoch 2; continue with --resume"):
            require_ranked_epoch(tmp_path, ranked(state), state.trials[1])
