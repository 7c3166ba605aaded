"""Replicates on validation splits of their own: what is trained, ranked by means, kept, reused and evaluated."""

from __future__ import annotations

import json
import math
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from typer.testing import CliRunner

from model_zoo import ResNetLayout
from results import RunState, rank_trials, read_record
from results.leaderboard import app
from search.config import RunConfig, compose
from search.config.changes import changed
from search.config.notes import notes_on
from search.errors import ConfigError, ResumeError
from search.evaluation.kept_network import chosen_trial, kept_checkpoint
from search.runs.checkpoint_files import checkpoint_path, with_weights
from search.runs.folder import write_run_file
from search.runs.ranking import ranked
from search.runs.reuse import ReusableResults
from search.runs.standings import candidate_key, standings_of
from search.runs.warm_start import first_candidates
from tests.support.cli import events
from tests.support.folder_fixtures import tree
from tests.support.simulated_sessions import drive
from trainables.recipe import Recipe

SPACE = {"stages": [2], "blocks": [1, 2], "channels": [8, 12, 16], "min_params": 1500, "max_params": 16000}
DATA: dict[str, object] = {"sha256": "0" * 64, "train_images": 1000}


def config(**flags: Any) -> RunConfig:
    ladder = {"max_epochs": 4, "grace_epochs": 1, "reduction_factor": 2, "confirm": 0}
    return compose(None, None, {**ladder, "space": SPACE, "validation_splits": 3, "trials": 12, **flags}, [])


class Split:
    """Trains in no time: the accuracy depends on the candidate and the split; it keeps what it was given."""

    def __init__(self) -> None:
        self.seen: dict[int, tuple[int, int]] = {}

    def __call__(self, given: dict[str, Any], epoch: int) -> dict[str, Any]:
        number, split = given["trial"], given["data"]["split_seed"]
        self.seen[number] = given["seed"], split
        # The first candidate has the best single trial, the second the best mean.
        value = ((0.6, 0.6, 0.99), (0.8, 0.79, 0.81), (0.5, 0.6, 0.55), (0.7, 0.7, 0.7))[number // 3][number % 3]
        value -= 0.01 * (4 - epoch)
        rung = given["rungs"].index(epoch) + 1 if epoch in given["rungs"] else None
        values = {"val_accuracy": value, "val_loss": 1 - value, "train_accuracy": value, "train_loss": 1 - value}
        return {"epoch": epoch, "rung": rung, "learning_rate": 0.1, "train_time_s": 1.0, "eval_time_s": 0.1, **values}


def searched(storage: Path, **flags: Any) -> tuple[Path, RunState, Split]:
    train = Split()
    folder = write_run_file(storage / "run", config(**flags), data=DATA, val_images=100)
    state, _ = drive(folder, train)
    return folder, state, train


def test_there_are_as_many_replicates_as_splits_and_more_share_them_in_turn() -> None:
    assert config().replicates == 3
    assert config(replicates=5, seed=7, split_seed=10).data_arguments["split_seed"] == 10
    more = config(replicates=5, seed=7, split_seed=10)
    assert [more.split_of(seed) for seed in range(7, 12)] == [10, 11, 12, 10, 11]
    assert more.data_arguments_of(9) == more.data_arguments | {"split_seed": 12}
    with pytest.raises(ConfigError, match=r"^replicates: 2 given, but 3 validation_splits need a training each"):
        config(replicates=2)
    with pytest.raises(ConfigError, match=r"^validation_splits: 0 given"):
        config(validation_splits=0)
    plain = config(validation_splits=1)
    assert (plain.replicates, plain.trials_per_place, plain.data_arguments_of(9)) == (1, 1, plain.data_arguments)


def test_a_resume_cannot_change_the_splits() -> None:
    with pytest.raises(ResumeError, match=r"validation_splits \(3 -> 2\): accuracies on different images"):
        changed(config(), {"validation_splits": 2})
    assert changed(config(), {"trials": 20}).config.replicates == 3


def test_few_validation_images_suggest_more_splits() -> None:
    def notes(**flags: Any) -> list[str]:
        return [note for note in notes_on(compose(None, None, flags, [])) if "--validation-splits" in note]

    assert notes() == [
        (
            "note: with 144 validation images the 95% interval of an accuracy of 95% is 7.4 points wide; "
            "--validation-splits 3 ranks by means over three splits"
        )
    ]
    assert notes(validation_splits=2) == notes(dataset="cifar10") == []


def test_a_data_set_with_its_own_validation_images_has_no_splits(tmp_path: Path) -> None:
    tree(tmp_path / "pets", "train/a", "train/b", "val/a", "val/b")
    given: dict[str, Any] = {"dataset": str(tmp_path / "pets"), "validation_splits": 2}
    with pytest.raises(ConfigError, match=r"^validation_splits: 2 given, but .*pets has its own validation images"):
        compose(None, None, given, [])
    assert compose(None, None, {**given, "val_folder": False}, []).replicates == 2
    own = compose(None, None, {**given, "validation_splits": 1}, [])
    assert not any("--validation-splits" in note for note in notes_on(own))


@pytest.mark.parametrize("sampler", ["tpe", "random", "grid"])
def test_each_replicate_is_trained_on_another_split(tmp_path: Path, sampler: str) -> None:
    _, state, train = searched(tmp_path, sampler=sampler, seed=5, split_seed=20)
    assert train.seen == {number: (5 + number % 3, 20 + number % 3) for number in range(12)}
    keys = [candidate_key(state.trials[number]) for number in range(12)]
    assert keys == [keys[number - number % 3] for number in range(12)]
    assert len(set(keys)) == 4


def test_the_rank_is_by_the_mean_over_splits(tmp_path: Path) -> None:
    folder, state, _ = searched(tmp_path)
    board = rank_trials(tmp_path)
    assert board["trials"].tolist()[0] == [3, 4, 5]
    assert board["val_accuracy"].tolist()[0] == pytest.approx(0.8)
    assert board["val_accuracy_error"].tolist()[0] == pytest.approx(0.01 / math.sqrt(3))
    assert set(board["data"]) == {"000000000000/0-2"}
    assert set(board["val_splits"]) == {3}
    standings = standings_of(state.trials.values(), by_mean=True)
    assert [sorted(t.trial for t in standing.trials) for standing in standings] == board["trials"].tolist()
    assert [standing.accuracy for standing in standings] == pytest.approx(board["val_accuracy"].tolist())
    assert ranked(state)[0].trial == 2, "the best of all trials is of another layout"
    each = CliRunner().invoke(app, ["--storage", str(tmp_path), "--no-over-seeds", "--format", "json"])
    assert [row["trial"] for row in json.loads(each.stdout)][:2] == [2, 5]
    means = CliRunner().invoke(app, ["--storage", str(tmp_path), "--format", "json"])
    assert [row["seeds"] for row in json.loads(means.stdout)] == board["seeds"].tolist()
    assert folder.name == "run"


def test_beside_a_run_with_one_split_all_trials_are_rows(tmp_path: Path) -> None:
    searched(tmp_path)
    write_run_file(tmp_path / "plain", config(validation_splits=1, trials=1), data=DATA, val_images=100)
    drive(tmp_path / "plain", Split())
    assert "trial" in rank_trials(tmp_path).columns
    assert "trials" in rank_trials(tmp_path, over_seeds=True).columns
    assert "trial" in rank_trials(tmp_path, ["plain"]).columns


def test_the_best_of_the_best_mean_is_kept_and_evaluated(tmp_path: Path) -> None:
    folder, state, _ = searched(tmp_path, keep_checkpoints=1)
    chosen = chosen_trial("run", state, None, by_mean=True)
    assert chosen.trial == 5
    assert [path.name for path in (folder / "checkpoints").iterdir()] == [checkpoint_path(folder, 5).name]
    assert kept_checkpoint(folder, state, chosen, 1) == checkpoint_path(folder, 5)
    assert with_weights(folder, state, by_mean=True) == chosen


def test_the_trials_of_the_best_place_are_confirmed_together(tmp_path: Path) -> None:
    folder, state, _ = searched(tmp_path, confirm=1)
    confirmed = [event["trials"] for event in events(folder) if event["event"] == "confirmed"]
    best = standings_of(state.trials.values(), by_mean=True)[0]
    assert all(trial.status == "completed" for trial in best.trials)
    assert best.seeds == 3
    assert sum(map(len, confirmed)) <= 2 * 3


def test_only_a_trial_on_the_same_split_is_reused(tmp_path: Path) -> None:
    folder, state, _ = searched(tmp_path)
    trial = state.trials[4]
    layout, recipe = ResNetLayout.from_dict(trial.layout), Recipe(**trial.settings)

    def found(**flags: Any) -> bool:
        return ReusableResults(config(**flags), DATA, {"run": folder}).find(layout, recipe, trial.seed) is not None

    assert found()
    assert found(validation_splits=2)
    assert found(validation_splits=1, split_seed=1), "its only split is the one that the trial was trained on"
    assert not found(validation_splits=1)
    assert not found(validation_splits=3, split_seed=1)
    with pytest.raises(ConfigError, match="reuse: run was trained on other images"):
        found(split_seed=3)


def test_a_warm_start_takes_the_best_mean(tmp_path: Path) -> None:
    _, state, _ = searched(tmp_path)
    first, _ = first_candidates(config(warm_start=["run:1"], validation_splits=1), tmp_path)
    assert [layout.layout_id for layout, _ in first] == [state.trials[3].layout_id]


def test_means_are_over_those_that_came_furthest(tmp_path: Path) -> None:
    folder, state, _ = searched(tmp_path)
    board = rank_trials(tmp_path)
    for standing in standings_of(read_record(folder).trials.values(), by_mean=True):
        last = max(trial.rung_epoch or 0 for trial in standing.trials)
        used = [trial for trial in standing.trials if trial.rung_epoch == last]
        assert standing.trials[: len(used)] == tuple(used)
        assert standing.accuracy == pytest.approx(fmean(trial.val_accuracy or 0 for trial in used))
    assert len(board) == 4
    assert state.ended == 12
