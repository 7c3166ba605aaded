"""A refit trains one trial of a run again: its configuration, its length, what it refuses, and its final evaluation."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

import search.refit
from results import Record, rank_trials, read_record
from results.console import run_app
from search.config import RunConfig, compose
from search.config.composition import flags_of
from search.errors import ConfigError
from search.planning.cost import passes_per_epoch
from search.planning.opening import opening_lines
from search.planning.speed import RESERVE, START_S, epoch_time_s, epochs_within
from search.refitting import refit_of
from search.runs import read_config
from tests.support.results_fixtures import report
from tests.support.shapes import write_shapes
from tests.support.trained_run import evaluated, write_trained_run
from trainables.data import load_training_set
from trainables.errors import TrainablesError


@pytest.fixture
def run(tmp_path: Path) -> Path:
    write_trained_run(tmp_path / "a", "schedule=step", "patience_epochs=5", "weight_decay=0.001")
    return tmp_path / "a"


def refit(run: Path, name: str = "a", *sets: str, seeds: int = 1, all_data: bool = False, schedule: str | None = None):  # type: ignore[no-untyped-def]
    return refit_of(run.parent, name, seeds, all_data, schedule, flags_of({}, sets))


def test_data_layout_and_recipe_come_from_the_record_and_the_schedule_falls_once(run: Path) -> None:
    source, trial = read_config(run), read_record(run).trials[0]
    config: RunConfig = refit(run, "a:0", seeds=3).config(40)
    (layout,), recipe = config.space.listed_layouts, config.recipe.fixed
    assert recipe is not None
    assert layout.to_dict() == trial.layout
    changed = {"schedule": "cosine", "cosine_epochs": 0, "patience_epochs": 0}
    assert recipe.canonical().model_dump() == {**recipe.model_dump(), **trial.settings, **changed} | {
        name: recipe.model_dump()[name] for name in recipe.unread
    }
    assert config.rungs == (40,)
    assert (config.trials, config.replicates, config.keep_checkpoints, config.confirm) == (3, 3, 3, 0)
    assert (config.dataset, config.train_images, config.seed) == (source.dataset, source.train_images, trial.seed)
    assert config.refit_of == "a:0"
    assert config.space.min_params <= trial.params <= config.space.max_params


@pytest.mark.parametrize(("own", "given", "expected"), [("linear", None, "linear"), ("linear", "cosine", "cosine")])
def test_a_schedule_of_one_fall_is_kept_unless_another_is_given(
    tmp_path: Path, own: str, given: str | None, expected: str
) -> None:
    write_trained_run(tmp_path / "a", f"schedule={own}")
    config = refit(tmp_path / "a", schedule=given).config(10)
    assert config.recipe.values_of("schedule") == [expected]


def test_all_data_are_all_images_even_if_the_search_saw_a_part(run: Path) -> None:
    config = refit(run, all_data=True).config(10)
    assert read_config(run).train_images == 96
    data = load_training_set(**config.data_arguments)
    assert len(data.train_indices) == len(data.labels)


@pytest.mark.parametrize("own", [False, True])
def test_the_first_lines_and_the_cost_of_a_training_on_all_images_know_no_validation(tmp_path: Path, own: bool) -> None:
    for part, images in (("train", 20), ("test", 10), *([("val", 10)] if own else [])):
        write_shapes(tmp_path / "shapes" / part, images)
    given = {"dataset": str(tmp_path / "shapes"), "data_dir": str(tmp_path), "all_data": True, "trials": 1}
    config = compose(None, None, given, ["space.layouts=[1-1x8-16]"])
    lines = "\n".join(opening_lines(config))
    data = load_training_set(**config.data_arguments)
    assert len(data.train_indices) == (180 if own else 120)
    assert f"{len(data.train_indices)} to train on, 60 for the test" in lines
    assert "validation" not in lines
    assert passes_per_epoch(config) == (3 * len(data.train_indices), 0)


def test_any_key_can_be_changed(run: Path) -> None:
    config = refit(run, "a", "recipe.ema_decay=0.99", "cpus_per_trial=1").config(10)
    assert (config.recipe.values_of("ema_decay"), config.cpus_per_trial) == ([0.99], 1)


@pytest.mark.parametrize(
    ("name", "sets", "said"),
    [
        ("a:7", (), "a:7 given, but a has 1 trial, numbered from 0"),
        ("a", ("max_epochs=9",), "use --epochs"),
        ("a", ("replicates=2",), "use --seeds"),
        ("a", ("recipe.nonsense=1",), "nonsense"),
    ],
)
def test_mistakes_are_one_line(run: Path, name: str, sets: tuple[str, ...], said: str) -> None:
    with pytest.raises(ConfigError, match=said.replace("(", r"\(")):
        refit(run, name, *sets).config(10)


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        (("train_images=96",), "all_data: contradicts train_images"),
        (("recipe.schedule=plateau",), "recipe.schedule needs validation images"),
        (("recipe.keep_weights=best", "recipe.schedule=step"), "recipe.keep_weights needs validation images"),
        (("recipe.learning_rate=[0.1,0.2]",), "there are several layouts or recipes"),
    ],
)
def test_what_needs_validation_images_is_refused_without_them(tmp_path: Path, sets: tuple[str, ...], said: str) -> None:
    write_trained_run(tmp_path / "a", "batch_size=64", dataset="digits")
    with pytest.raises(ConfigError, match=said):
        refit(tmp_path / "a", "a", *sets, all_data=True).config(10)


def test_all_images_are_trained_on_and_none_is_left_to_validate_on() -> None:
    usual, whole = load_training_set("digits"), load_training_set("digits", all_data=True)
    assert len(whole.train_indices) == len(usual.train_indices) + len(usual.val_indices) == len(usual.labels)
    assert len(whole.val_indices) == 0
    assert whole.identity != usual.identity


def test_the_length_follows_from_the_budget_and_the_measured_speed() -> None:
    assert epochs_within(START_S + 100, 1.0, rounds=1) == int(RESERVE * 100)
    assert epochs_within(START_S + 100, 1.0, rounds=3) == int(RESERVE * 100 / 3)
    assert epochs_within(1.0, 1.0, rounds=1) == 0


def test_the_speed_is_measured_on_the_runs_own_network(run: Path) -> None:
    config = refit(run).config(10)
    (layout,), recipe = config.space.listed_layouts, config.recipe.fixed
    assert recipe is not None
    resized = recipe.model_copy(update={"first_image_size": 8})  # of which full size is measured
    assert 0 < epoch_time_s(config, layout, resized, 1) < math.inf


def test_a_plan_says_what_would_be_trained(run: Path, capfd: pytest.CaptureFixture[str]) -> None:
    arguments = ["a", "--storage", str(run.parent), "--epochs=30", "--seeds=2", "--dry-run"]
    assert run_app(search.refit.app, arguments, user_errors=(TrainablesError,)) == 0
    shown = capfd.readouterr()
    assert "refit of a trial 0" in shown.err
    assert "30 epochs of cosine on the training images of the search, 2 seeds" in shown.err
    assert "about 60 epochs in total" in shown.out
    assert list(run.parent.iterdir()) == [run]
    both = [*arguments, "--time-budget=1h"]
    assert run_app(search.refit.app, both, user_errors=(TrainablesError,)) == 2
    assert "use one at a time" in capfd.readouterr().err
    taken = ["a", "--storage", str(run.parent), "--name=a", "--time-budget=1h"]
    assert run_app(search.refit.app, taken, user_errors=(TrainablesError,)) == 2
    assert capfd.readouterr().err.startswith("error: name: ")  # before anything is said or measured


def test_the_rows_of_a_refit_name_its_trial_and_are_means_over_seeds(run: Path) -> None:
    stored = json.loads((run / "run.json").read_text())
    stored["config"]["refit_of"] = "earlier:7"
    (run / "run.json").write_text(json.dumps(stored))
    board = rank_trials(run.parent, ["a"])
    assert board["refit_of"].tolist() == ["earlier:7"]
    assert board["trial"].tolist() == [0]
    with Record(run) as record:
        trial = record.state.trials[0]
        fields = {name: getattr(trial, name) for name in ("layout", "layout_id", "params", "flops", "depth", "recipe")}
        record.append("suggested", trial=1, **fields, seed=trial.seed + 1, proposal={})
        record.append("started", trial=1, session=1)
        record.append("report", **report(1, 6, 1, 0.5))
        record.append("ended", trial=1, status="completed", error=None)
    means = rank_trials(run.parent, ["a"])
    assert means["seeds"].tolist() == [2]
    assert means["refit_of"].tolist() == ["earlier:7"]


def test_each_seed_of_a_refit_is_measured_and_the_mean_is_what_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_trained_run(tmp_path / "a", trials=2, replicates=2, train_images=96, refit_of="earlier:7", keep_checkpoints=2)
    code, shown, _ = evaluated(capsys, tmp_path / "a", "--json")
    assert code == 0
    facts = json.loads(shown)
    first, second = (seed["test_accuracy"] for seed in facts["seeds"])
    assert facts["test_mean"] == pytest.approx((first + second) / 2)
    assert facts["test_standard_error"] == pytest.approx(abs(first - second) / 2)
    assert facts["openings"] == 2
    text = evaluated(capsys, tmp_path / "a")[1]
    assert "2 seeds: test accuracy" in text
    assert "report their mean, not the best of them" in text
    assert read_record(tmp_path / "a").test_openings == 2
